"""Checks the credit of places and slates, against loops that try one item after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.trainer.stages import advantages


@dataclass(frozen=True)
class Batch:
    """Slates, the slates of their groups, the open items, and the worth of any slate."""

    slates: Codes  # [B, K]
    group: Codes  # [others, B, K]
    open: Bools  # [B, K, items]
    places: Floats  # [B, K, items], what an item adds at a place
    pairs: Floats  # [items, items], what one item adds before another

    def value(self, row: int, slate: list[int]) -> float:
        """The worth of one slate: of each item at its place, and of each two items in their order."""
        alone = sum(self.places[row, at, item] for at, item in enumerate(slate) if item >= 0)
        return float(alone + sum(self.pairs[a, b] for a, b in combinations([i for i in slate if i >= 0], 2)))

    def worth(self, slates: Codes, of: Ints) -> Floats:
        for slate in slates.tolist():
            shown = [item for item in slate if item >= 0]
            assert len(shown) == len({*shown}), "no slate holds an item twice"
        both = zip(slates.tolist(), of.tolist(), strict=True)
        return np.array([self.value(row, slate) for slate, row in both], np.float64)

    def allowed(self, row: Ints, place: Ints, item: Codes) -> Bools:
        assert (item >= 0).all() and row.shape == place.shape == item.shape
        return self.open[row, place, item]

    def credit(self, worth: Callable[[Codes, Ints], Floats] | None = None) -> Floats:
        own = self.worth(self.slates, np.arange(len(self.slates)))
        return advantages.place_advantages(self.slates, own, self.group, worth or self.worth, self.allowed)


def drawn(seed: int, b: int, k: int, others: int, items: int) -> Batch:
    """Slates with holes here and there; as in decoding, what stands at earlier places is not open."""
    rng = np.random.default_rng(seed)

    def slates(*shape: int) -> Codes:
        whole = rng.permuted(np.broadcast_to(np.arange(items), (*shape, items)), axis=-1)[..., :k]
        return np.where(rng.random(whole.shape) < 0.15, -1, whole).astype(np.int32)

    own, free = slates(b), rng.random((b, k, items)) < 0.7
    for row in range(b):
        for place in range(k):
            before = own[row, :place]
            free[row, place, before[before >= 0]] = False
            free[row, place, own[row, place]] |= own[row, place] >= 0
    return Batch(own, slates(others, b), free, rng.normal(size=(b, k, items)), rng.normal(size=(items, items)))


def tried(slate: list[int], place: int, item: int) -> list[int]:
    """The slate with the item at that place; where it stands elsewhere, the two change places."""
    return [item if at == place else slate[place] if other == item else other for at, other in enumerate(slate)]


def naive(batch: Batch, row: int, place: int) -> float:
    """The definition, one item of the group after the other."""
    slate = batch.slates[row].tolist()
    lost = []
    for other in batch.group[:, row, place].tolist():
        if slate[place] >= 0 and other >= 0 and batch.open[row, place, other]:
            lost.append(batch.value(row, slate) - batch.value(row, tried(slate, place, other)))
    return float(np.mean(lost)) if lost else 0.0


SIZES = st.tuples(st.integers(0, 999), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(5, 9))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SIZES)
def test_place_credit_equals_naive_definition(sizes: tuple[int, ...]) -> None:
    batch = drawn(*sizes)
    found = batch.credit()
    b, k = batch.slates.shape
    assert found.shape == (b, k)
    np.testing.assert_allclose(found, [[naive(batch, i, r) for r in range(k)] for i in range(b)], atol=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 999))
def test_additive_reward_credits_each_place_separately(seed: int) -> None:
    b, k, others, each = 4, 3, 3, 4
    batch = drawn(seed, b, k, others, k * each)
    rng = np.random.default_rng(seed)

    def apart(*shape: int) -> Codes:  # each place has items of its own
        return (rng.integers(each, size=(*shape, k)) + np.arange(k) * each).astype(np.int32)

    batch = Batch(apart(b), apart(others, b), np.ones_like(batch.open), batch.places, np.zeros_like(batch.pairs))
    wanted = np.empty((b, k))
    for row in range(b):
        for place in range(k):
            of = batch.places[row, place]
            wanted[row, place] = of[batch.slates[row, place]] - np.mean([of[i] for i in batch.group[:, row, place]])
    np.testing.assert_allclose(batch.credit(), wanted, atol=1e-12)


def test_later_item_swaps_places_with_replaced_item() -> None:
    asked: list[list[int]] = []
    batch = drawn(0, 1, 3, 1, 5)
    batch = Batch(
        np.array([[0, 1, 2]], np.int32),
        np.array([[[2, 1, 4]]], np.int32),
        np.ones_like(batch.open),
        batch.places,
        batch.pairs,
    )

    def worth(slates: Codes, of: Ints) -> Floats:
        asked.extend(slates.tolist())
        return batch.worth(slates, of)

    found = batch.credit(worth)
    assert sorted(asked) == [[0, 1, 4], [2, 1, 0]], "the same item at a place need not be tried"
    assert found[0, 1] == 0.0 and found[0, 0] == batch.value(0, [0, 1, 2]) - batch.value(0, [2, 1, 0])


def test_closed_items_and_holes_give_no_credit() -> None:
    batch = Batch(
        np.array([[0, -1]], np.int32),
        np.array([[[1, 3]], [[2, 4]], [[-1, 3]]], np.int32),
        np.zeros((1, 2, 5), np.bool_),
        np.arange(10.0).reshape(1, 2, 5) ** 2,
        np.zeros((5, 5)),
    )
    assert batch.credit().tolist() == [[0.0, 0.0]]
    batch.open[0, :, 1:] = True
    assert batch.credit().tolist() == [[-(1 + 4) / 2, 0.0]], "a hole was no choice, and others' holes are none"
    batch.open[0, 0, 2] = False
    assert batch.credit().tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize("copies", [2, 5])
def test_identical_slates_give_zero_credit(copies: int) -> None:
    batch = drawn(3, copies, 4, copies - 1, 6)
    one = batch.slates[:1]
    alike = Batch(
        np.repeat(one, copies, 0),
        np.tile(one, (copies - 1, copies, 1)),
        batch.open,
        batch.places,
        batch.pairs,
    )
    assert not alike.credit().any()


def test_two_slates_are_compared_with_each_other() -> None:
    batch = drawn(5, 2, 4, 1, 9)
    slates = np.array([[0, 1, 2, 3], [4, 5, 2, 6]], np.int32)
    pair = Batch(slates, slates[None, ::-1], np.ones_like(batch.open), batch.places, batch.pairs)
    found = pair.credit()
    assert found[0, 0] == pytest.approx(pair.value(0, [0, 1, 2, 3]) - pair.value(0, [4, 1, 2, 3]))
    assert found[1, 3] == pytest.approx(pair.value(1, [4, 5, 2, 6]) - pair.value(1, [4, 5, 2, 3]))
    assert not found[:, 2].any() and found[:, [0, 1, 3]].all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 6))
def test_slate_advantage_is_reward_minus_group_mean(seed: int, groups: int, copies: int) -> None:
    worth = np.random.default_rng(seed).normal(size=groups * copies)
    found = advantages.slate_advantages(worth, copies)
    for at, value in enumerate(worth.tolist()):
        first = at - at % copies
        assert found[at] == pytest.approx(value - sum(worth[first : first + copies].tolist()) / copies)
    np.testing.assert_allclose(found.reshape(groups, copies).sum(1), 0.0, atol=1e-12)
