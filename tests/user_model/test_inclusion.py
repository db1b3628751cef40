"""Checks probabilities to be among the next n, and drawn lists, against sequential sampling without replacement."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.evaluation.linear import Scores
from recpolicy.user_model.inclusion import inclusion_probabilities, sample_next_items

SEED = st.integers(0, 999)
SPREAD = st.sampled_from([0.0, 0.5, 1.0, 3.0, 6.0])
"""Standard deviation of log-shares: equal, or orders of magnitude apart."""


def shares_of(seed: int, spread: float, rows: int = 3, items: int = 40) -> Scores:
    """Random shares of every item of each row."""
    shares = np.exp(spread * np.random.default_rng(seed).normal(size=(rows, items)))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def one(probabilities: Scores, count: int) -> Scores:
    """Chances of a single row."""
    found: Scores = inclusion_probabilities(probabilities[None], np.array([count]))[0]
    return found


def sequential(shares: list[float], count: int) -> list[float]:
    """Exact chance that each item is among `count` drawn one after another, each by its share of those left."""
    out = [0.0] * len(shares)
    for order in permutations(range(len(shares)), count):
        probability, left = 1.0, sum(shares)
        for i in order:
            probability, left = probability * shares[i] / left, left - shares[i]
        for i in order:
            out[i] += probability
    return out


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEED, SPREAD, st.lists(st.integers(0, 38), min_size=3, max_size=3))
def test_chances_sum_to_count(seed: int, spread: float, count: list[int]) -> None:
    found = inclusion_probabilities(shares_of(seed, spread), np.array(count))
    assert found.dtype == np.float32
    assert (found >= 0).all() and (found <= 1).all()
    np.testing.assert_allclose(found.sum(1, dtype=np.float64), count, atol=1e-4)


@pytest.mark.parametrize("steepness", [0.3, 1.0, 2.3, 4.0])
def test_chances_sum_to_count_for_steep_shares(steepness: float) -> None:
    shares = np.exp(-steepness * np.arange(20))
    for count in range(20):
        found = one((shares / shares.sum()).astype(np.float32), count)
        assert found.sum(dtype=np.float64) == pytest.approx(count, abs=1e-3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEED, SPREAD, st.integers(1, 38))
def test_chances_grow_with_share_and_count(seed: int, spread: float, count: int) -> None:
    shares = np.sort(shares_of(seed, spread), 1)
    found, more = (inclusion_probabilities(shares, np.full(3, n)) for n in (count, count + 1))
    assert (np.diff(found, axis=1) >= 0).all()
    assert (more >= found).all()


def test_equal_shares_have_equal_chances() -> None:
    np.testing.assert_allclose(one(np.full(8, 0.125, np.float32), 3), np.full(8, 3 / 8), rtol=1e-6)


def test_zero_share_has_zero_chance() -> None:
    shares = np.array([[0.5, 0.0, 0.3, 0.2, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    found = inclusion_probabilities(shares, np.array([2, 2]))
    assert (found[0, [1, 4]] == 0).all() and found[0].sum() == pytest.approx(2, abs=1e-5)
    assert not found[1].any()
    assert not inclusion_probabilities(shares, np.array([0, 0])).any()


@pytest.mark.parametrize("count", [19, 20, 30])
def test_count_near_all_items_gives_high_chances(count: int) -> None:
    shares = shares_of(0, 0.3, rows=1, items=20)[0]
    found = one(shares, count)
    assert found.min() > 0.8 and found.max() <= 1
    assert found.sum() == pytest.approx(19, abs=1e-4)  # no more than 95% of what may be taken


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("spread", [0.0, 0.7, 1.5])
def test_chances_match_sequential_draws(spread: float, count: int) -> None:
    shares = shares_of(7, spread, rows=1, items=10)[0]
    exact = np.array(sequential(shares.astype(np.float64).tolist(), count))
    np.testing.assert_allclose(one(shares, count), exact, atol=0.07)  # worst where one item has half of all
    assert abs(one(shares, count) - exact).mean() < 0.02


def test_chances_of_many_items_match_sampled_frequencies() -> None:
    shares = shares_of(1, 1.5, rows=1, items=300)
    lists = sample_next_items(shares, 10, 4000, np.random.default_rng(0))[:, 0]
    frequency = np.bincount(lists.ravel(), minlength=300) / len(lists)
    found = one(shares[0], 10)
    deviation = np.sqrt(found * (1 - found) / len(lists))
    assert (np.abs(frequency - found) < 4 * deviation + 0.01).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEED, SPREAD, st.lists(st.integers(0, 38), min_size=3, max_size=3))
def test_rows_are_independent(seed: int, spread: float, count: list[int]) -> None:
    shares = shares_of(seed, spread)
    together = inclusion_probabilities(shares, np.array(count))
    for row, n in enumerate(count):
        np.testing.assert_allclose(together[row], one(shares[row], n), atol=1e-5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEED, SPREAD, st.integers(1, 12))
def test_drawn_lists_have_no_repeats(seed: int, spread: float, count: int) -> None:
    shares = shares_of(seed, spread, items=16)
    shares[:, :4] = 0
    lists = sample_next_items(shares, count, 5, np.random.default_rng(seed))
    assert lists.shape == (5, 3, count) and lists.dtype == np.int32
    assert all(len(set(own)) == count for own in lists.reshape(-1, count).tolist())
    assert (lists >= 4).all() and (lists < 16).all()  # what cannot be taken is not drawn while there is more


def test_drawn_lists_match_sequential_probabilities() -> None:
    shares, draws = np.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]], np.float32), 6000
    lists = sample_next_items(shares, 2, draws, np.random.default_rng(3))
    for row, p in enumerate(shares.astype(np.float64)):
        first = np.bincount(lists[:, row, 0], minlength=4) / draws
        np.testing.assert_allclose(first, p, atol=4 * 0.5 / np.sqrt(draws))
        for i, j in permutations(range(4), 2):
            found = (lists[:, row] == [i, j]).all(1).mean()
            assert found == pytest.approx(p[i] * p[j] / (1 - p[i]), abs=0.025)


def test_drawn_lists_are_equal_for_same_seed() -> None:
    shares = shares_of(0, 1.0)
    first, again, other = (sample_next_items(shares, 5, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_single_draw_chances_equal_shares() -> None:
    shares = np.array([[0.8, 0.15, 0.05], [0.4, 0.4, 0.2]], np.float32)
    np.testing.assert_allclose(inclusion_probabilities(shares, np.array([1, 1])), shares, rtol=1e-6)
    assert inclusion_probabilities(2 * shares, np.array([1, 2]))[0].tolist() == pytest.approx([0.8, 0.15, 0.05])
