"""Checks item-to-item memories against dense products, baselines and a naive Markov chain."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recpolicy import data
from recpolicy.dataset.columns import Floats, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import baselines
from recpolicy.evaluation.baselines import Baseline, Ease, ItemKNN
from recpolicy.evaluation.linear import LinearRecommender
from recpolicy.user_model import linear_recommenders
from recpolicy.user_model.linear_recommenders import LinearRecommenders

SIMULATED = data.simulate(users=60, items=100, creators=8, seed=2).dataset
ITEMS = SIMULATED.items.rows
SPLIT = data.split(SIMULATED, holdout=2)
SEED = st.integers(0, 999)


@pytest.fixture(scope="module")
def classics() -> dict[str, Baseline]:
    return baselines.fit(SIMULATED, SPLIT, 5)


@pytest.fixture(scope="module")
def linear(classics: dict[str, Baseline]) -> LinearRecommenders:
    return linear_recommenders.fit(SIMULATED, SPLIT, classics)


def rows_of(*histories: list[int]) -> Rows:
    """Rows of these histories."""
    nothing = Ragged.of([[]] * len(histories))
    return Rows(np.zeros(len(histories), np.int64), np.zeros(len(histories)), Ragged.of(histories), nothing)


def naive(item_weights: Floats, history: list[int], half_life: float | None) -> list[float]:
    """Scores by a loop over the history; an item taken again weighs as its last time."""
    weights: dict[int, float] = {}
    for back, item in enumerate(reversed(history)):
        weights.setdefault(item, 1.0 if half_life is None else 0.5 ** (back / half_life))
    return [sum(w * item_weights[j, i] for j, w in weights.items()) for i in range(item_weights.shape[1])]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    SEED, st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=3), st.sampled_from([None, 0.5, 3.0])
)
def test_scores_equal_weighted_history_times_memory(
    seed: int, histories: list[list[int]], half_life: float | None
) -> None:
    rng = np.random.default_rng(seed)
    item_weights = np.where(rng.random((7, 7)) < 0.6, rng.normal(size=(7, 7)), 0).astype(np.float32)
    found = LinearRecommender("any", sparse.csr_array(item_weights), half_life).scores(rows_of(*histories))
    assert found.dtype == np.float32
    expected = [naive(item_weights.astype(np.float64), history, half_life) for history in histories]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sources_are_in_fixed_order(linear: LinearRecommenders) -> None:
    assert linear.names == (*linear_recommenders.NAMES, "popularity")
    assert linear.items == ITEMS
    assert [recommender.half_life is None for recommender in linear.recommenders] == [True, False, True, False, False]


@pytest.mark.parametrize("name", ["ease", "ease_recency", "itemknn"])
def test_full_memory_scores_equal_baselines(
    name: str, classics: dict[str, Baseline], linear: LinearRecommenders
) -> None:
    assert linear_recommenders.NEIGHBOURS >= ITEMS
    recommender = next(recommender for recommender in linear.recommenders if recommender.name == name)
    for of in (SPLIT.test, SPLIT.validation, rows_of([], [3], [3, 5, 3])):
        free = unseen(of, ITEMS)
        np.testing.assert_allclose(recommender.scores(of)[free], classics[name].scores(of)[free], atol=2e-5)


def test_recent_itemknn_uses_half_life(classics: dict[str, Baseline], linear: LinearRecommenders) -> None:
    votes, recent = (next(s for s in linear.recommenders if s.name == name) for name in ("itemknn", "itemknn_recency"))
    np.testing.assert_array_equal(recent.item_weights.toarray(), votes.item_weights.toarray())
    assert isinstance(classics["ease_recency"], Ease) and recent.half_life == classics["ease_recency"].half_life
    one = [classics["itemknn"].scores(rows_of([item]))[0] for item in (4, 9)]
    assert recent.half_life is not None
    expected = 0.5 ** (1 / recent.half_life) * one[0] + one[1]
    np.testing.assert_allclose(recent.scores(rows_of([4, 9]))[0], expected, atol=1e-5)


def test_truncated_memory_keeps_largest_entries(classics: dict[str, Baseline], monkeypatch: pytest.MonkeyPatch) -> None:
    ease = classics["ease"]
    assert isinstance(ease, Ease)
    sharper = {**classics, "ease": replace(ease, penalty=1.0)}  # many of whose largest weights are negative
    linear = linear_recommenders.fit(SIMULATED, SPLIT, sharper)
    monkeypatch.setattr(linear_recommenders, "NEIGHBOURS", 6)
    monkeypatch.setattr(linear_recommenders, "BLOCK", 16)
    cut = linear_recommenders.fit(SIMULATED, SPLIT, sharper)
    assert (cut.recommenders[0].item_weights.data < 0).mean() > 0.1
    for name in ("ease", "ease_recency", "transitions"):
        whole, part = (
            next(s for s in of.recommenders if s.name == name).item_weights.toarray() for of in (linear, cut)
        )
        for row, own in zip(whole, part, strict=True):
            assert np.count_nonzero(own) == min(6, np.count_nonzero(row))
            np.testing.assert_allclose(own[own != 0], row[own != 0], rtol=1e-5)
            assert np.abs(own[own != 0]).min(initial=9) >= np.sort(np.abs(row))[::-1][6] * (1 - 1e-5)


def chain(dataset: Dataset, split: Split) -> Floats:
    """Transitions by a double loop over the events of each user's training part."""
    items = dataset.items.rows
    counts, events = np.zeros((items, items)), np.zeros(items)
    for user, end in enumerate(split.train_end.tolist()):
        taken = dataset.item[dataset.start[user] : end].tolist()
        for later, b in enumerate(taken):
            events[b] += 1
            for earlier, a in enumerate(taken[:later]):
                if later - earlier <= linear_recommenders.WINDOW:
                    counts[a, b] += 1 / (later - earlier)
    out = np.zeros_like(counts)
    for a in range(items):
        for b in range(items):
            share = counts[a, b] / (linear_recommenders.SHRINK + counts[a].sum())
            out[a, b] = share / math.sqrt(linear_recommenders.DAMPING + events[b])
    return out


def test_transitions_equal_double_loop(linear: LinearRecommenders) -> None:
    found = next(recommender for recommender in linear.recommenders if recommender.name == "transitions")
    np.testing.assert_allclose(found.item_weights.toarray(), chain(SIMULATED, SPLIT), rtol=1e-5, atol=1e-8)
    assert found.half_life == linear_recommenders.LATEST


def test_transitions_of_few_events_equal_double_loop(classics: dict[str, Baseline]) -> None:
    lists = [[1, 2, 1, 1], [], [5], [2, 1, 7, 7, 2, 0, 1, 3]]
    cut = replace(
        SIMULATED,
        user_ids=SIMULATED.user_ids[:4],
        start=np.append(0, np.cumsum([len(own) for own in lists])),
        item=np.array([i for own in lists for i in own], np.int32),
        time=np.zeros(13),
    )
    for end in (cut.start[1:], cut.start[:-1]):  # all of it, and nothing
        found = linear_recommenders.fit(cut, replace(SPLIT, train_end=end), classics).recommenders[-1]
        np.testing.assert_allclose(found.item_weights.toarray(), chain(cut, replace(SPLIT, train_end=end)), rtol=1e-5)


def test_held_out_events_do_not_change_memories(classics: dict[str, Baseline], linear: LinearRecommenders) -> None:
    item = SIMULATED.item.copy()
    for user, end in enumerate(SPLIT.train_end):
        item[end : SIMULATED.start[user + 1]] = 0
    again = linear_recommenders.fit(replace(SIMULATED, item=item), SPLIT, classics)
    for recommender, other in zip(linear.recommenders, again.recommenders, strict=True):
        np.testing.assert_array_equal(recommender.item_weights.toarray(), other.item_weights.toarray())


def test_popularity_counts_training_users(linear: LinearRecommenders) -> None:
    seen = [set(SIMULATED.item[SIMULATED.start[u] : end].tolist()) for u, end in enumerate(SPLIT.train_end)]
    expected = [math.log(1 + sum(i in own for own in seen)) for i in range(ITEMS)]
    np.testing.assert_allclose(linear.popularity, expected, rtol=1e-6)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SEED, st.sampled_from([1e-3, 1.0, 50.0]), st.sampled_from([0.0, -7.0]))
def test_standardized_scores_use_mean_and_deviation_of_free_items(seed: int, scale: float, mean: float) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.normal(size=(3, 12)) * scale + mean * scale).astype(np.float32)
    free = rng.random((3, 12)) < 0.6
    free[0], free[1, 2:] = False, False  # nothing, and one or two items
    found = linear_recommenders.standardized(scores, free)
    assert found.dtype == np.float32 and not found[~free].any()
    for b in range(3):
        own = [float(scores[b, i]) for i in np.flatnonzero(free[b])]
        middle = sum(own) / max(len(own), 1)
        deviation = math.sqrt(sum((x - middle) ** 2 for x in own) / max(len(own), 1))
        if len(own) > 1:
            expected = [math.asinh((x - middle) / deviation) for x in own]
            np.testing.assert_allclose(found[b, free[b]], expected, atol=1e-3)


def test_equal_scores_standardize_to_zero() -> None:
    scores = np.array([[3.0, 3.0, 3.0, 9.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    free = np.array([[True, True, True, False], [True, True, True, True]])
    assert not linear_recommenders.standardized(scores, free).any()


def test_features_equal_standardized_source_scores(linear: LinearRecommenders) -> None:
    of = SPLIT.test
    free, found = unseen(of, ITEMS), linear.features(of)
    assert found.shape == (6, len(of), ITEMS) and found.dtype == np.float32
    assert not found[:, ~free].any()
    for recommender, own in zip(linear.recommenders, found, strict=False):
        np.testing.assert_array_equal(own, linear_recommenders.standardized(recommender.scores(of), free))
        np.testing.assert_allclose(np.sinh(own).sum(1), 0, atol=1e-3)
        np.testing.assert_allclose((np.sinh(own) ** 2).sum(1) / free.sum(1), 1, atol=1e-3)
    np.testing.assert_array_equal(found[-1], np.where(free, linear.popularity, 0))


def test_empty_history_has_only_popularity(linear: LinearRecommenders) -> None:
    found = linear.features(rows_of([]))
    assert not found[:-1].any()
    np.testing.assert_array_equal(found[-1, 0], linear.popularity)


def test_saved_memories_load_unchanged(linear: LinearRecommenders) -> None:
    again = linear_recommenders.load(linear_recommenders.save(linear))
    assert again.names == linear.names
    assert [s.half_life for s in again.recommenders] == [s.half_life for s in linear.recommenders]
    np.testing.assert_array_equal(again.features(SPLIT.test), linear.features(SPLIT.test))
    some = replace(linear, recommenders=linear.recommenders[2:4])
    assert linear_recommenders.load(linear_recommenders.save(some)).names == (
        "itemknn",
        "itemknn_recency",
        "popularity",
    )


def test_truncated_itemknn_equals_baseline_votes(classics: dict[str, Baseline]) -> None:
    knn = classics["itemknn"]
    assert isinstance(knn, ItemKNN)
    few = ItemKNN(knn.nearest, 3)
    found = linear_recommenders.fit(SIMULATED, SPLIT, {**classics, "itemknn": few}).recommenders[2]
    np.testing.assert_allclose(found.scores(SPLIT.test), few.scores(SPLIT.test), atol=1e-5)
    assert not np.allclose(found.scores(SPLIT.test), knn.scores(SPLIT.test))
