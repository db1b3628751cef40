"""Checks which outcomes of each rule the tests of a policy cover."""

from __future__ import annotations

import pytest

from tests.policy_tests.make import run


def seen(rules: str, *tests: str) -> dict[str, tuple[bool, bool]]:
    text = "\n".join(f'test "{n}" {{ {parts} }}' for n, parts in enumerate(tests))
    return {c.name: (c.yes, c.no) for c in run(f"{rules}\n{text}\n").coverage}


SLATE = "expect base = 0 next_items [ {price: 3} ]"
"""Any expectation."""


@pytest.mark.parametrize(
    ("rule", "yes", "no"),
    [
        ("boost r weight 1 = item.is_ad", "{is_ad: true}", "{is_ad: false}"),
        ("bury r weight 1 = item.is_ad", "{is_ad: true}", "{is_ad: false}"),
        ("reward r weight 1 = share(item.is_ad)", "{is_ad: true}", "{is_ad: false}"),
        ("reward r weight 1 = exposure(item.is_ad)", "{is_ad: true}", "{is_ad: false}"),
        ("block r = item.is_ad", "{is_ad: true}", "{is_ad: false}"),
        ("quota r weight 1 = at least 1 where item.is_ad", "{is_ad: true}", "{is_ad: false}"),
        ("quota r weight 1 = at most 20% where item.is_ad", "{is_ad: false}", "{is_ad: true}"),
        ("reward r weight 1 = mean(min(1, max(0, item.price)))", "{price: 1}", "{price: 0}"),
    ],
)
def test_each_outcome_is_covered_separately(rule: str, yes: str, no: str) -> None:
    assert seen(rule, f"slate [ {yes} ] {SLATE}")["r"] == (True, False)
    assert seen(rule, f"slate [ {no} ] {SLATE}")["r"] == (False, True)
    assert seen(rule, f"slate [ {no} ] {SLATE}", f"slate [ {yes} ] {SLATE}")["r"] == (True, True)


def test_unknown_condition_counts_by_rule_kind() -> None:
    for kind, outcome in (("boost", (False, True)), ("bury", (True, False))):
        assert seen(f"{kind} r weight 1 = item.is_ad", f"slate [ {{}} ] {SLATE}")["r"] == outcome
    assert seen("block r = item.is_ad", f"slate [ {{}} ] {SLATE}")["r"] == (True, False)


def test_item_past_limit_counts_as_match() -> None:
    slate = "slate [ {is_ad: true}, {is_ad: true} ]"
    assert seen("boost r weight 1 = item.is_ad limit 1", f"{slate} {SLATE}")["r"] == (True, False)


def test_hole_covers_no_outcome() -> None:
    assert seen("boost r weight 1 = item.is_ad", f"slate [ hole ] {SLATE}")["r"] == (False, False)


def test_every_slate_of_every_case_counts() -> None:
    case = 'case "other" { slate [ {is_ad: false} ] expect base = 0 }'
    assert seen("boost r weight 1 = item.is_ad", f"slate [ {{is_ad: true}} ] {SLATE} {case}")["r"] == (True, True)


def test_when_outcomes_are_covered_inside_and_outside() -> None:
    rules = (
        "boost all weight 1 = item.is_ad\n"
        "when user.age  <  30 {\n  boost all weight 2\n  boost young weight 1 = item.is_ad\n  block ads = item.is_ad\n}"
    )
    inside, outside = (f"user {{age: {age}}} slate [ {{is_ad: true}} ] {SLATE}" for age in (20, 40))
    assert seen(rules, inside) == {
        "base": (False, True),
        "all": (True, False),
        "young": (True, False),
        "ads": (True, False),
        "when user.age < 30": (True, False),
    }
    only_outside = seen(rules, outside)
    assert only_outside["young"] == only_outside["ads"] == (False, False)
    assert only_outside["when user.age < 30"] == (False, True)


def test_blocked_slate_still_covers_rules() -> None:
    rules = "quota r weight 1 = at least 1 where item.is_ad\nblock dear = item.price > 9"
    assert seen(rules, f"slate [ {{is_ad: true, price: 10}} ] {SLATE}")["r"] == (True, False)


def test_covered_outcomes_are_counted() -> None:
    report = run(f'boost r weight 1 = item.is_ad\ntest "t" {{ slate [ {{is_ad: true}}, {{is_ad: false}} ] {SLATE} }}')
    assert report.covered == (3, 4)
