"""Checks values against independent libraries on the same slates."""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon, pdist
from scipy.stats import entropy

from recpolicy.dataset.columns import Codes, Floats, Ragged
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation.metrics import Accuracy, accuracy, measures
from recpolicy.language.policy import Spread
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, items, reward
from tests.rewards.strategies import item
from tests.rewards.world import GENRES

K = 10
RNG = np.random.default_rng(5)
LISTS = [sorted(RNG.choice(GENRES, RNG.integers(1, 4), replace=False).tolist()) for _ in range(40)]
CATALOG = items(*({"genres": genres, "price": float(i % 7), "creator": f"c{i % 9}"} for i, genres in enumerate(LISTS)))
SLATES = Slates(np.array([RNG.permutation(40)[:K] for _ in range(30)], np.int32))
FUTURE = [RNG.permutation(40)[: RNG.integers(1, 15)].tolist() for _ in range(30)]
HISTORY = [RNG.permutation(40)[: RNG.integers(1, 15)].tolist() for _ in range(30)]
ROWS = Rows(np.zeros(30, np.int64), np.zeros(30), Ragged.of(HISTORY), Ragged.of(FUTURE))
HOT = np.array([[g in genres for g in GENRES] for genres in LISTS])  # [items, genres]


def spread(measure: Literal["distance", "distinct", "entropy", "calibration"], column: str) -> Floats:
    rule = reward(Spread(NOWHERE, measure, item(column)))
    return compiled(CATALOG, K, rule).values(ROWS, SLATES)["rule"]


def mass(rows: list[int] | Codes) -> Floats:
    found: Floats = (HOT[rows] / HOT[rows].sum(1, keepdims=True)).mean(0)
    return found


def test_accuracy_equals_ranx(monkeypatch: pytest.MonkeyPatch) -> None:
    if "numba" not in sys.modules:
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling takes far longer than these few slates
    from ranx import Qrels, Run, evaluate

    wanted = Qrels({f"u{u:02}": {f"i{i}": 1 for i in future} for u, future in enumerate(FUTURE)})
    shown = Run(
        {f"u{u:02}": {f"i{i}": float(K - r) for r, i in enumerate(slate)} for u, slate in enumerate(SLATES.items)}
    )
    names: dict[Accuracy, str] = {
        "ndcg": "ndcg@10",
        "hit": "hit_rate@10",
        "recall": "recall@10",
        "precision": "precision@10",
        "mrr": "mrr@10",
    }
    theirs = evaluate(wanted, shown, list(names.values()), return_mean=False)
    ours = measures(CATALOG, K).values(ROWS, SLATES)
    for metric, name in names.items():
        np.testing.assert_allclose(ours[metric], theirs[name], atol=1e-12)
        np.testing.assert_allclose(accuracy(metric, ROWS, SLATES), theirs[name], atol=1e-12)


def test_distance_equals_scipy() -> None:
    prices = np.arange(40) % 7
    creators = np.arange(40) % 9
    for slate, lists, measured, single in zip(
        SLATES.items,
        spread("distance", "genres"),
        spread("distance", "price"),
        spread("distance", "creator"),
        strict=True,
    ):
        assert lists == pytest.approx(pdist(HOT[slate], "jaccard").mean(), abs=1e-12)
        assert measured == pytest.approx(pdist(prices[slate, None] / 6, "cityblock").mean(), abs=1e-12)
        assert single == pytest.approx(pdist(creators[slate, None], "hamming").mean(), abs=1e-12)


@pytest.mark.parametrize("words", [64, 65, 2000])
def test_list_distance_equals_scipy_for_any_vocabulary_size(words: int) -> None:
    rng = np.random.default_rng(words)
    hot = np.zeros((50, words), np.bool_)
    for row in hot:
        row[rng.choice(rng.choice(words, 8, replace=False), rng.integers(1, 4), replace=False)] = True
    hot[:25, 0] = hot[25:, words - 1] = True  # something in common, at both ends
    hot[0] = False
    everything = np.concatenate([hot, np.eye(words, dtype=np.bool_)])
    data = items(*({"genres": [f"w{i:04}" for i in np.flatnonzero(row)]} for row in everything))
    policy = compiled(data, K, reward(Spread(NOWHERE, "distance", item("genres"))))
    shown = Slates(np.array([rng.permutation(50)[:K] for _ in range(30)], np.int32))
    for slate, value in zip(shown.items, policy.values(ROWS, shown)["rule"], strict=True):
        assert value == pytest.approx(pdist(hot[slate], "jaccard").mean(), abs=1e-12)


def test_entropy_equals_scipy() -> None:
    for slate, genres, creators in zip(
        SLATES.items, spread("entropy", "genres"), spread("entropy", "creator"), strict=True
    ):
        assert genres == pytest.approx(entropy(mass(slate), base=2) / np.log2(5), abs=1e-12)
        counts = np.bincount(slate % 9)
        assert creators == pytest.approx(entropy(counts, base=2) / np.log2(9), abs=1e-12)


def test_calibration_equals_scipy() -> None:
    for slate, history, value in zip(SLATES.items, HISTORY, spread("calibration", "genres"), strict=True):
        assert value == pytest.approx(1 - jensenshannon(mass(history), mass(slate), base=2) ** 2, abs=1e-12)


def test_ild_and_calibration_metrics_equal_rules() -> None:
    found = measures(CATALOG, K).values(ROWS, SLATES)
    np.testing.assert_array_equal(found["ild"], spread("distance", "genres"))
    np.testing.assert_array_equal(found["calibration"], spread("calibration", "genres"))
