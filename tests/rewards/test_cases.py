"""Checks values worked out by hand."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from recpolicy.dataset.rows import Dataset, Slates
from recpolicy.language.policy import (
    Arithmetic,
    Average,
    Block,
    Call,
    Compare,
    Different,
    IsMissing,
    Missing,
    Not,
    Novelty,
    Per,
    Relevance,
    Reward,
    Rule,
    Spread,
    Weight,
    Where,
)
from recpolicy.span import NOWHERE
from recpolicy.types import Type
from tests.rewards.make import boost, compiled, items, percent, places, quota, reward, rows, slates
from tests.rewards.strategies import item, number, user
from tests.rewards.world import ITEM, USER, dataset, world

FILMS = items(
    {"genres": ["art", "books"], "creator": "ann", "is_ad": True, "price": 0.0},
    {"genres": ["books"], "creator": "ann", "is_ad": False, "price": 1.0},
    {"genres": ["chess"], "creator": "bob", "is_ad": True, "price": 4.0},
    {"genres": [], "creator": "eve", "is_ad": False, "price": 3.0},
    {},
)


def marginals(
    rule: Rule, *slate: int, history: Sequence[int] = (), future: Sequence[int] = (), data: Dataset = FILMS
) -> list[float]:
    found = compiled(data, len(slate), rule).marginals(rows(history=history, future=future), slates(slate))
    values: list[float] = found["rule"][0].tolist()
    return values


def test_intra_list_distance() -> None:
    distance = reward(Spread(NOWHERE, "distance", item("genres")))
    assert marginals(distance, 0, 1, 2) == pytest.approx([0, 0.5 / 3, 2 / 3])
    assert marginals(distance, 0, -1, 1, 2) == pytest.approx([0, 0, 0.5 / 6, 2 / 6])
    assert marginals(distance, 3, 2) == pytest.approx([0, 1])
    assert marginals(distance, 0, 1, data=items({"genres": []}, {"genres": []})) == [0, 0]  # nothing is like nothing
    assert marginals(distance, 3) == [0]
    assert marginals(reward(Spread(NOWHERE, "distance", item("price"))), 0, 1, 2) == pytest.approx(
        [0, 0.25 / 3, 1.75 / 3]
    )
    assert marginals(reward(Spread(NOWHERE, "distance", item("creator"))), 0, 1, 2) == pytest.approx([0, 0, 2 / 3])


def test_ndcg() -> None:
    ndcg = reward(Relevance(NOWHERE, "ndcg"))
    ideal = 1 + 1 / math.log2(3)
    assert marginals(ndcg, 1, 4, 3, 2, future=[3, 1]) == pytest.approx([1 / ideal, 0, 0.5 / ideal, 0])
    assert marginals(ndcg, 1, future=[3, 1]) == [1]  # the ideal of one place holds one item
    assert marginals(ndcg, 1, 3, future=[1, 1]) == [1, 0]  # taken twice is one item
    assert np.isnan(marginals(ndcg, 1, 3)).all()


def test_longest_common_subsequence() -> None:
    lcs = reward(Relevance(NOWHERE, "lcs"))
    assert marginals(lcs, 1, 2, 3, 4, future=[2, 4, 0, 1]) == [0.25, 0, 0, 0.25]
    assert marginals(lcs, 4, 3, 2, future=[2, 3, 4]) == pytest.approx([1 / 3, 0, 0])
    assert marginals(lcs, 4, -1, 2, 3, future=[4, 2]) == [0.5, 0, 0.5, 0]
    assert marginals(lcs, 4, 2, future=[4, 4, 2]) == [0.5, 0.5]


def test_entropy_and_distinct() -> None:
    entropy = reward(Spread(NOWHERE, "entropy", item("creator")))
    assert sum(marginals(entropy, 0, 2, data=FILMS)) == pytest.approx(1)
    assert sum(marginals(entropy, 0, 1, data=FILMS)) == 0
    assert marginals(entropy, 0, 1, 2) == pytest.approx([0, 0, (math.log2(3) - 2 / 3) / math.log2(3)])
    shared = reward(Spread(NOWHERE, "entropy", item("genres")))
    assert sum(marginals(shared, 0)) == pytest.approx(1 / math.log2(2))  # one place, lists of at most two: log 2
    assert marginals(reward(Spread(NOWHERE, "distinct", item("genres"))), 0, 1, 2) == pytest.approx([2 / 3, 0, 1 / 3])


def test_calibration() -> None:
    calibration = reward(Spread(NOWHERE, "calibration", item("genres")))
    assert marginals(calibration, 1, 2, history=[1, 2]) == pytest.approx([0.5 * (1 - 0.3112781), 0.5 + 0.5 * 0.3112781])
    assert sum(marginals(calibration, 1, history=[2])) == pytest.approx(0)
    assert np.isnan(marginals(calibration, 1)).all()
    assert np.isnan(marginals(calibration, 1, history=[3, 4])).all()  # nothing in the history has a value


def test_novelty() -> None:
    taken = dataset(
        [dict.fromkeys(ITEM) | {"popularity": p} for p in (4, 2, 0)],
        [dict.fromkeys(USER)] * 5,
        [[0, 1], [0, 1], [0], [0], []],  # four users took something: p is 1, 1/2 and 0
    )
    assert marginals(reward(Novelty(NOWHERE, item("popularity"))), 0, 1, 2, -1, data=taken) == [0, 0.125, 0.25, 0]


def test_boost_and_bury() -> None:
    w = [1, 1 / math.log2(3), 0.5]
    ads = item("is_ad")
    assert marginals(boost(ads), 0, 1, 2) == pytest.approx([w[0] / sum(w), 0, w[2] / sum(w)])
    assert marginals(boost(ads, limit=1), 1, 0, 2) == pytest.approx([0, w[1], 0])
    assert marginals(boost(ads, limit=9), 0, 1, 2) == marginals(boost(ads), 0, 1, 2)
    assert marginals(boost(ads), 4, 4) == [0, 0]
    assert sum(marginals(boost(ads, bury=True), 4, 2)) == pytest.approx(1)  # what is not known is counted


def test_quotas() -> None:
    ads = Where(NOWHERE, item("is_ad"))
    assert marginals(quota(ads, at_least=places(2)), 0, 1, 2, -1) == [0.5, 0, 0.5, 0]
    assert marginals(quota(ads, at_least=percent(30)), 0, 2, 1, 3) == [0.5, 0.5, 0, 0]  # 1.2 places are 2
    assert marginals(quota(ads, at_most=places(1)), 0, 2, 1, -1) == [0.25, 0, 0.25, 0]
    assert marginals(quota(ads, at_most=percent(30)), 0, 2, 1, 4) == [0.25, 0, 0.25, 0]  # unknown is counted
    assert marginals(quota(ads, at_least=places(1), at_most=places(1)), 0, 2, 1, 3) == [0.625, 0, 0.125, 0.125]
    creators = Per(NOWHERE, item("creator"))
    assert marginals(quota(creators, at_most=places(1)), 0, 1, 2, 4) == [0.25, 0, 0.25, 0.25]
    genres = Per(NOWHERE, item("genres"))
    assert marginals(quota(genres, at_most=places(1)), 0, 1, 3, 2) == [0.25, 0, 0.25, 0.25]
    different = Different(NOWHERE, item("genres"))
    assert marginals(quota(different, at_least=places(3)), 0, 1, 2) == pytest.approx([2 / 3, 0, 1 / 3])
    assert marginals(quota(different, at_most=places(2)), 0, 1, 2, 4) == [0.25, 0.25, 0, 0]


def test_percentage_bound_is_rounded_exactly() -> None:
    ads = Where(NOWHERE, item("is_ad"))
    many = items(*({"is_ad": True} for _ in range(100)))
    at_least = marginals(quota(ads, at_least=percent(7)), *range(100), data=many)
    assert at_least == pytest.approx([1 / 7] * 7 + [0] * 93)  # 0.07 x 100 is a little more than 7
    at_most = marginals(quota(ads, at_most=percent(29)), *range(100), data=many)
    assert at_most == pytest.approx([0.01] * 29 + [0] * 71)  # and 0.29 x 100 a little less than 29


def test_undefined_expression_is_missing() -> None:
    def divided(op: Literal["<", ">"], limit: float) -> Compare:
        ratio = Arithmetic(NOWHERE, "/", number(1.0), item("price"), Type.FLOAT)
        return Compare(NOWHERE, op, ratio, number(limit))

    one = [1 / (1 + 1 / math.log2(3)), 0.0]
    assert marginals(boost(divided(">", 0.5)), 1, 0) == pytest.approx(one)  # the price of item 0 is 0
    assert marginals(boost(Not(NOWHERE, divided(">", 0.5))), 1, 0) == [0, 0]
    logarithm = Compare(NOWHERE, "<", Call(NOWHERE, "log", (item("price"),), Type.FLOAT), number(1.0))
    assert marginals(boost(logarithm), 1, 0) == pytest.approx(one)
    least = Compare(NOWHERE, "<", Call(NOWHERE, "min", (item("price"), number(-1.0)), Type.FLOAT), number(0.0))
    assert marginals(boost(least), 1, 4) == pytest.approx(one)  # one missing operand is enough


def test_distinct_with_unknown_items_is_at_most_1() -> None:
    found = items({"creator": "ann"}, {"creator": "bob"}, {}, {})
    distinct = marginals(reward(Spread(NOWHERE, "distinct", item("creator"))), 0, 1, 2, 3, data=found)
    assert distinct == [0.5, 0.5, 0, 0]
    late = marginals(reward(Spread(NOWHERE, "distinct", item("creator"))), 2, 3, 0, 1, data=found)
    assert late == pytest.approx([0.25, 0.25, 0.5, 0])


def test_satisfied_flag_counts_unknown_against_quota() -> None:
    ads = Where(NOWHERE, item("is_ad"))
    rules = (quota(ads, "low", at_least=places(2)), quota(ads, "high", at_most=places(1)))
    found = compiled(FILMS, 3, *rules).satisfied(rows(3), slates([0, 1, 2], [0, 1, 3], [0, 4, -1]))
    assert found["low"].tolist() == [True, False, False]  # the unknown one is not counted
    assert found["high"].tolist() == [False, True, False]  # and here it is


def test_missing_value_modes() -> None:
    def mean(missing: Missing) -> list[float]:
        priced = items({"price": 0.2}, {"price": 0.6}, {})
        return marginals(reward(Average(NOWHERE, "mean", item("price"), missing)), 1, 2, 0, data=priced)

    assert mean(Missing.MEAN) == pytest.approx([0.2, 0.4 / 3, 0.2 / 3])
    assert mean(Missing.ZERO) == pytest.approx([0.2, 0, 0.2 / 3])
    assert mean(Missing.FAIL) == pytest.approx([0.2, -0.2, 0])  # the item that fails pays for what it loses

    def distance(missing: Missing) -> float:
        return sum(marginals(reward(Spread(NOWHERE, "distance", item("creator"), missing)), 0, 1, 4))

    assert distance(Missing.ZERO) == 0
    assert distance(Missing.MEAN) == pytest.approx(2 / 3 * 5 / 6, abs=0.03)  # 5 of the 6 pairs of creators differ
    assert distance(Missing.FAIL) == 0


def test_blocked_item_zeroes_slate_value() -> None:
    adult = Block(NOWHERE, "adult", Compare(NOWHERE, ">", item("price"), number(3.5)))
    rules = (boost(item("is_ad"), "up"), boost(IsMissing(NOWHERE, item("price")), "down", bury=True))
    policy = compiled(FILMS, 3, *rules, blocks=(adult,))
    shown = slates([0, 1, 3], [0, 2, 1], [0, 1, 4])  # item 2 is blocked, of item 4 it is not known
    assert policy.blocked(rows(3), shown).tolist() == [False, True, True]
    assert policy.legal(rows(1)).tolist() == [[True, True, False, True, False]]
    found = policy.marginals(rows(3), shown)
    assert found["up"][1:].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert found["down"].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert policy.total(rows(3), shown)[1:].tolist() == [-0.5, -0.5]


def test_weights_follow_segment() -> None:
    small = world(0)
    adult = Compare(NOWHERE, ">=", user("age"), number(30, Type.INT))
    member = user("member")
    measure = Relevance(NOWHERE, "hit")
    policy = compiled(
        small.dataset,
        2,
        Reward(NOWHERE, "changed", Weight(NOWHERE, 0.5, None, ((adult, 0.2), (member, 0.9))), measure),
        Reward(NOWHERE, "only", Weight(NOWHERE, 0.5, member), measure),
    )
    weights = policy.weights(small.rows)
    values = policy.values(small.rows, Slates(np.zeros((6, 2), np.int32) + np.array([0, 1], np.int32)))
    for u, record in enumerate(small.users):
        old = record["age"] is not None and record["age"] >= 30
        weight = 0.9 if record["member"] else 0.2 if old else 0.5
        judged = bool(small.future[u])  # without next items relevance says nothing
        assert weights[u].tolist() == [weight * judged, 0.5 * (judged and record["member"] is True)]
        assert np.isnan(values["only"][u]) != (judged and record["member"] is True)
    assert {r["member"] for r in small.users} == {True, False, None}  # all three kinds of user were met


def test_abstentions_are_counted() -> None:
    rules = (
        boost(item("is_ad"), "ads"),
        reward(Spread(NOWHERE, "distance", item("genres")), "variety"),
        quota(Per(NOWHERE, item("creator")), "voices", at_most=places(1)),
        reward(Relevance(NOWHERE, "hit"), "relevance"),
    )
    found = compiled(FILMS, 3, *rules).abstained(rows(2), slates([0, 4, -1], [0, 1, 3]))
    assert {name: counts.tolist() for name, counts in found.items()} == {
        "ads": [1, 0],
        "variety": [1, 0],
        "voices": [1, 0],
        "relevance": [0, 0],
    }


def test_compiled_policy_survives_pickling() -> None:
    small = world(2)
    rules = (
        reward(Spread(NOWHERE, "calibration", item("genres")), "calibration"),
        reward(Spread(NOWHERE, "distance", item("genres")), "distance"),
        boost(Compare(NOWHERE, "is", item("language"), user("language")), "spoken"),
        quota(Per(NOWHERE, item("creator")), "voices", at_most=places(1)),
    )
    policy = compiled(small.dataset, 4, *rules)
    copy = pickle.loads(pickle.dumps(policy))
    shown = Slates(np.tile(np.arange(4, dtype=np.int32), (6, 1)))
    for name, expected in policy.marginals(small.rows, shown).items():
        np.testing.assert_array_equal(copy.marginals(small.rows, shown)[name], expected)
    again = compiled(small.dataset, 4, *rules)
    assert pickle.dumps(again) == pickle.dumps(policy)


def test_slates_of_wrong_shape_are_refused() -> None:
    policy = compiled(FILMS, 3, boost(item("is_ad")))
    with pytest.raises(ValueError, match=r"\(1, 3\), not \(1, 2\)"):
        policy.values(rows(1), slates([0, 1]))
    with pytest.raises(ValueError, match=r"\(2, 3\), not \(1, 3\)"):
        policy.values(rows(2), slates([0, 1, 2]))


def test_empty_batch_is_accepted() -> None:
    policy = compiled(FILMS, 2, boost(item("is_ad")), reward(Relevance(NOWHERE, "ndcg"), "relevance"))
    nothing = Slates(np.zeros((0, 2), np.int32))
    assert policy.total(rows(0), nothing).shape == (0,)
    assert policy.weights(rows(0)).shape == (0, 2)
    assert policy.legal(rows(0)).shape == (0, 5)
