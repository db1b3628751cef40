"""The scoring inside GRPO: each prompt once, same mathematics; and TRL's methods as they were read."""

from __future__ import annotations

import inspect

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel
from trl import GRPOTrainer

from recpolicy.trainer.grpo import PolicyGRPOTrainer, completion_logits, rank_advantages
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.rollout import left_pad, positions


def _whole(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, keep: int) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits
    return logits[:, -keep - 1 : -1]


def _same(model: PreTrainedModel, prompts: list[list[int]], vocabulary: int) -> None:
    """Logits and gradients of the shared prefix equal those of running every row whole, rows in any order."""
    torch.manual_seed(0)
    keep, order = 5, torch.randperm(3 * len(prompts))
    ids, mask = left_pad([p for p in prompts for _ in range(3)], 0)
    completion = torch.randint(3, vocabulary, (len(ids), keep))
    told = torch.ones_like(completion)
    told[::2, -2:] = 0
    ids, mask = torch.cat([ids, completion], 1)[order], torch.cat([mask, told], 1)[order]
    kept = mask[:, -keep:].bool()
    weights = torch.randn(len(ids), keep, vocabulary)
    found = []
    for run in (completion_logits, _whole):
        model.zero_grad()
        logits = run(model, ids, mask, keep)
        (logits * weights)[kept].sum().backward()
        found.append((logits[kept].detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (ours, our_grads), (theirs, their_grads) = found
    assert torch.allclose(ours, theirs, atol=1e-4)
    for a, b in zip(our_grads, their_grads, strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm() + 1e-6


def test_a_shared_prefix_changes_neither_logits_nor_gradients(
    recommender: Recommender, prompts: list[list[int]]
) -> None:
    _same(recommender.model, prompts, len(recommender.tokenizer))


def test_the_same_holds_for_learned_positions(prompts: list[list[int]], recommender: Recommender) -> None:
    torch.manual_seed(1)
    size = len(recommender.tokenizer)
    config = GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    _same(GPT2LMHeadModel(config).eval(), prompts, size)


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


def test_an_item_is_credited_with_what_it_and_later_places_added() -> None:
    ledger = torch.tensor([[0.5, 0.0, 0.1], [0.1, 0.2, 0.1], [0.0, 0.0, 0.0], [0.3, 0.3, 0.3]])
    found = rank_advantages(ledger, 2)
    whole = ledger.sum(1)
    deviation = torch.stack([whole[:2].std(), whole[2:].std()]).repeat_interleave(2)[:, None] + 1e-4
    to_go = torch.tensor([[0.6, 0.1, 0.1], [0.4, 0.3, 0.1], [0.0, 0.0, 0.0], [0.9, 0.6, 0.3]])
    means = torch.tensor([[0.5, 0.2, 0.1], [0.45, 0.3, 0.15]]).repeat_interleave(2, 0)
    assert torch.allclose(found, (to_go - means) / deviation)


def test_credit_lies_on_items_and_on_the_reasoning_before_them(recommender: Recommender) -> None:
    form = recommender.form
    word, items = form.word_ids[0], [form.item_base + i for i in range(3)]
    completion = [form.think_open, word, form.think_close, form.answer_open, *items, form.answer_close, form.end]
    found = form.spread(torch.tensor([[0.4, 0.3, 0.2, 0.1]]), torch.tensor([completion]))
    assert torch.allclose(found, torch.tensor([[0.4, 0.4, 0.4, 0.4, 0.4, 0.3, 0.2, 0.0, 0.0]]))
