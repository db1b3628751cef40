"""Checks decoding with models of many kinds, against reading every row alone."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, PreTrainedConfig

from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.rollout import decode
from tests.trainer.small import LEARNED, SHARING, SIZES, VOCABULARY, make

FORM = AnswerFormat(
    think_open=2,
    think_close=3,
    answer_open=4,
    answer_close=5,
    end=1,
    pad=0,
    word_ids=tuple(range(6, 20)),
    item_base=20,
    items=VOCABULARY - 20,
    slate=4,
    max_think=3,
)
PROMPTS = [[6, 7, 8, 21, 22, 9, 30], [12, 13], [6, 7, 8, 21, 22, 9, 30], [14, 25]]
KINDS: dict[str, PreTrainedConfig] = SHARING | LEARNED
UNSHARED = {"sees what follows": LlamaConfig(**(SIZES | {"is_causal": False}))}


@pytest.mark.parametrize("kind", [*KINDS, *UNSHARED])
def test_greedy_decoding_equals_each_row_read_alone(kind: str) -> None:
    model = make((KINDS | UNSHARED)[kind]).eval()
    assert (prefix_sharing.why_not(model) is None) == (kind in KINDS)
    item_mask = ItemMask(torch.ones(len(PROMPTS), FORM.items, dtype=torch.bool), record=FORM.slate)
    told = decode(model, FORM, PROMPTS, item_mask)
    slates = FORM.slates(told)
    for prompt, completion, slate in zip(PROMPTS, told.tolist(), slates.tolist(), strict=True):
        assert len(set(slate)) == FORM.slate and min(slate) >= 0
        taken: set[int] = set()
        for at, token in enumerate(completion):
            if token < FORM.item_base:
                continue
            logits = model(input_ids=torch.tensor([prompt + completion[:at]])).logits[0, -1].detach()
            best = max((t for t in range(20, VOCABULARY) if t not in taken), key=lambda t: float(logits[t]))
            assert float(logits[best] - logits[token]) < 1e-4
            taken.add(token)
