"""Checks percentiles, history functions and serendipity by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import pytest

from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.language.policy import (
    Arithmetic,
    Average,
    Boost,
    Compare,
    Expr,
    Missing,
    Now,
    OfHistory,
    Percentile,
    Reward,
    Serendipity,
    Truth,
    Weight,
)
from recpolicy.span import NOWHERE
from recpolicy.types import DAY, Type
from tests.rewards.make import compiled, items, reward, rows, slates
from tests.rewards.strategies import item, number, user
from tests.rewards.world import ITEM, USER, dataset

FILMS = items(
    {"genres": ["art", "books"], "is_ad": True, "price": 0.0, "language": "en", "published": 2 * DAY},
    {"genres": ["books"], "is_ad": False, "price": 1.0, "language": "es"},
    {"genres": ["chess"], "is_ad": True, "price": 4.0, "language": "en"},
    {"genres": [], "is_ad": False, "price": 3.0},
    {},
)


Function: TypeAlias = Literal["count", "share", "mean"]


def mean(operand: Expr, *slate: int, missing: Missing = Missing.MEAN, data: Dataset = FILMS) -> list[float]:
    rule = reward(Average(NOWHERE, "mean", operand, missing))
    found: list[float] = compiled(data, len(slate), rule).marginals(rows(), slates(slate))["rule"][0].tolist()
    return found


def test_percentile_of_items() -> None:
    price = Percentile(NOWHERE, item("price"), "item")
    assert mean(price, 0, 1, 3, 2) == pytest.approx([v / 4 for v in (0.125, 0.375, 0.625, 0.875)])  # 0, 1, 3, 4
    assert mean(price, 4, 0) == pytest.approx([0.25, 0.0625])  # a percentile is 1/2 on average
    assert mean(price, 4, 0, missing=Missing.ZERO) == pytest.approx([0, 0.0625])
    tied = items({"price": 1.0}, {"price": 1.0}, {"price": 2.0})
    assert mean(price, 0, 1, 2, data=tied) == pytest.approx([1 / 9, 1 / 9, 5 / 18])  # (0 + 2/2) / 3 and (2 + 1/2) / 3


def test_percentile_of_users() -> None:
    people = [dict.fromkeys(USER) | {"age": age} for age in (10, 20, 20, None)]
    data = dataset([dict.fromkeys(ITEM) | {"popularity": 0}], people, [[]] * 4)
    age = Percentile(NOWHERE, user("age"), "user")  # 1/6, 2/3, 2/3, missing
    older = Compare(NOWHERE, ">", age, number(0.5))
    rule = Boost(NOWHERE, "rule", Weight(NOWHERE, 1.0, None, ((older, 5.0),)), Truth(NOWHERE, True), None, False)
    who = Rows(np.array([3, 2, 0]), np.zeros(3), Ragged.of([[]] * 3), Ragged.of([[]] * 3))
    assert compiled(data, 1, rule).weights(who)[:, 0].tolist() == [1, 5, 1]
    share = compiled(data, 1, reward(Average(NOWHERE, "mean", age, Missing.ZERO)))
    assert share.values(who, slates([0], [0], [0]))["rule"] == pytest.approx([0, 2 / 3, 1 / 6])


def of_history(function: Function, operand: Expr, history: Sequence[int], *, at: float = 0.0) -> float:
    """A number about the history, read off a reward that is a tenth of it; 0 where it is missing."""
    about = OfHistory(NOWHERE, function, operand, Type.FLOAT)
    tenth = Arithmetic(NOWHERE, "/", about, number(10.0), Type.FLOAT)
    judge = compiled(FILMS, 1, reward(Average(NOWHERE, "mean", tenth, Missing.ZERO)))
    row = Rows(np.zeros(1, np.int64), np.full(1, at), Ragged.of([history]), Ragged.of([[]]))
    return float(judge.values(row, slates([0]))["rule"][0] * 10)


def test_history_functions() -> None:
    taken = [0, 0, 1, 4]  # an ad, again, no ad, and one of which it is not known
    assert of_history("count", item("is_ad"), taken) == pytest.approx(2)
    assert of_history("share", item("is_ad"), taken) == pytest.approx(2 / 4)
    assert of_history("count", Truth(NOWHERE, True), taken) == pytest.approx(4)
    assert of_history("mean", item("price"), taken) == pytest.approx((0 + 0 + 1) / 3)
    assert of_history("mean", Percentile(NOWHERE, item("price"), "item"), [2, 3]) == pytest.approx((0.875 + 0.625) / 2)
    assert of_history("count", Truth(NOWHERE, True), []) == 0
    age = Arithmetic(NOWHERE, "-", Now(NOWHERE), item("published"), Type.DURATION)
    assert of_history("mean", Arithmetic(NOWHERE, "/", age, number(DAY), Type.FLOAT), [0, 1], at=5 * DAY) == 3


def test_history_without_value_is_missing() -> None:
    def is_known(function: Function, history: Sequence[int]) -> bool:
        about = OfHistory(NOWHERE, function, item("price" if function == "mean" else "is_ad"), Type.FLOAT)
        weight = Weight(NOWHERE, 0.0, None, ((Compare(NOWHERE, ">=", about, number(0.0)), 1.0),))
        rule = Reward(NOWHERE, "rule", weight, Average(NOWHERE, "mean", number(1.0)))
        return bool(compiled(FILMS, 1, rule).weights(rows(history=history))[0, 0])

    assert is_known("count", []) and not is_known("share", []) and not is_known("mean", [])
    assert is_known("share", [4]) and not is_known("mean", [4])


def serendipity(
    *slate: int, history: Sequence[int], future: Sequence[int], missing: Missing = Missing.MEAN
) -> list[float]:
    judge = compiled(FILMS, len(slate), reward(Serendipity(NOWHERE, item("genres"), missing)))
    found: list[float] = judge.marginals(rows(history=history, future=future), slates(slate))["rule"][0].tolist()
    return found


def test_serendipity() -> None:
    # Item 0 is half like item 1, item 2 not at all; two next items, so each is worth its distance over 2.
    assert serendipity(0, 3, 2, history=[1], future=[2, 0]) == [0.25, 0, 0.5]
    assert serendipity(0, 3, 2, history=[1, 3], future=[2, 0]) == [0.375, 0, 0.5]  # (1/2 + 1) / 2 away
    assert serendipity(0, 3, 2, history=[1, 4], future=[2, 0, 0]) == [0.25, 0, 0.5]  # what is unknown is left out
    assert serendipity(2, history=[1], future=[2, 0]) == [1]  # one place holds one of them
    assert serendipity(1, 3, history=[1], future=[1]) == [0, 0]
    for history, future in (([1], []), ([], [2]), ([4], [2])):
        assert np.isnan(serendipity(2, history=history, future=future)).all()


def test_serendipity_of_item_without_value() -> None:
    typical = 5 / 6 - 0.5 / 6  # over pairs of 0 to 3: 1/2 once, 1 five times
    assert serendipity(4, 0, history=[1], future=[4, 0]) == pytest.approx([(typical + 1 / 6) / 2, 0.25], abs=0.02)
    assert serendipity(4, 0, history=[1], future=[4, 0], missing=Missing.ZERO) == [0, 0.25]
    assert serendipity(0, 4, 2, history=[1], future=[0, 2], missing=Missing.FAIL) == [0.25, -0.25, 0]
