"""Checks quotas in windows and excess places by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.language.checker.statements import quotas as checked
from recpolicy.language.policy import Bound, Different, Per, Quota, Where
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, in_a_row, items, percent, places, quota, rows, slates, top
from tests.rewards.strategies import item
from tests.rewards.world import Record

ADS = Where(NOWHERE, item("is_ad"))
SHOP = items(*({"is_ad": i < 4, "creator": "aaaabbcc"[i]} for i in range(8)))  # 0 to 3 are ads
AD, PLAIN = (0, 1, 2, 3), (4, 5, 6, 7)


def marginals(rule: Quota, *slate: int) -> list[float]:
    found: list[float] = compiled(SHOP, len(slate), rule).marginals(rows(), slates(slate))["rule"][0].tolist()
    return found


def of_lists(rule: Quota, *lists: str | None) -> list[float]:
    """Of a slate of items with these genres, a letter each; None is missing."""
    records: list[Record] = [{"genres": None if found is None else list(found)} for found in lists]
    judge = compiled(items(*records), len(lists), rule)
    found: list[float] = judge.marginals(rows(), slates(range(len(lists))))["rule"][0].tolist()
    return found


def satisfied(rule: Quota, *slate: int) -> bool:
    return bool(compiled(SHOP, len(slate), rule).satisfied(rows(), slates(slate))["rule"][0])


def test_top_window_counts_first_places() -> None:
    least = quota(ADS, at_least=places(2), window=top(3))
    assert marginals(least, AD[0], PLAIN[0], AD[1], AD[2], PLAIN[1]) == [0.5, 0, 0.5, 0, 0]
    assert marginals(least, PLAIN[0], PLAIN[1], PLAIN[2], AD[0], AD[1]) == [0, 0, 0, 0, 0]
    most = quota(ADS, at_most=places(1), window=top(3))
    assert marginals(most, AD[0], AD[1], PLAIN[0], AD[2], AD[3]) == pytest.approx([1 / 3, 0, 1 / 3, 0, 0])
    assert not satisfied(most, AD[0], AD[1], PLAIN[0], AD[2], AD[3])
    assert satisfied(most, AD[0], PLAIN[1], PLAIN[0], AD[2], AD[3])
    both = quota(ADS, at_least=places(1), at_most=places(1), window=top(2))
    assert marginals(both, AD[0], AD[1], PLAIN[0]) == [0.75, 0, 0]  # (1 + 1/2) / 2; the second ad is in excess


def test_percentage_is_of_window() -> None:
    least = quota(ADS, at_least=percent(34), window=top(3))  # 1.02 of 3 places are 2
    assert marginals(least, AD[0], PLAIN[0], AD[1], AD[2], PLAIN[1]) == [0.5, 0, 0.5, 0, 0]
    most = quota(ADS, at_most=percent(50), window=in_a_row(3))  # 1.5 are 1
    assert marginals(most, AD[0], PLAIN[0], AD[1], AD[2]) == [0.25, 0.25, 0, 0.25]


def test_at_most_in_a_row() -> None:
    most = quota(ADS, at_most=places(1), window=in_a_row(2))
    # The second ad is in excess of the first; the third is not: the second does not count.
    assert marginals(most, AD[0], AD[1], AD[2], PLAIN[0]) == [0.25, 0, 0.25, 0.25]
    assert marginals(most, AD[0], -1, AD[1], AD[2]) == [0.25, 0, 0.25, 0]  # a hole is a place
    assert satisfied(most, AD[0], PLAIN[0], AD[1], PLAIN[1])
    assert not satisfied(most, PLAIN[0], AD[0], AD[1], PLAIN[1])
    wide = quota(ADS, at_most=places(2), window=in_a_row(4))
    assert marginals(wide, *AD, *PLAIN) == [1 / 8, 1 / 8, 0, 0, *[1 / 8] * 4]


def test_at_least_in_a_row() -> None:
    least = quota(ADS, at_least=places(1), window=in_a_row(2))  # of 4 places, 3 windows
    assert marginals(least, PLAIN[0], AD[0], PLAIN[1], PLAIN[2]) == pytest.approx([0, 2 / 3, 0, 0])
    assert marginals(least, PLAIN[0], AD[0], PLAIN[1], AD[1]) == pytest.approx([0, 2 / 3, 0, 1 / 3])
    assert marginals(least, AD[0], AD[1], PLAIN[0], PLAIN[1]) == pytest.approx([1 / 3, 1 / 3, 0, 0])
    assert satisfied(least, PLAIN[0], AD[0], PLAIN[1], AD[1])
    assert not satisfied(least, PLAIN[0], AD[0], PLAIN[1], PLAIN[2])
    two = quota(ADS, at_least=places(2), window=in_a_row(3))  # 2 windows, each ad in both is worth 1/2
    assert marginals(two, AD[0], AD[1], AD[2], PLAIN[0]) == [0.25, 0.5, 0.25, 0]


def test_distinct_values_in_a_row() -> None:
    least = quota(Different(NOWHERE, item("creator")), at_least=places(2), window=in_a_row(2))
    # a a b a: the windows hold 1, 2 and 2 creators. The last a is new to the last window only.
    assert marginals(least, 0, 1, 4, 2) == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 6])
    most = quota(Different(NOWHERE, item("creator")), at_most=places(1), window=in_a_row(2))
    # a b c c: b is in excess of a; the first c stands beside b, which does not count, the second beside itself.
    assert marginals(most, 0, 4, 6, 7) == [0.25, 0, 0.25, 0.25]


def test_per_value_quota_in_windows() -> None:
    creators = Per(NOWHERE, item("creator"))
    assert marginals(quota(creators, at_most=places(1), window=in_a_row(2)), 0, 1, 2, 4) == [0.25, 0, 0.25, 0.25]
    assert marginals(quota(creators, at_most=places(1), window=in_a_row(3)), 0, 4, 1, 2) == [0.25, 0.25, 0, 0.25]
    assert marginals(quota(creators, at_most=places(1), window=top(2)), 0, 1, 2, 3) == [0.5, 0, 0, 0]


def test_excess_items_are_not_counted() -> None:
    genres = item("genres")
    per = quota(Per(NOWHERE, genres), at_most=places(1))
    # The second is in excess for its a, so that its b does not stand against the third.
    assert of_lists(per, "a", "ab", "b") == pytest.approx([1 / 3, 0, 1 / 3])
    assert of_lists(per, "ab", "a", "b") == pytest.approx([1 / 3, 0, 0])
    assert of_lists(per, None, None, "") == pytest.approx([1 / 3, 0, 1 / 3])  # unknown is one value
    different = quota(Different(NOWHERE, genres), at_most=places(2))
    assert of_lists(different, "a", "bc", "b") == pytest.approx([1 / 3, 0, 1 / 3])
    assert of_lists(different, None, "a", "b", "a") == [0.25, 0.25, 0, 0.25]  # unknown is a value of its own


def test_window_longer_than_slate_is_the_slate() -> None:
    for window in (top(9), in_a_row(9)):
        most = quota(ADS, at_most=places(1), window=window)
        assert marginals(most, AD[0], AD[1], PLAIN[0], PLAIN[1]) == [0.25, 0, 0.25, 0.25]
        assert marginals(quota(ADS, at_least=percent(50), window=window), AD[0], AD[1]) == [1, 0]


def test_checker_and_compiler_round_percentages_alike() -> None:
    for tenths in range(0, 1001):
        bound = Bound(NOWHERE, tenths / 10 / 100, True)  # as the checker makes it of what is written
        for k in range(1, 101):
            exact = Fraction(tenths, 1000) * k
            assert checked.places(bound, k, at_least=True) == math.ceil(exact)
            assert checked.places(bound, k, at_least=False) == math.floor(exact)
    for percentage in range(0, 101):
        for k in (1, 2, 3, 7, 10, 29, 30, 50, 64, 97, 99, 100):
            bound = percent(percentage)
            measure = compiled(SHOP, k, quota(ADS, at_least=bound, at_most=bound)).rules[0].measure
            assert isinstance(measure, CompiledQuota)
            assert measure.at_least == checked.places(bound, k, at_least=True)
            assert measure.at_most == checked.places(bound, k, at_least=False)
