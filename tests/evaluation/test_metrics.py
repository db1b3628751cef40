"""Checks population metrics and confidence intervals over users."""

from __future__ import annotations

import numpy as np
import pytest

from recpolicy.dataset.rows import Slates
from recpolicy.evaluation.metrics import coverage, gini, interval, paired

SHOWN = Slates(np.array([[0, 1], [0, 2], [0, -1]], np.int32))


def test_coverage_is_share_of_items_shown() -> None:
    assert coverage(SHOWN, 6) == 0.5


def test_gini_equals_its_definition() -> None:
    assert gini(Slates(np.array([[0, 1, 2, 3]], np.int32)), 4) == 0
    assert gini(Slates(np.array([[2], [2], [2]], np.int32)), 4) == pytest.approx(0.75)  # (n - 1) / n
    shown = [3, 1, 1, 0, 0, 0]
    pairs = sum(abs(a - b) for a in shown for b in shown)
    assert gini(SHOWN, 6) == pytest.approx(pairs / (2 * 6 * sum(shown)))
    assert gini(Slates(np.full((2, 2), -1, np.int32)), 4) == 0


def test_interval_covers_mean_and_shrinks_with_users() -> None:
    rng = np.random.default_rng(0)
    few, many = interval(rng.normal(1, 1, 100), seed=1), interval(rng.normal(1, 1, 10_000), seed=1)
    for found, n in ((few, 100), (many, 10_000)):
        assert found.low < found.mean < found.high
        assert found.high - found.low == pytest.approx(2 * 1.96 / n**0.5, rel=0.2)


@pytest.mark.parametrize("users", [1, 7, 3000, 20_000])
def test_interval_equals_bootstrap_quantiles(users: int) -> None:
    values, rng = np.random.default_rng(0).random(users), np.random.default_rng(4)
    means = [values[rng.integers(0, users, users)].mean() for _ in range(100)]
    found = interval(values, seed=4, draws=100)
    assert [found.low, found.high] == np.quantile(means, [0.025, 0.975]).tolist()


def test_interval_is_seeded_and_skips_nan() -> None:
    values = np.random.default_rng(0).random(50)
    assert interval(values, seed=3) == interval(values, seed=3)
    assert interval(values, seed=3) != interval(values, seed=4)
    assert interval(np.append(values, np.nan), seed=3) == interval(values, seed=3)
    assert np.isnan(interval(np.array([np.nan]), seed=0).mean)


def test_paired_interval_detects_small_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 500)
    b = a + 0.05 + rng.normal(0, 0.1, 500)
    found = paired(b, a, seed=0)
    assert 0 < found.low < 0.05 < found.high
    assert interval(b, seed=0).low < interval(a, seed=0).high
