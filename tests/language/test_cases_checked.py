"""Checks `test` blocks: text in, typed test out."""

from __future__ import annotations

from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.language import checker, parser
from recpolicy.language import policy as typed
from recpolicy.span import NOWHERE as AT
from recpolicy.span import Source
from recpolicy.types import DAY

SHOP = schema.load(Path(__file__).parent / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
RULES = (
    "param top_price = 3\nparam day = 2026-01-01\nreward base weight 1 = ndcg(next_items)\n"
    "quota few weight 1 = at most 1 where item.is_ad\nblock rude = item.age_rating > user.age\n"
)
NOW = 1577836800.0  # 2020-01-01


def check(text: str) -> typed.Policy:
    return checker.check(parser.parse(Source("example.policy", HEADER + RULES + text)), SHOP)


def case(parts: str) -> typed.Case:
    return check(f'test "t" {{\n{parts}\n}}\n').tests[0].cases[0]


def findings(text: str) -> list[Diagnostic]:
    with pytest.raises(PolicyError) as caught:
        check(text)
    return list(caught.value.findings)


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        ("price: 3", "price", 3.0),
        ("price: -2.5", "price", -2.5),
        ("price: top_price", "price", 3.0),
        ("report_rate: 2%", "report_rate", 0.02),
        ("length: 90 days", "length", 90 * DAY),
        ("published: 1970-01-02", "published", DAY),
        ("published: day", "published", 1767225600.0),
        ("published: now", "published", NOW),
        ("published: 10 days", "published", NOW - 10 * DAY),
        ("published: 10 days ago", "published", NOW - 10 * DAY),
        ("published: -10 days", "published", NOW + 10 * DAY),
        ("age: 10 days", "published", NOW - 10 * DAY),
        ("age: missing", "published", None),
        ("creator_since: 1 month", "creator_since", NOW - 30 * DAY),
        ("popularity: 12", "popularity", 12.0),
        ("is_ad: false", "is_ad", False),
        ('language: "en"', "language", "en"),
        ('title: "A \\"B\\""', "title", 'A "B"'),
        ('genres: ["War", "Drama", "War"]', "genres", ("War", "Drama")),
        ("genres: []", "genres", ()),
        ("price: missing", "price", None),
        ('"release year": 1990', "release year", 1990.0),
    ],
)
def test_stated_value_equals_dataset_value(field: str, column: str, value: typed.Value) -> None:
    (slate,) = case(f"slate [ {{{field}}} ] expect base = 0").slates
    assert slate == ("", (typed.Record(AT, ((column, value),)),))
    assert type(slate[1][0].values[0][1]) is type(value) if slate[1][0] is not None else False


def test_case_overrides_parts_of_its_test() -> None:
    (test,) = check(
        'test "t" {\n  user {age: 30, premium: true}\n  history [ {id: "a"} ]\n  slate [ {age: 1 day}, hole ]\n'
        "  expect base = 50%\n"
        '  case "c" {\n    now 2021-01-01\n    user {age: 8}\n    slate x [ {} ]\n'
        "    expect few is not satisfied\n    expect slate of x is blocked\n    expect rude is not blocked\n  }\n}\n"
    ).tests
    own, inner = test.cases
    age, premium, item = ("age", 30.0), ("premium", True), typed.Record(AT, (("id", "a"),))
    first = typed.Record(AT, (("published", NOW - DAY),))
    assert own == typed.Case(
        AT, "", NOW, typed.Record(AT, (age, premium)), (item,), (), (("", (first, None)),),
        (typed.ExpectValue(AT, "base", "", 0.5),),
    )  # fmt: skip
    later = NOW + 366 * DAY
    assert inner == typed.Case(
        AT,
        "c",
        later,
        typed.Record(AT, (("age", 8.0),)),
        (item,),
        (),
        (("", (typed.Record(AT, (("published", later - DAY),)), None)), ("x", (typed.Record(AT, ()),))),
        (
            typed.ExpectSatisfied(AT, "few", "", True),
            typed.ExpectBlocked(AT, None, "x", False),
            typed.ExpectBlocked(AT, "rude", "", True),
        ),
    )


def test_test_without_own_expectation_has_only_its_cases() -> None:
    (test,) = check('test "t" { slate [ {} ] case "a" { expect base = 0 } case "b" { expect base = 0 } }\n').tests
    assert [c.title for c in test.cases] == ["a", "b"]


@pytest.mark.parametrize(
    ("part", "fix"),
    [
        ("histroy [ {} ]", "history"),
        ("user {gendre: missing}", "gender"),
        ('history [ {"relase year": 3} ]', '"release year"'),
        ("history [ {report_rate: 0.02} ]", "2%"),
        ("history [ {report_rate: 30} ]", "30%"),
        ("history [ {price: 20%} ]", "0.2"),
        ("history [ {language: en} ]", '"en"'),
        ('history [ {genres: "War"} ]', '["War"]'),
        ("history [ {genres: [War]} ]", '"War"'),
        ('history [ {language: ["en"]} ]', '"en"'),
        ("history [ {age: 10 days ago} ]", "10 days"),
        ('history [ {is_ad: "yes"} ]', "true"),
        ('history [ {published: "2014-01-31"} ]', "2014-01-31"),
        ("expect bsae = 0", "base"),
        ("expect few is satisfid", "satisfied"),
        ("slate good [ {} ] expect slate of godo is blocked", "good"),
    ],
)
def test_suggested_fix_is_accepted(part: str, fix: str) -> None:
    text = f'test "t" {{\n{part}\nslate [ {{}} ]\nexpect base = 0\n}}\n'
    (finding,) = findings(text)
    assert finding.fix == fix
    at = finding.span.start - len(HEADER + RULES)
    check(text[:at] + fix + text[at + finding.span.end - finding.span.start :])


def test_expectation_without_slate_name_gets_fix() -> None:
    text = 'test "t" {{ slate x [ {{}} ] expect {} = 0 }}\n'
    (finding,) = findings(text.format("base"))
    assert finding.fix == "base of x"
    check(text.format(finding.fix))


@pytest.mark.parametrize(
    "text",
    [
        'quota broken weight 1 = at most 1 where item.is_add\ntest "t" { slate [ {} ] expect broken is satisfied }\n',
        'boost broken weight = item.is_ad\ntest "t" { slate [ {} ] expect broken = 1 }\n',
        'test "t" { salte [ {} ] expect base = 1 }\n',
        'param odd = item.price\ntest "t" { slate [ {price: odd} ] expect base = 1 }\n',
    ],
)
def test_one_mistake_gives_one_finding(text: str) -> None:
    assert len(findings(text)) == 1


def test_mistake_in_shared_part_is_reported_once() -> None:
    text = (
        'test "t" { slate [ {id: "a", price: 3} ] history [ {id: "a", price: 4}, {prise: 1} ]\n'
        'case "a" { expect base = 0 } case "b" { expect base = 0 } }\n'
    )
    assert sorted(f.code for f in findings(text)) == ["E0807", "E0815"]


def test_let_is_refused_as_test_value() -> None:
    (finding,) = findings('let usual = 3\ntest "t" { slate [ {price: usual} ] expect base = 0 }\n')
    assert "usual" in finding.title and finding.help
