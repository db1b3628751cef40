"""Checks the blend: maximum-likelihood weights and their calibration, against naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.dataset.columns import Floats, Ragged
from recpolicy.dataset.rows import Rows
from recpolicy.user_model import blend
from recpolicy.user_model.blend import Examples

SEED = st.integers(0, 999)


def simulated(
    seed: int, weights: list[float], rows: int = 40, items: int = 9, taken: int = 2, features: int | None = None
) -> Examples:
    """Users who each take items one after another by a blend of these weights; some items are not free."""
    rng = np.random.default_rng(seed)
    free = rng.random((rows, items)) < 0.8
    free[:, : taken + 1] = True
    x = np.where(free, rng.normal(size=(features or len(weights), rows, items)), 0).astype(np.float32)
    noisy = np.tensordot(weights, x[: len(weights)], 1) + rng.gumbel(size=free.shape)
    best = np.argsort(-np.where(free, noisy, -np.inf), 1)[:, :taken]
    chosen = np.zeros_like(free)
    np.put_along_axis(chosen, best, True, 1)
    return Examples(x, free, chosen)


def naive(examples: Examples, weights: list[float]) -> list[float]:
    """Log-likelihood of each row's next items, in plain Python."""
    out = []
    for b in range(len(examples.free)):
        free = np.flatnonzero(examples.free[b]).tolist()
        score = {i: sum(w * float(examples.features[f, b, i]) for f, w in enumerate(weights)) for i in free}
        total = math.log(sum(math.exp(s) for s in score.values()))
        out.append(sum(score[i] - total for i in np.flatnonzero(examples.taken[b]).tolist()))
    return out


def penalized(examples: Examples, weights: Floats) -> float:
    """What the fit makes as large as it can."""
    ridge = blend.RIDGE * len(examples.free) / 2 * float(weights @ weights)
    return sum(naive(examples, weights.tolist())) - ridge


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEED, st.integers(0, 3), st.integers(1, 4))
def test_log_softmax_sums_to_one_over_free_items(seed: int, few: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.normal(size=(rows, 7)) * 10.0 ** rng.integers(-2, 4)).astype(np.float32)
    free = rng.random((rows, 7)) < 0.5
    free[:, few] = True
    found = blend.log_softmax(scores, free)
    assert (found[~free] == -np.inf).all()
    np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-5)
    for b in range(rows):
        top = max(float(scores[b, i]) for i in range(7) if free[b, i])
        total = math.log(sum(math.exp(float(scores[b, i]) - top) for i in range(7) if free[b, i]))
        for i in np.flatnonzero(free[b]):
            assert found[b, i] == pytest.approx(float(scores[b, i]) - top - total, rel=1e-5, abs=1e-5)


def test_log_softmax_without_free_items_is_minus_infinity() -> None:
    found = blend.log_softmax(np.ones((1, 3), np.float32), np.zeros((1, 3), np.bool_))
    assert (found == -np.inf).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEED, st.lists(st.sampled_from([-1.5, 0.0, 0.4, 2.0]), min_size=1, max_size=3))
def test_log_likelihood_equals_naive_sum(seed: int, weights: list[float]) -> None:
    examples = simulated(seed, weights, rows=5)
    found = examples.log_likelihood(np.array(weights))
    np.testing.assert_allclose(found, naive(examples, weights), rtol=1e-5, atol=1e-5)
    some = np.array([3, 0])
    np.testing.assert_allclose(examples.part(some).log_likelihood(np.array(weights)), found[some], atol=1e-5)


def test_seen_next_items_are_ignored() -> None:
    rows = Rows(np.zeros(3, np.int64), np.zeros(3), Ragged.of([[0], [1], []]), Ragged.of([[0, 2], [2, 3, 2], []]))
    free = np.array([[False, True, True, True], [True, False, True, True], [True] * 4])
    examples = Examples.of(np.zeros((1, 3, 4), np.float32), free, rows)
    assert [np.flatnonzero(own).tolist() for own in examples.taken] == [[2], [2, 3], []]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(SEED, st.lists(st.sampled_from([-1.0, 0.0, 0.3, 1.2]), min_size=1, max_size=3))
def test_fitted_weights_maximise_likelihood(seed: int, weights: list[float]) -> None:
    examples, rng = simulated(seed, weights, rows=25), np.random.default_rng(seed)
    found = blend.fit(examples)
    best, step = penalized(examples, found), 1e-3
    for size in (0.01, 0.1, 1.0):
        for _ in range(3):
            assert penalized(examples, found + size * rng.normal(size=len(found))) <= best + 1e-6
    for f in range(len(found)):
        up, down = (penalized(examples, found + side * step * np.eye(len(found))[f]) for side in (1, -1))
        assert abs(up - down) / (2 * step) < 0.02  # of some fifty log-probabilities


def test_fit_recovers_generating_weights() -> None:
    weights = [1.0, -0.5, 0.3]
    found = blend.fit(simulated(0, weights, rows=3000, taken=1, features=4))
    np.testing.assert_allclose(found, [*weights, 0.0], atol=0.08)


def test_perfect_feature_has_finite_weight() -> None:
    examples = simulated(1, [50.0], rows=30, taken=1)
    found = blend.fit(examples)
    assert np.isfinite(found).all() and found[0] > 3
    assert penalized(examples, found) > max(penalized(examples, found * 0.9), penalized(examples, found * 1.1))


def test_constant_feature_has_zero_weight() -> None:
    examples = simulated(2, [1.0], rows=30, features=2)
    examples.features[1] = 3.0 * examples.free  # the same for every item
    found = blend.fit(examples)
    assert abs(found[1]) < 1e-3 and found[0] > 0.3
    nobody = Examples(examples.features, examples.free, np.zeros_like(examples.free))
    np.testing.assert_allclose(blend.fit(nobody), 0, atol=1e-9)


def test_fit_is_independent_of_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = simulated(3, [1.0, -0.5], rows=50)
    at_once = blend.fit(examples)
    monkeypatch.setattr(blend, "ROWS", 7)
    np.testing.assert_allclose(blend.fit(examples), at_once, atol=1e-4)


@pytest.mark.parametrize("rows", [3, 23])
def test_cross_validation_uses_weights_of_other_folds(rows: int) -> None:
    examples = simulated(4, [1.0, -0.5], rows=rows)
    found = blend.cross_validated(examples, 5)
    fold = np.random.default_rng(5).permutation(rows) % blend.FOLDS
    for row in range(rows):
        weights = blend.fit(examples.part(np.flatnonzero(fold != fold[row])))
        expected = naive(examples.part(np.array([row])), weights.tolist())[0]
        assert found[row] == pytest.approx(expected, abs=1e-4)


def test_own_fold_does_not_affect_its_score() -> None:
    examples = simulated(6, [1.0, -0.5], rows=20)
    fold = np.random.default_rng(0).permutation(20) % blend.FOLDS
    own = np.flatnonzero(fold == fold[0])
    before = blend.cross_validated(examples, 0)
    changed = Examples(examples.features, examples.free, examples.taken.copy())
    changed.taken[own[1:]] = False  # others of its fold
    after = blend.cross_validated(changed, 0)
    assert after[0] == before[0] and not after[own[1:]].any()
    assert (after[fold != fold[0]] != before[fold != fold[0]]).any()


def test_reliability_equals_hand_worked_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend, "BINS", 2)
    probabilities = np.array([[0.1, 0.6, 0.2, 0.9], [0.3, 0.8, 0.5, 0.7]], np.float32)
    taken = np.array([[False, True, True, True], [True, False, True, False]])
    counted = np.array([[True, True, True, False], [False, True, True, True]])
    found = blend.reliability(probabilities, taken, counted)
    # 0.1, 0.2, 0.5 with two taken; 0.6, 0.7, 0.8 with one taken
    assert found["bins"] == [
        {"chance": pytest.approx(0.8 / 3), "taken": pytest.approx(2 / 3), "pairs": 3},
        {"chance": pytest.approx(0.7), "taken": pytest.approx(1 / 3), "pairs": 3},
    ]
    assert found["error"] == pytest.approx((0.4 + (0.7 - 1 / 3)) / 2)


def test_reliability_weighs_bins_by_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend, "BINS", 2)
    found = blend.reliability(
        np.array([[0.0, 0.0, 1.0]], np.float32), np.zeros((1, 3), np.bool_), np.ones((1, 3), bool)
    )
    assert [b["pairs"] for b in found["bins"]] == [2, 1]
    assert found["error"] == pytest.approx(1 / 3)


def test_fewer_pairs_than_bins_get_single_pair_bins() -> None:
    counted = np.array([[True, False, True]])
    found = blend.reliability(np.array([[0.25, 0.5, 0.75]], np.float32), np.array([[False, True, True]]), counted)
    assert [b["pairs"] for b in found["bins"]] == [1, 1]
    assert found["error"] == pytest.approx(0.25)
    assert blend.reliability(np.zeros((1, 3), np.float32), ~counted, np.zeros((1, 3), bool)) == {
        "error": 0.0,
        "bins": [],
    }


def test_calibrated_chances_have_small_error() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random((100, 200)).astype(np.float32)
    taken, everything = rng.random(probabilities.shape) < probabilities, np.ones(probabilities.shape, np.bool_)
    found = blend.reliability(probabilities, taken, everything)
    assert found["error"] < 0.02 and len(found["bins"]) == blend.BINS
    assert blend.reliability(probabilities**2, taken, everything)["error"] == pytest.approx(1 / 2 - 1 / 3, abs=0.02)
