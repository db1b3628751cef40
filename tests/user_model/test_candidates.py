"""Checks the sparse path of large catalogs against the dense one, on small data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.dataset import candidates
from recpolicy.dataset.candidates import Candidates
from recpolicy.dataset.rows import LabelProbabilities, Rows
from recpolicy.dataset.slates import offered, unseen
from recpolicy.evaluation import baselines, classics, linear
from recpolicy.evaluation.baselines import Baseline, ItemKNN, top
from recpolicy.evaluation.linear import LinearRecommender
from recpolicy.user_model import blend, inclusion, linear_recommenders, retrieval
from recpolicy.user_model.blend import Examples
from recpolicy.user_model.linear_recommenders import LinearRecommenders

SIMULATED = data.simulate(users=80, items=120, creators=10, seed=3).dataset
ITEMS = SIMULATED.items.rows
SPLIT = data.split(SIMULATED, holdout=3)
SEED = st.integers(0, 999)


@pytest.fixture(scope="module")
def dense() -> dict[str, Baseline]:
    return baselines.fit(SIMULATED, SPLIT, 5)


@pytest.fixture(scope="module")
def sparse() -> dict[str, Baseline]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LARGE", 10)
        return classics.fit(SIMULATED, SPLIT, 5)


@pytest.fixture(scope="module")
def sources(dense: dict[str, Baseline]) -> LinearRecommenders:
    return linear_recommenders.fit(SIMULATED, SPLIT, dense)


def some_rows(seed: int, count: int = 6) -> Rows:
    return SPLIT.test.take(np.random.default_rng(seed).integers(0, len(SPLIT.test), count))


def with_some(rows: Rows, seed: int, count: int) -> Rows:
    """The rows with any items as candidates."""
    rng = np.random.default_rng(seed)
    items = np.sort(np.array([rng.permutation(ITEMS)[:count] for _ in range(len(rows))]), 1).astype(np.int32)
    return replace(rows, candidates=Candidates(items, np.zeros(items.shape, np.float32)))


@given(SEED, st.integers(1, ITEMS))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_arrays_of_candidates_are_columns_of_those_of_all_items(
    sources: LinearRecommenders, dense: dict[str, Baseline], seed: int, count: int
) -> None:
    rows = some_rows(seed)
    some = with_some(rows, seed, count)
    columns = some.items_at(np.arange(count)[None]).astype(np.int64)
    pooled = replace(some, pool=np.random.default_rng(seed).integers(-1, ITEMS, (len(rows), 9)).astype(np.int32))

    def at(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, columns, 1)

    np.testing.assert_array_equal(unseen(some, ITEMS), at(unseen(rows, ITEMS)))
    np.testing.assert_array_equal(offered(pooled, ITEMS), at(offered(replace(pooled, candidates=None), ITEMS)))
    for own, all_items in zip(sources.features(some), sources.features(rows), strict=True):
        np.testing.assert_allclose(own, at(all_items), atol=1e-5, rtol=1e-5)
    popular = dense["popularity"]
    np.testing.assert_array_equal(popular.scores(some), at(popular.scores(rows)))
    for model in sources.recommenders:
        np.testing.assert_allclose(model.scores(some), at(model.scores(rows)), atol=1e-6)


def test_all_items_as_candidates_give_the_same_lists_and_likelihoods(sources: LinearRecommenders) -> None:
    rows = some_rows(1, 30)
    every = with_some(rows, 0, ITEMS)
    weights = np.linspace(0.2, 1.0, len(sources.names))
    found, wanted = (Examples.of(sources.features(r), unseen(r, ITEMS), r) for r in (every, rows))
    np.testing.assert_allclose(found.log_likelihood(weights), wanted.log_likelihood(weights), atol=1e-4)
    np.testing.assert_allclose(blend.fit(found), blend.fit(wanted), atol=1e-4)
    own, other = (top(e.log_probs(weights), r, 7).items for e, r in ((found, every), (wanted, rows)))
    np.testing.assert_array_equal(own, other)
    for model in sources.recommenders:
        np.testing.assert_array_equal(linear.best(model.unseen(rows), 3), top(_positive(model, rows), rows, 3).items)


def _positive(model: LinearRecommender, rows: Rows) -> np.ndarray:
    scores = model.scores(rows)
    return np.where(scores > 0, scores, -np.inf)


def test_sparse_itemknn_and_ease_equal_the_dense_ones(sparse: dict[str, Baseline], dense: dict[str, Baseline]) -> None:
    rows = some_rows(2, 40)
    assert set(sparse) == set(dense)
    for name in ("ease", "ease_recency"):
        own, other = sparse[name], dense[name]
        assert own.settings == other.settings
        np.testing.assert_allclose(own.scores(rows), other.scores(rows), atol=1e-6)
        np.testing.assert_array_equal(top(own.scores(rows), rows, 5).items, top(other.scores(rows), rows, 5).items)
    np.testing.assert_array_equal(sparse["popularity"].scores(rows), dense["popularity"].scores(rows))


@pytest.mark.parametrize("shrink", [0.0, 20.0])
def test_sparse_neighbours_equal_the_dense_ones(shrink: float) -> None:
    seen = classics.taken(SIMULATED, SPLIT)
    np.testing.assert_array_equal(seen.toarray(), baselines.taken(SIMULATED, SPLIT))
    [similar] = classics.neighbours(seen, [shrink], ITEMS)  # all of them: no tie is cut
    [near] = baselines._nearest(seen.toarray(), [shrink], ITEMS)
    rows = some_rows(3, 30)
    own = LinearRecommender("itemknn", similar.T.tocsr(), None)
    np.testing.assert_allclose(own.scores(rows), ItemKNN(near, ITEMS).scores(rows), atol=1e-5)


@given(SEED, st.integers(20, 60), st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_candidates_are_the_best_and_drawn_ones(
    sources: LinearRecommenders, seed: int, count: int, answered: bool
) -> None:
    rows = some_rows(seed)
    best = sources.best(rows, 3)
    found = retrieval.with_candidates(rows, best, ITEMS, count=count, answered=answered)
    one, of_one = rows.take(np.array([2])), [source[2:3] for source in best]
    again = retrieval.with_candidates(one, of_one, ITEMS, count=count, answered=answered)
    assert found.candidates is not None and again.candidates is not None
    np.testing.assert_array_equal(again.candidates.items[0], found.candidates.items[2])
    free = unseen(found, ITEMS)
    for i, (items, weight) in enumerate(zip(found.candidates.items, found.candidates.log_weight, strict=True)):
        assert (np.diff(items) > 0).all() and len(items) == count and items.min() >= 0 and items.max() < ITEMS
        liked = {int(source[i, j]) for source in best for j in range(3)} - {-1}
        liked |= set(rows.next_items.row(i).tolist()) - set(rows.history.row(i).tolist()) if answered else set()
        assert liked <= set(items.tolist())
        assert (weight[np.isin(items, list(liked))] == 0).all()
        total = np.exp(weight.astype(np.float64))[free[i]].sum()  # they stand for all unseen items
        assert total == pytest.approx(ITEMS - len(set(rows.history.row(i).tolist())), rel=1e-5)


def test_a_sum_over_candidates_estimates_that_over_all_items() -> None:
    rows = some_rows(4, 1)
    scores = np.random.default_rng(0).normal(size=(1, ITEMS)).astype(np.float32)
    whole = np.exp(scores)[unseen(rows, ITEMS)].sum()
    sums = []
    for user in range(400):  # another user is another draw
        some = retrieval.with_candidates(replace(rows, user=np.array([user])), [], ITEMS, count=30)
        assert some.candidates is not None
        free = unseen(some, ITEMS)
        shares = np.take_along_axis(np.exp(scores), some.candidates.items.astype(np.int64), 1)
        sums.append((shares * np.exp(some.candidates.log_weight))[free].sum())
    assert np.mean(sums) == pytest.approx(whole, rel=0.03)


def test_weights_count_in_inclusion_probabilities() -> None:
    shares = np.array([[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]], np.float32)
    weight = np.array([[1.0, 5.0]], np.float32)
    for n in (1, 2, 3):
        whole = inclusion.inclusion_probabilities(shares, np.array([n]))
        found = inclusion.inclusion_probabilities(shares[:, :2], np.array([n]), weight)
        np.testing.assert_allclose(found, whole[:, :2], rtol=1e-5)


def test_label_probabilities_of_candidates() -> None:
    rows = with_some(some_rows(5), 5, 40)
    assert rows.candidates is not None and rows.columns is not None
    table = np.random.default_rng(0).random(rows.columns.shape).astype(np.float32)
    count = np.full(len(rows), 3, np.int64)
    labels = LabelProbabilities(table, np.arange(len(rows)), count, candidates=rows.candidates)
    whole = np.zeros((len(rows), ITEMS), np.float32)
    np.put_along_axis(whole, rows.columns.astype(np.int64), table, 1)
    wanted = LabelProbabilities(whole, np.arange(len(rows)), count)
    items = np.random.default_rng(1).integers(-1, ITEMS, (4, 10)).astype(np.int32)
    at = np.array([3, 0, 3, 1])
    np.testing.assert_array_equal(labels.take(at).of(items), wanted.take(at).of(items))
