"""Checks `on missing mean`: an item without a value is worth the catalog's average."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from recpolicy.compiler.spread import random_slates
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.language.policy import Spread
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, items, reward, rows
from tests.rewards.strategies import item

RNG = np.random.default_rng(3)
RECORDS = [{"genres": RNG.choice(list("abcdefgh"), RNG.integers(1, 4), replace=False).tolist()} for _ in range(60)]
CATALOG = items(*RECORDS, *({} for _ in range(5)))


@pytest.mark.parametrize("measure", ["distance", "distinct", "entropy"])
def test_unknown_items_are_worth_a_random_slate(measure: Literal["distance", "distinct", "entropy"]) -> None:
    policy = compiled(CATALOG, 5, reward(Spread(NOWHERE, measure, item("genres"))))
    known = Slates(np.array([RNG.permutation(60)[:5] for _ in range(4000)], np.int32))
    unknown = Slates(np.arange(60, 65, dtype=np.int32)[None])
    usual = policy.values(rows(4000), known)["rule"].mean()
    assert policy.values(rows(), unknown)["rule"][0] == pytest.approx(usual, abs=0.01)


def test_unknown_item_has_catalog_mix_for_calibration() -> None:
    policy = compiled(CATALOG, 5, reward(Spread(NOWHERE, "calibration", item("genres"))))
    everything = Rows(np.zeros(1, np.int64), np.zeros(1), Ragged.of([list(range(60))]), Ragged.of([[]]))
    assert policy.values(everything, Slates(np.arange(60, 65, dtype=np.int32)[None]))["rule"][0] == pytest.approx(1)


def test_random_slates_are_uniform_without_repeats() -> None:
    drawn = random_slates(8, 3)
    assert (np.diff(np.sort(drawn, 1), axis=1) > 0).all()
    assert np.bincount(drawn.ravel(), minlength=8) == pytest.approx(np.full(8, 1024 * 3 / 8), rel=0.15)
    assert np.sort(random_slates(3, 3), 1).tolist() == [[0, 1, 2]] * 1024
    np.testing.assert_array_equal(random_slates(50, 5), random_slates(50, 5))
