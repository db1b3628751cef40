"""Item-to-item memories: beside dense products, the baselines they come from, and a naive Markov chain."""

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
from recpolicy.user_model import sources
from recpolicy.user_model.sources import Memories, Source

SIMULATED = data.simulate(users=60, items=100, creators=8, seed=2).dataset
ITEMS = SIMULATED.items.rows
SPLIT = data.split(SIMULATED, holdout=2)
SEED = st.integers(0, 999)


@pytest.fixture(scope="module")
def classics() -> dict[str, Baseline]:
    return baselines.fit(SIMULATED, SPLIT, 5)


@pytest.fixture(scope="module")
def memories(classics: dict[str, Baseline]) -> Memories:
    return sources.fit(SIMULATED, SPLIT, classics)


def rows_of(*histories: list[int]) -> Rows:
    """Rows of these histories."""
    nothing = Ragged.of([[]] * len(histories))
    return Rows(np.zeros(len(histories), np.int64), np.zeros(len(histories)), Ragged.of(histories), nothing)


def naive(memory: Floats, history: list[int], half_life: float | None) -> list[float]:
    """Scores by a loop over the history; an item taken again weighs as its last time."""
    weights: dict[int, float] = {}
    for back, item in enumerate(reversed(history)):
        weights.setdefault(item, 1.0 if half_life is None else 0.5 ** (back / half_life))
    return [sum(w * memory[j, i] for j, w in weights.items()) for i in range(memory.shape[1])]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    SEED, st.lists(st.lists(st.integers(0, 6), max_size=9), min_size=1, max_size=3), st.sampled_from([None, 0.5, 3.0])
)
def test_scores_are_weights_of_the_history_times_the_memory(
    seed: int, histories: list[list[int]], half_life: float | None
) -> None:
    rng = np.random.default_rng(seed)
    memory = np.where(rng.random((7, 7)) < 0.6, rng.normal(size=(7, 7)), 0).astype(np.float32)
    found = Source("any", sparse.csr_array(memory), half_life).scores(rows_of(*histories))
    assert found.dtype == np.float32
    expected = [naive(memory.astype(np.float64), history, half_life) for history in histories]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sources_come_in_their_order(memories: Memories) -> None:
    assert memories.names == (*sources.NAMES, "popularity")
    assert memories.items == ITEMS
    assert [source.half_life is None for source in memories.sources] == [True, False, True, False, False]


@pytest.mark.parametrize("name", ["ease", "ease_recency", "itemknn"])
def test_whole_memories_score_as_the_recommenders_they_come_from(
    name: str, classics: dict[str, Baseline], memories: Memories
) -> None:
    assert sources.NEIGHBOURS >= ITEMS
    source = next(source for source in memories.sources if source.name == name)
    for of in (SPLIT.test, SPLIT.validation, rows_of([], [3], [3, 5, 3])):
        free = unseen(of, ITEMS)
        np.testing.assert_allclose(source.scores(of)[free], classics[name].scores(of)[free], atol=2e-5)


def test_recent_votes_are_those_of_itemknn_with_a_half_life(classics: dict[str, Baseline], memories: Memories) -> None:
    votes, recent = (next(s for s in memories.sources if s.name == name) for name in ("itemknn", "itemknn_recency"))
    np.testing.assert_array_equal(recent.memory.toarray(), votes.memory.toarray())
    assert isinstance(classics["ease_recency"], Ease) and recent.half_life == classics["ease_recency"].half_life
    one = [classics["itemknn"].scores(rows_of([item]))[0] for item in (4, 9)]
    assert recent.half_life is not None
    expected = 0.5 ** (1 / recent.half_life) * one[0] + one[1]
    np.testing.assert_allclose(recent.scores(rows_of([4, 9]))[0], expected, atol=1e-5)


def test_cut_memories_hold_the_largest_entries_of_each_row(
    classics: dict[str, Baseline], monkeypatch: pytest.MonkeyPatch
) -> None:
    ease = classics["ease"]
    assert isinstance(ease, Ease)
    sharper = {**classics, "ease": replace(ease, penalty=1.0)}  # many of whose largest weights are negative
    memories = sources.fit(SIMULATED, SPLIT, sharper)
    monkeypatch.setattr(sources, "NEIGHBOURS", 6)
    monkeypatch.setattr(sources, "BLOCK", 16)
    cut = sources.fit(SIMULATED, SPLIT, sharper)
    assert (cut.sources[0].memory.data < 0).mean() > 0.1
    for name in ("ease", "ease_recency", "transitions"):
        whole, part = (next(s for s in of.sources if s.name == name).memory.toarray() for of in (memories, cut))
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
                if later - earlier <= sources.WINDOW:
                    counts[a, b] += 1 / (later - earlier)
    out = np.zeros_like(counts)
    for a in range(items):
        for b in range(items):
            share = counts[a, b] / (sources.SHRINK + counts[a].sum())
            out[a, b] = share / math.sqrt(sources.DAMPING + events[b])
    return out


def test_transitions_are_those_of_a_double_loop(memories: Memories) -> None:
    found = next(source for source in memories.sources if source.name == "transitions")
    np.testing.assert_allclose(found.memory.toarray(), chain(SIMULATED, SPLIT), rtol=1e-5, atol=1e-8)
    assert found.half_life == sources.LATEST


def test_transitions_of_few_events_are_those_of_a_double_loop(classics: dict[str, Baseline]) -> None:
    lists = [[1, 2, 1, 1], [], [5], [2, 1, 7, 7, 2, 0, 1, 3]]
    cut = replace(
        SIMULATED,
        user_ids=SIMULATED.user_ids[:4],
        start=np.append(0, np.cumsum([len(own) for own in lists])),
        item=np.array([i for own in lists for i in own], np.int32),
        time=np.zeros(13),
    )
    for end in (cut.start[1:], cut.start[:-1]):  # all of it, and nothing
        found = sources.fit(cut, replace(SPLIT, train_end=end), classics).sources[-1]
        np.testing.assert_allclose(found.memory.toarray(), chain(cut, replace(SPLIT, train_end=end)), rtol=1e-5)


def test_what_is_held_out_is_not_read(classics: dict[str, Baseline], memories: Memories) -> None:
    item = SIMULATED.item.copy()
    for user, end in enumerate(SPLIT.train_end):
        item[end : SIMULATED.start[user + 1]] = 0
    again = sources.fit(replace(SIMULATED, item=item), SPLIT, classics)
    for source, other in zip(memories.sources, again.sources, strict=True):
        np.testing.assert_array_equal(source.memory.toarray(), other.memory.toarray())


def test_popularity_counts_training_users(memories: Memories) -> None:
    seen = [set(SIMULATED.item[SIMULATED.start[u] : end].tolist()) for u, end in enumerate(SPLIT.train_end)]
    expected = [math.log(1 + sum(i in own for own in seen)) for i in range(ITEMS)]
    np.testing.assert_allclose(memories.popularity, expected, rtol=1e-6)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SEED, st.sampled_from([1e-3, 1.0, 50.0]), st.sampled_from([0.0, -7.0]))
def test_standardized_scores_are_deviations_from_the_mean_of_what_is_free(seed: int, scale: float, mean: float) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.normal(size=(3, 12)) * scale + mean * scale).astype(np.float32)
    free = rng.random((3, 12)) < 0.6
    free[0], free[1, 2:] = False, False  # nothing, and one or two items
    found = sources.standardized(scores, free)
    assert found.dtype == np.float32 and not found[~free].any()
    for b in range(3):
        own = [float(scores[b, i]) for i in np.flatnonzero(free[b])]
        middle = sum(own) / max(len(own), 1)
        deviation = math.sqrt(sum((x - middle) ** 2 for x in own) / max(len(own), 1))
        if len(own) > 1:
            expected = [math.asinh((x - middle) / deviation) for x in own]
            np.testing.assert_allclose(found[b, free[b]], expected, atol=1e-3)


def test_equal_scores_say_nothing() -> None:
    scores = np.array([[3.0, 3.0, 3.0, 9.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    free = np.array([[True, True, True, False], [True, True, True, True]])
    assert not sources.standardized(scores, free).any()


def test_features_are_those_of_each_source(memories: Memories) -> None:
    of = SPLIT.test
    free, found = unseen(of, ITEMS), memories.features(of)
    assert found.shape == (6, len(of), ITEMS) and found.dtype == np.float32
    assert not found[:, ~free].any()
    for source, own in zip(memories.sources, found, strict=False):
        np.testing.assert_array_equal(own, sources.standardized(source.scores(of), free))
        np.testing.assert_allclose(np.sinh(own).sum(1), 0, atol=1e-3)
        np.testing.assert_allclose((np.sinh(own) ** 2).sum(1) / free.sum(1), 1, atol=1e-3)
    np.testing.assert_array_equal(found[-1], np.where(free, memories.popularity, 0))


def test_nobody_taken_before_has_popularity_alone(memories: Memories) -> None:
    found = memories.features(rows_of([]))
    assert not found[:-1].any()
    np.testing.assert_array_equal(found[-1, 0], memories.popularity)


def test_memories_that_were_saved_are_loaded(memories: Memories) -> None:
    again = sources.load(sources.save(memories))
    assert again.names == memories.names
    assert [s.half_life for s in again.sources] == [s.half_life for s in memories.sources]
    np.testing.assert_array_equal(again.features(SPLIT.test), memories.features(SPLIT.test))
    some = replace(memories, sources=memories.sources[2:4])
    assert sources.load(sources.save(some)).names == ("itemknn", "itemknn_recency", "popularity")


def test_fewer_neighbours_than_items_still_vote_as_itemknn_does(classics: dict[str, Baseline]) -> None:
    knn = classics["itemknn"]
    assert isinstance(knn, ItemKNN)
    few = ItemKNN(knn.nearest, 3)
    found = sources.fit(SIMULATED, SPLIT, {**classics, "itemknn": few}).sources[2]
    np.testing.assert_allclose(found.scores(SPLIT.test), few.scores(SPLIT.test), atol=1e-5)
    assert not np.allclose(found.scores(SPLIT.test), knn.scores(SPLIT.test))
