"""Checks that packed records of a large catalog equal its columns."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.records import SEPARATE, pack
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import Average, Compare, Missing, Novelty, Number, Per, Spread
from recpolicy.span import NOWHERE
from recpolicy.types import Type
from tests.rewards.make import boost, compiled, items, places, quota, reward, rows
from tests.rewards.strategies import item

ITEMS = 40_000


@pytest.fixture(scope="module")
def large() -> CompiledPolicy:
    rng = np.random.default_rng(0)
    data = items(
        *(
            {
                "genres": None if rng.random() < 0.1 else [f"g{g}" for g in rng.permutation(20)[: rng.integers(0, 4)]],
                "creator": None if rng.random() < 0.1 else f"c{rng.integers(0, 300)}",
                "popularity": int(rng.integers(0, 50)),
                "rate": None if rng.random() < 0.1 else float(rng.random()),
            }
            for _ in range(ITEMS)
        )
    )
    rate = item("rate")
    return compiled(
        data,
        5,
        reward(Spread(NOWHERE, "distance", item("genres"), Missing.MEAN), "variety"),
        reward(Spread(NOWHERE, "entropy", item("genres"), Missing.MEAN), "mix"),
        reward(Novelty(NOWHERE, item("popularity")), "surprise"),
        reward(Average(NOWHERE, "mean", rate, Missing.MEAN), "rated"),
        boost(Compare(NOWHERE, ">", rate, Number(NOWHERE, 0.5, Type.RATIO)), "good"),
        quota(Per(NOWHERE, item("creator")), "voices", at_most=places(1)),
    )


def test_records_equal_columns(large: CompiledPolicy) -> None:
    rng = np.random.default_rng(1)
    shown = Slates(rng.integers(0, ITEMS, (300, 5)).astype(np.int32))
    shown.items[rng.random(shown.items.shape) < 0.2] = -1
    shown.items[0] = ITEMS - 1
    apart = replace(large, catalog=replace(large.catalog, records=SEPARATE))
    copy = pickle.loads(pickle.dumps(large))
    assert len(large.catalog.records.arrays) > 4
    assert len(copy.catalog.records.arrays) == len(large.catalog.records.arrays)
    expected = apart.marginals(rows(300), shown)
    for judge in (large, copy):
        for name, found in judge.marginals(rows(300), shown).items():
            np.testing.assert_array_equal(found, expected[name])


def test_pickled_policy_keeps_records(large: CompiledPolicy) -> None:
    copy = pickle.loads(pickle.dumps(large))
    (surprise,) = (rule.measure for rule in copy.rules if rule.name == "surprise")
    assert copy.catalog.records.find(surprise.worth) is not None


def test_array_that_does_not_fit_a_record_stays_separate() -> None:
    small, half, wide = np.zeros(9, np.int8), np.zeros((9, 4)), np.zeros((9, 6))
    records = pack([small, half, wide, small], 10**7)
    assert [records.find(array) for array in (wide, half, small)] == ["f0", None, "f1"]
    assert records.rows.dtype.itemsize == 64
    assert records.rows.ctypes.data % 64 == 0


def test_small_catalog_is_not_packed() -> None:
    assert pack([np.zeros(9), np.zeros(9)], 8) is SEPARATE
