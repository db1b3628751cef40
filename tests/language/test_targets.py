"""Checks targets and dated rules."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import PolicyError
from recpolicy.language import checker, parser
from recpolicy.language import policy as typed
from recpolicy.span import NOWHERE as AT
from recpolicy.span import Source
from recpolicy.types import Type

SHOP = schema.load(Path(__file__).parent / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
RULES = "reward relevance weight 1 = ndcg(next_items)\nquota ads weight 0 = at most 2 where item.is_ad\n"
IS_AD = typed.Column(AT, "item", "is_ad", Type.BOOL)
CREATOR = typed.Column(AT, "item", "creator", Type.CATEGORY)
PREMIUM = typed.Column(AT, "user", "premium", Type.BOOL)
DAY = datetime.date(2026, 3, 15)


def check(text: str, as_of: datetime.date | None = None) -> typed.Policy:
    return checker.check(parser.parse(Source("example.policy", f"{HEADER}{RULES}{text}\n")), SHOP, as_of=as_of)


def codes(text: str, as_of: datetime.date | None = None) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        check(text, as_of)
    return [f.code for f in caught.value.findings]


# ---- targets


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("share(item.is_ad) <= 20%", typed.Target(AT, "t", typed.Portion(AT, "share", IS_AD), "<=", 0.2)),
        ("share(item.is_ad) <= 0.2", typed.Target(AT, "t", typed.Portion(AT, "share", IS_AD), "<=", 0.2)),
        ("relevance >= 97% of baseline", typed.Target(AT, "t", "relevance", ">=", 0.97, of_baseline=True)),
        ("relevance <= 150% of baseline", typed.Target(AT, "t", "relevance", "<=", 1.5, of_baseline=True)),
        ("ads >= 0.9", typed.Target(AT, "t", "ads", ">=", 0.9)),
        ("recall(next_items) >= 10%", typed.Target(AT, "t", typed.Relevance(AT, "recall"), ">=", 0.1)),
        ("coverage(item.creator) >= 20%", typed.Target(AT, "t", typed.Population(AT, "coverage", CREATOR), ">=", 0.2)),
        ("gini(item.creator) <= 60%", typed.Target(AT, "t", typed.Population(AT, "gini", CREATOR), "<=", 0.6)),
    ],
)
def test_target_text_has_typed_meaning(text: str, meaning: typed.Target) -> None:
    assert check(f"target t = {text}").targets == (meaning,)


def test_target_inside_when_applies_to_its_users() -> None:
    policy = check("when user.premium {\n  target t = relevance >= 20%\n}")
    assert policy.targets == (typed.Target(AT, "t", "relevance", ">=", 0.2, only=PREMIUM),)


def test_population_metric_accepts_ids_and_lists() -> None:
    policy = check("target a = coverage(item.id) >= 1%\ntarget b = largest_share(item.genres) <= 30%")
    assert [t.name for t in policy.targets] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("target t = relevence >= 20%", "E0224"),
        ("target t = later >= 20%\nboost later weight 1 = item.is_ad", "E0224"),
        ("let x = item.is_ad\ntarget t = x >= 20%", "E0513"),
        ("target s = relevance >= 20%\ntarget t = s >= 20%", "E0513"),
        ("target t = ndcg >= 20%", "E0513"),
        ("target t = relevance >= 2", "E0514"),
        ('target t = relevance >= "20%"', "E0514"),
        ("target t = relevance >= 1001% of baseline", "E0515"),
        ("target t = relevance >= 1 of baseline", "E0515"),
        ("target t = relevance > 20%", "E0516"),
        ("target t = 20% >= relevance", "E0517"),
        ("target t = relevance >= 0%", "E0413"),
        ("target t = relevance <= 100%", "E0413"),
        ("when user.premium {\n  target t = gini(item.creator) <= 20%\n}", "E0519"),
        ("target t = gini(item.price) <= 20%", "E0403"),
        ("target t = gini(item.creator, item.id) <= 20%", "E0311"),
        ("reward t weight 1 = gini(item.creator)", "E0432"),
        ("boost t weight 1 = gini(item.creator) > 3", "E0316"),
        ("target t = mean(item.price) >= 20%", "E0405"),
        ("target t = relevance + 1 >= 20%", "E0209"),
        ("target relevance = share(item.is_ad) <= 20%", "E0213"),
    ],
)
def test_invalid_target_is_refused(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_target_sign_fix_is_accepted() -> None:
    text = "target t = share(item.price > 3) > 20%"
    with pytest.raises(PolicyError) as caught:
        check(text)
    (finding,) = caught.value.findings
    line = (HEADER + RULES + text).splitlines()[finding.span.line - 1]
    mended = line[: finding.span.column - 1] + str(finding.fix) + line[finding.span.column :]
    assert check(mended).targets[0].op == ">="


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("relevance >= 0.8", "relevance <= 0.7"),
        ("relevance <= 0.7", "relevance >= 0.8"),
        ("share(item.is_ad) <= 10%", "share(item.is_ad) >= 20%"),
        ("relevance >= 97% of baseline", "relevance <= 90% of baseline"),
    ],
)
def test_contradicting_targets_are_refused(first: str, second: str) -> None:
    assert codes(f"target a = {first}\ntarget b = {second}") == ["E0518"]
    assert codes(f"when user.premium {{\n  target a = {first}\n  target b = {second}\n}}") == ["E0518"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("relevance >= 0.7", "relevance <= 0.8"),
        ("relevance >= 0.7", "relevance <= 0.7"),
        ("relevance >= 0.8", "ads <= 0.7"),
        ("relevance >= 0.8", "relevance <= 70% of baseline"),
    ],
)
def test_compatible_targets_are_accepted(first: str, second: str) -> None:
    assert len(check(f"target a = {first}\ntarget b = {second}").targets) == 2


def test_segment_target_may_contradict_overall_target() -> None:
    text = "target a = relevance <= 0.7\nwhen user.premium {\n  target b = relevance >= 0.8\n}"
    assert len(check(text).targets) == 2


# ---- from, until, because


def test_dated_rule_holds_from_first_to_last_day() -> None:
    text = "boost spring weight 1 = item.is_ad from 2026-03-01 until 2026-05-31"
    assert [d.name for d in check(text, datetime.date(2026, 2, 28)).dormant] == ["spring"]
    for day in (datetime.date(2026, 3, 1), datetime.date(2026, 5, 31)):
        policy = check(text, day)
        assert [rule.name for rule in policy.rules] == ["relevance", "ads", "spring"]
        assert policy.as_of == day and policy.dormant == ()
    assert codes(text, datetime.date(2026, 6, 1)) == ["E0512"]


def test_dormant_statements_are_left_out_and_listed() -> None:
    text = (
        "boost a weight 1 = item.is_ad from 2027-01-01\n"
        "block b = item.is_ad from 2027-02-01\n"
        "target c = relevance >= 20% from 2027-03-01\n"
        "when user.premium {\n  boost a weight 2\n  boost d weight 1 = item.is_ad from 2027-04-01\n}"
    )
    policy = check(text, DAY)
    assert [rule.name for rule in policy.rules] == ["relevance", "ads"]
    assert not policy.blocks and not policy.targets
    assert [(d.name, d.since.month) for d in policy.dormant] == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_dormant_rule_is_checked_and_not_a_valid_target() -> None:
    assert codes("boost a weight 1 = item.is_add from 2027-01-01", DAY) == ["E0201"]
    assert codes("boost a weight 1 = item.is_ad from 2027-01-01\ntarget b = a >= 20%", DAY) == ["E0520"]


def test_as_of_date_is_kept_only_with_dated_rules() -> None:
    assert check("", DAY).as_of is None
    assert check("boost a weight 1 = item.is_ad from 2020-01-01", DAY).as_of == DAY
    assert check("boost a weight 1 = item.is_ad from 2020-01-01").as_of is not None


@pytest.mark.parametrize(
    ("clauses", "code"),
    [
        ("from 2026-05-01 until 2026-04-30", "E0511"),
        ("from 2026-01-01 from 2026-01-02", "E0510"),
        ('because "a" until 2027-01-01 because "b"', "E0510"),
        ('from "2026-01-01"', "E0509"),
        ("until 90 days", "E0509"),
        ("from 2026-02-30", "E0313"),
        ("until nowhere", "E0223"),
    ],
)
def test_invalid_clauses_are_refused(clauses: str, code: str) -> None:
    assert codes(f"boost a weight 1 = item.is_ad {clauses}", DAY) == [code]


def test_because_text_is_kept_for_every_rule_kind() -> None:
    policy = check(
        'boost a weight 1 = item.is_ad because "one"\n'
        'block b = item.price > 90 because "two"\n'
        'target c = relevance >= 20% because "three"'
    )
    assert [r.because for r in (policy.rules[-1], *policy.blocks, *policy.targets)] == ["one", "two", "three"]
