"""Checks targets, population metrics and ramps by hand."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import pytest

from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.language.policy import (
    Block,
    Compare,
    Expr,
    Measure,
    Population,
    Portion,
    Ramp,
    Relevance,
    Reward,
    Target,
    Weight,
)
from recpolicy.span import NOWHERE
from tests.rewards.make import boost, compiled, items, reward, rows, slates
from tests.rewards.strategies import item, number, user
from tests.rewards.world import ITEM, USER, dataset

Of: TypeAlias = Literal["coverage", "gini", "largest_share"]

ADS = Portion(NOWHERE, "share", item("is_ad"))
W2 = 1 / math.log2(3)


def target(metric: Measure | Population | str, name: str = "aim", only: Expr | None = None) -> Target:
    return Target(NOWHERE, name, metric, ">=", 0.5, only=only)


PEOPLE = dataset(
    [dict.fromkeys(ITEM) | {"popularity": 0, "is_ad": ad} for ad in (True, False, True)],
    [dict.fromkeys(USER) | {"age": age} for age in (20, 40, None)],
    [[]] * 3,
)
EACH = Rows(np.arange(3), np.zeros(3), Ragged.of([[]] * 3), Ragged.of([[0], [], [1]]))


def test_target_value_exists_only_for_its_users() -> None:
    young = Compare(NOWHERE, "<", user("age"), number(30.0))
    known = Compare(NOWHERE, ">", user("age"), number(0.0))
    rules = (
        Reward(NOWHERE, "ads", Weight(NOWHERE, 0.0, known), ADS),
        boost(item("is_ad"), "down", bury=True),
    )
    targets = (
        target(ADS, "measure"),
        target(ADS, "segment", only=young),
        target("ads", "rule"),
        target("ads", "both", only=young),
        target("down", "bury"),
        target(Relevance(NOWHERE, "hit"), "labels"),
    )
    judge = compiled(PEOPLE, 2, *rules, targets=targets)
    values = judge.target_values(EACH, slates([0, 1], [1, -1], [0, 2]))
    nan = float("nan")
    np.testing.assert_allclose(values["measure"], [0.5, 0, 1])
    np.testing.assert_allclose(values["segment"], [0.5, nan, nan])
    np.testing.assert_allclose(values["rule"], [0.5, 0, nan])  # the rule is about users of a known age
    np.testing.assert_allclose(values["both"], [0.5, nan, nan])
    np.testing.assert_allclose(values["bury"], [1 / (1 + W2), 0.0, 1.0])
    np.testing.assert_allclose(values["labels"], [1, nan, 0])  # the second user took nothing
    ranks = judge.target_marginals(EACH, slates([0, 1], [1, -1], [0, 2]))
    np.testing.assert_allclose(ranks["measure"], [[0.5, 0.0], [0.0, 0.0], [0.5, 0.5]])


def test_blocked_slate_is_worth_zero_to_target() -> None:
    block = Block(NOWHERE, "ads", item("is_ad"))
    judge = compiled(PEOPLE, 2, boost(item("is_ad"), "down", bury=True), blocks=(block,), targets=(target(ADS),))
    assert judge.target_values(EACH, slates([1, 0], [1, -1], [0, 2]))["aim"].tolist() == [0, 0, 0]


CREATORS = items(*({"creator": c} for c in ("ann", "bob", "eve", None)))


def together(of: Of, *shown: list[int], column: str = "creator", data: Dataset = CREATORS) -> float:
    judge = compiled(data, len(shown[0]), targets=(target(Population(NOWHERE, of, item(column))),))
    assert judge.target_values(rows(len(shown)), slates(*shown)) == {}
    return judge.population(rows(len(shown)), slates(*shown))["aim"]


def test_population_metrics() -> None:
    shown = ([0, 1], [0, -1])  # ann has 1 + 1, bob 1 / log2(3), eve nothing
    assert together("coverage", *shown) == pytest.approx(2 / 3)
    assert together("largest_share", *shown) == pytest.approx(2 / (2 + W2))
    pairs = (2 - W2) + 2 + W2  # absolute differences of the three pairs
    assert together("gini", *shown) == pytest.approx(pairs / 3 / (2 * (2 + W2) / 3))
    assert together("gini", [0, -1], [0, -1]) == pytest.approx(1)
    assert together("gini", [0, 1], [1, 2], [2, 0]) == pytest.approx(0)
    assert together("coverage", [3, 0]) == pytest.approx(1 / 3)  # the fourth has no creator


@pytest.mark.parametrize("of", ["coverage", "gini", "largest_share"])
def test_population_metrics_of_empty_slates_are_zero(of: Of) -> None:
    assert together(of, [-1, -1]) == 0
    assert together(of, [3, -1]) == 0


def test_item_splits_exposure_over_its_values() -> None:
    data = items({"genres": ["art", "books"]}, {"genres": ["books"]}, {"genres": []})
    # art 1/2; books 1/2 and 1 / log2(3)
    assert together("largest_share", [0, 1, 2], column="genres", data=data) == pytest.approx((0.5 + W2) / (1 + W2))
    assert together("coverage", [1, 2, -1], column="genres", data=data) == 0.5


def test_ramp_follows_training_progress() -> None:
    up = Reward(NOWHERE, "up", Weight(NOWHERE, Ramp(NOWHERE, 0.0, 3.0, 0.5)), ADS)
    old = Compare(NOWHERE, ">", user("age"), number(30.0))
    down = Weight(NOWHERE, 1.0, None, ((old, Ramp(NOWHERE, 1.0, 0.0, 1.0)),))
    judge = compiled(PEOPLE, 2, up, Reward(NOWHERE, "down", down, ADS))
    assert judge.weights(EACH, 0.0).tolist() == [[0, 1], [0, 1], [0, 1]]
    assert judge.weights(EACH, 0.25).tolist() == [[1.5, 1], [1.5, 0.75], [1.5, 1]]
    assert judge.weights(EACH).tolist() == [[3, 1], [3, 0], [3, 1]]
    hits = compiled(PEOPLE, 2, up, reward(Relevance(NOWHERE, "precision"), "down"))
    assert hits.total(EACH, slates([0, 2], [0, 1], [1, 0]), 0.25).tolist() == [  # 1.5 x share + 1 x precision
        (1.5 * 1 + 1 * 0.5) / 2.5,
        0.5,  # no next items: the share alone
        (1.5 * 0.5 + 1 * 0.5) / 2.5,
    ]
    assert hits.total(EACH, slates([0, 2], [0, 1], [1, 0])).tolist() == [(3 + 0.5) / 4, 0.5, 0.5]
