"""The credit of items inside GRPO; and TRL's methods as they were read."""

from __future__ import annotations

import inspect

import torch
from trl import GRPOTrainer

from recpolicy.trainer.grpo import PolicyGRPOTrainer
from recpolicy.trainer.models import Recommender


def test_the_overridden_methods_of_trl_are_as_they_were_read() -> None:
    expected = {
        "_generate_and_score_completions": ["self", "inputs"],
        "_compute_loss": ["self", "model", "inputs"],
    }
    for name, parameters in expected.items():
        assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == parameters
    theirs = list(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
    ours = list(inspect.signature(PolicyGRPOTrainer._get_per_token_logps_and_entropies).parameters)
    assert theirs[: len(ours) - 1] == ours[:-1]
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "self._calculate_rewards(inputs, prompts, completions, completion_ids_list)" in source
    assert "advantages.dim() == 1" in inspect.getsource(GRPOTrainer._compute_loss)


def test_credit_lies_on_items_and_on_the_reasoning_before_them(recommender: Recommender) -> None:
    form = recommender.form
    word, items = form.word_ids[0], [form.item_base + i for i in range(3)]
    completion = [form.think_open, word, form.think_close, form.answer_open, *items, form.answer_close, form.end]
    found = form.spread(torch.tensor([[0.4, 0.3, 0.2, 0.1]]), torch.tensor([completion]))
    assert torch.allclose(found, torch.tensor([[0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.0, 0.0]]))
