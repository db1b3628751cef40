"""Checks decoding, scoring and the sampled softmax with candidates against the same with all items."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recpolicy.dataset.columns import Ragged
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.log_probs import log_probabilities
from recpolicy.trainer.decoding.rollout import decode, first_items, next_items, uniforms
from recpolicy.trainer.stages import sft
from tests.trainer.decoding.test_rollout import FORM, PROMPTS
from tests.trainer.small import SHARING, make

KINDS = ("rope, tied head", "scaled logits", "window in every other layer, capped logits")
SOME = torch.stack([torch.randperm(FORM.items, generator=torch.Generator().manual_seed(i))[:12] for i in range(4)])
CANDIDATES = SOME.sort(1).values  # [B, C]


def spread(columns: Tensor, fill: float) -> Tensor:
    """What stands in the columns of candidates, among all items."""
    return torch.full((len(columns), FORM.items), fill, dtype=columns.dtype).scatter(1, CANDIDATES, columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("greedy", [True, False])
def test_completions_and_log_probabilities_equal_those_among_all_items(kind: str, greedy: bool) -> None:
    model = make(SHARING[kind]).eval()
    draws = None if greedy else uniforms(0, 0, 0, len(PROMPTS), FORM.longest)
    legal = torch.rand(CANDIDATES.shape, generator=torch.Generator().manual_seed(5)) < 0.7
    prior = torch.randn(CANDIDATES.shape, generator=torch.Generator().manual_seed(6))
    some = ItemMask(legal, record=FORM.slate, prior=prior, candidates=CANDIDATES)
    every = ItemMask(spread(legal, 0.0), record=FORM.slate, prior=spread(prior, 0.0))
    completions = [decode(model, FORM, PROMPTS, mask, draws=draws) for mask in (some, every)]
    assert torch.equal(*completions)
    assert torch.equal(every.allowed.gather(1, CANDIDATES), some.allowed)

    def read(row: Tensor, at: Tensor, columns: slice | Tensor) -> Tensor:
        ids = torch.cat([torch.tensor([[9, 9]]).expand(len(PROMPTS), -1), completions[0]], 1)
        states, _ = prefix_sharing.read(model, ids, torch.ones_like(ids), use_cache=False)
        if isinstance(columns, Tensor):
            return prefix_sharing.logits_at(model, states, columns)[row, at + 1]
        return prefix_sharing.logits(model, states[row, at + 1, None], columns)[:, 0]

    scored = [
        log_probabilities(read, FORM, completions[0], mask.history, 0.7, mask.prior, mask.candidates)
        for mask in (some, every)
    ]
    for own, other in zip(*scored, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    first = first_items(model, FORM, PROMPTS, legal, prior, CANDIDATES)
    whole = first_items(model, FORM, PROMPTS, spread(legal, 0.0), spread(prior, 0.0))
    torch.testing.assert_close(first, whole.gather(1, CANDIDATES))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_behind_the_history_are_those_of_the_candidates(kind: str) -> None:
    model, histories = make(SHARING[kind]).eval(), Ragged.of([[1, 2], [], [1, 2], [5]])
    some = next_items(model, FORM, PROMPTS, histories, CANDIDATES)
    torch.testing.assert_close(some, next_items(model, FORM, PROMPTS, histories).gather(1, CANDIDATES))


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_softmax_of_all_items_is_the_whole_one(kind: str) -> None:
    model = make(SHARING[kind])
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(7, 16, generator=generator)
    tokens = torch.tensor([FORM.item_base, 25, 3, 30, 30, 39, 5])
    whole = prefix_sharing.mean_cross_entropy(model, states, tokens)
    torch.testing.assert_close(sft.sampled_cross_entropy(model, FORM, states, tokens), whole)


def test_sampled_softmax_estimates_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(SHARING["rope, tied head"])
    states = torch.randn(5, 16, generator=torch.Generator().manual_seed(1)) / 4
    tokens = torch.tensor([21, 25, 3, 30, 39])
    whole = float(prefix_sharing.mean_cross_entropy(model, states, tokens).detach())
    monkeypatch.setattr(sft, "NEGATIVES", 8)
    torch.manual_seed(0)
    found = [float(sft.sampled_cross_entropy(model, FORM, states, tokens).detach()) for _ in range(300)]
    assert sum(found) / len(found) == pytest.approx(whole, abs=0.03)
