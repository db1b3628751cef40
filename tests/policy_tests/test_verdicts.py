"""Checks every kind of expectation, met and not met."""

from __future__ import annotations

import pytest

from tests.policy_tests.make import found, verdicts

FRESH = "quota fresh weight 1 = at least 2 where item.age < 90 days"
UNSAFE = "block unsafe = item.age_rating > user.age"


def test_expected_value_tolerance_is_half_a_thousandth() -> None:
    third = "reward cheap weight 1 = share(item.price < 5)"
    slate = "slate [ {price: 1}, {price: 9}, {price: 9} ]"
    expects = [f"expect cheap = {v}" for v in ("0.333", "0.3328", "0.3339", "0.33", "33.3%", "34%")]
    assert [passed for passed, _ in found(third, slate, *expects)] == [True, False, False, False, True, False]


@pytest.mark.parametrize(("stated", "passed"), [(0.5, True), (0.4995, True), (0.5005, True), (0.4994, False)])
def test_tolerance_limit_is_inclusive(stated: float, passed: bool) -> None:
    assert found(FRESH, "slate [ {age: 1 day}, {} ]", f"expect fresh = {stated}") == [(passed, "0.5")]


def test_quota_satisfied_expectation() -> None:
    parts = ["slate two [ {age: 1 day}, {age: 2 days} ]", "slate one [ {age: 1 day}, {age: 2 years} ]"]
    states = ["fresh of two is", "fresh of two is not", "fresh of one is", "fresh of one is not"]
    expects = [f"expect {state} satisfied" for state in states]
    assert found(FRESH, *parts, *expects) == [
        (True, "satisfied"),
        (False, "satisfied"),
        (False, "not satisfied"),
        (True, "not satisfied"),
    ]


def test_blocked_expectation_for_slate_and_block() -> None:
    rules = f"{UNSAFE}\nblock ads = item.is_ad"
    parts = ["user {age: 10}", "slate [ {age_rating: 18, is_ad: false}, {age_rating: 6, is_ad: false} ]"]
    expects = ["slate is", "unsafe is", "ads is", "slate is not", "unsafe is not", "ads is not"]
    seen = verdicts(rules, *parts, *(f"expect {e} blocked" for e in expects))
    assert [(v.passed, v.actual) for v in seen] == [
        (True, "blocked"),
        (True, "blocked"),
        (False, "not blocked"),
        (False, "blocked"),
        (False, "blocked"),
        (True, "not blocked"),
    ]
    assert seen[0].places == (("", (1.0, 0.0)),)


def test_above_expectation_needs_difference_over_tolerance() -> None:
    rules = "boost ads weight 1 = item.is_ad"
    parts = ["slate good [ {is_ad: true}, {is_ad: false} ]", "slate bad [ {is_ad: false}, {is_ad: true} ]"]
    twin = "slate twin [ {is_ad: true}, {is_ad: false} ]"
    order = ["expect good above bad", "expect bad above good", "expect good above twin"]
    assert found(rules, *parts, twin, *order) == [
        (True, "0.6131 and 0.3869"),
        (False, "0.3869 and 0.6131"),
        (False, "0.6131 and 0.6131"),
    ]


def test_each_place_shows_its_value_and_hole_has_none() -> None:
    (seen,) = verdicts(FRESH, "slate [ {age: 1 day}, hole, {age: 2 years}, {age: 9 days} ]", "expect fresh = 0")
    assert seen.places == (("", (0.5, None, 0.0, 0.5)),)
    assert (seen.subject, seen.expected, seen.actual, seen.passed) == ("fresh", "0", "1", False)


def test_blocked_slate_is_worth_zero_with_note() -> None:
    parts = ["user {age: 10}", "slate [ {age: 1 day, age_rating: 0}, {age: 1 day, age_rating: 18} ]"]
    seen = verdicts(f"{FRESH}\n{UNSAFE}", *parts, "expect fresh = 1", "expect fresh is satisfied")
    assert [(v.passed, v.actual) for v in seen] == [(False, "0"), (False, "not satisfied")]
    assert {v.note for v in seen} == {"`unsafe` blocks the item at place 2; a blocked slate is worth nothing"}


def test_item_with_missing_column_is_blocked_with_note() -> None:
    (seen,) = verdicts(UNSAFE, "user {age: 10}", "slate [ {} ]", "expect slate is not blocked")
    assert not seen.passed and "because a column it looks at is missing" in seen.note


WHEN = "when user.premium {\n  boost ads weight 1 = item.is_ad\n  quota few weight 1 = at most 1 where item.is_ad\n}"


@pytest.mark.parametrize("user", ["{premium: false}", "{}"])
def test_rule_outside_its_segment_is_not_applicable(user: str) -> None:
    expects = ["expect ads = 0", "expect ads = 1", "expect few is satisfied", "expect few is not satisfied"]
    seen = verdicts(WHEN, f"user {user}", "slate [ {is_ad: true} ]", *expects)
    assert {(v.passed, v.actual) for v in seen} == {(False, "not applicable")}
    assert seen[0].note == "`ads` stands in a `when` that is not true of this user"


def test_rule_inside_its_segment_is_applied() -> None:
    parts = ["user {premium: true}", "slate [ {is_ad: true} ]", "expect ads = 1", "expect few is satisfied"]
    assert all(passed for passed, _ in found(WHEN, *parts))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("ndcg(next_items)", "give `next_items [...]`"),
        ("calibration(item.genres)", "a history with a known `genres`"),
    ],
)
def test_rule_without_needed_data_is_not_applicable(rule: str, words: str) -> None:
    (seen,) = verdicts(f"reward r weight 1 = {rule}", 'slate [ {genres: ["War"]} ]', "expect r = 0")
    assert seen.actual == "not applicable" and words in seen.note


def test_target_expectation_is_its_metric_value() -> None:
    rules = (
        f"{FRESH}\ntarget ads = share(item.is_ad) <= 20%\ntarget new = fresh >= 97% of baseline\n"
        "when user.premium {\n  target mine = share(item.is_ad) <= 10%\n}"
    )
    parts = ["slate [ {is_ad: true, age: 1 day}, {is_ad: false} ]"]
    expects = ["expect ads = 0.5", "expect ads = 20%", "expect new = 0.5", "expect mine = 0.5"]
    assert found(rules, *parts, *expects) == [(True, "0.5"), (False, "0.5"), (True, "0.5"), (False, "not applicable")]


def test_segment_weight_decides_above_expectation() -> None:
    rules = (
        "boost ads weight 1 = item.is_ad\nboost new weight 2 = item.age < 9 days\n"
        "when user.premium {\n  boost ads weight 9\n}"
    )
    slates = ["slate ad [ {is_ad: true, age: 1 year} ]", "slate novel [ {is_ad: false, age: 1 day} ]"]
    assert found(rules, "user {premium: true}", *slates, "expect ad above novel")[0][0]
    assert found(rules, "user {premium: false}", *slates, "expect novel above ad")[0][0]


def test_limits_and_windows_shrink_to_slate_but_counts_do_not() -> None:
    rules = (
        "boost ads weight 1 = item.is_ad limit 5\n"
        "quota first weight 1 = at most 1 where item.is_ad in top 4\n"
        "quota many weight 1 = at least 4 where item.is_ad\n"
        "quota half weight 1 = at least 50% where item.is_ad\n"
    )
    parts = ["slate [ {is_ad: true}, {is_ad: true}, {is_ad: false} ]"]
    expects = ["ads = 0.765", "first = 0.667", "first is not satisfied", "many = 0.5", "half is satisfied"]
    assert found(rules, *parts, *(f"expect {e}" for e in expects)) == [
        (True, "0.7654"),
        (True, "0.6667"),
        (True, "not satisfied"),
        (True, "0.5"),
        (True, "satisfied"),
    ]
