"""What a policy means: text in, the typed policy that the compiler gets out."""

from __future__ import annotations

from pathlib import Path

import pytest

from recpolicy import checker, parser, schema
from recpolicy import policy as typed
from recpolicy.errors import PolicyError
from recpolicy.span import NOWHERE as AT
from recpolicy.span import Source
from recpolicy.types import DAY, Type

SHOP = schema.load(Path(__file__).parent / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'

AGE = typed.Arithmetic(AT, "-", typed.Now(AT), typed.Column(AT, "item", "published", Type.DATE), Type.DURATION)
PRICE = typed.Column(AT, "item", "price", Type.FLOAT)
IS_AD = typed.Column(AT, "item", "is_ad", Type.BOOL)
GENRES = typed.Column(AT, "item", "genres", Type.LIST)
PREMIUM = typed.Column(AT, "user", "premium", Type.BOOL)
LAST_SEEN = typed.Column(AT, "user", "last_seen", Type.DATE)


def number(value: float, kind: Type = Type.INT) -> typed.Number:
    return typed.Number(AT, value, kind)


def check(text: str) -> typed.Policy:
    return checker.check(parser.parse(Source("example.policy", HEADER + text)), SHOP)


def condition(text: str) -> typed.Expr:
    policy = check(f"reward base weight 1 = ndcg(next_items)\nblock x = {text}\n")
    return policy.blocks[0].where


def minus(left: typed.Expr, right: typed.Expr) -> typed.Expr:
    return typed.Arithmetic(AT, "-", left, right, Type.FLOAT)


def date_before_now(seconds: float) -> typed.Expr:
    return typed.Arithmetic(AT, "-", typed.Now(AT), number(seconds, Type.DURATION), Type.DATE)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("item.is_ad", IS_AD),
        ("item.age < 90 days", typed.Compare(AT, "<", AGE, number(90 * DAY, Type.DURATION))),
        ("item.age < 1 month", typed.Compare(AT, "<", AGE, number(30 * DAY, Type.DURATION))),
        (
            "item.report_rate > 2%",
            typed.Compare(AT, ">", typed.Column(AT, "item", "report_rate", Type.RATIO), number(0.02, Type.RATIO)),
        ),
        (
            "item.published < 1970-01-02",
            typed.Compare(AT, "<", typed.Column(AT, "item", "published", Type.DATE), number(DAY, Type.DATE)),
        ),
        (
            "user.last_seen within the last 2 weeks",
            typed.Logic(
                AT,
                "and",
                typed.Compare(AT, ">=", LAST_SEEN, date_before_now(14 * DAY)),
                typed.Compare(AT, "<=", LAST_SEEN, typed.Now(AT)),
            ),
        ),
        ("user.last_seen more than 30 days ago", typed.Compare(AT, "<", LAST_SEEN, date_before_now(30 * DAY))),
        ('"War" in item.genres', typed.Contains(AT, typed.Word(AT, "War"), GENRES)),
        ('"War" not in item.genres', typed.Not(AT, typed.Contains(AT, typed.Word(AT, "War"), GENRES))),
        ("item.price in [1, 2]", typed.Among(AT, PRICE, (number(1), number(2)))),
        ("item.price is missing", typed.IsMissing(AT, PRICE)),
        ("item.price is not missing", typed.Not(AT, typed.IsMissing(AT, PRICE))),
        ("item.price is not 3", typed.Compare(AT, "is not", PRICE, number(3))),
        (
            "item.`release year` >= 1950",
            typed.Compare(AT, ">=", typed.Column(AT, "item", "release year", Type.INT), number(1950)),
        ),
        ("not item.is_ad and user.premium", typed.Logic(AT, "and", typed.Not(AT, IS_AD), PREMIUM)),
        (
            "item.is_ad or user.premium and not item.is_ad",
            typed.Logic(AT, "or", IS_AD, typed.Logic(AT, "and", PREMIUM, typed.Not(AT, IS_AD))),
        ),
        (
            "item.price + 2 * 3 > 1",
            typed.Compare(
                AT,
                ">",
                typed.Arithmetic(AT, "+", PRICE, typed.Arithmetic(AT, "*", number(2), number(3), Type.INT), Type.FLOAT),
                number(1),
            ),
        ),
        (
            "(item.price - 2) - 3 > -1",
            typed.Compare(
                AT,
                ">",
                minus(minus(PRICE, number(2)), number(3)),
                number(-1),
            ),
        ),
    ],
)
def test_a_condition_means(text: str, meaning: typed.Expr) -> None:
    assert condition(text) == meaning


def test_a_let_is_written_out_where_its_name_stands() -> None:
    policy = check(
        "let dear = item.price > 50\nlet ad = dear and item.is_ad\nboost b weight 1 = ad\nbury c weight 1 = ad\n"
    )
    where = typed.Logic(AT, "and", typed.Compare(AT, ">", PRICE, number(50)), IS_AD)
    assert policy.rules == (
        typed.Boost(AT, "b", typed.Weight(AT, 1.0), where, None, bury=False),
        typed.Boost(AT, "c", typed.Weight(AT, 1.0), where, None, bury=True),
    )


def test_rules_keep_their_order_and_parts() -> None:
    policy = check(
        "reward a weight 0.5 = calibration(item.genres) on missing fail\n"
        "quota b weight 1 = between 10% and 25% where item.is_ad\n"
        "quota c weight 2 = at most 2 per item.creator\n"
        "quota d weight 0 = at least 4 distinct item.genres\n"
        "boost e weight 1 = item.is_ad limit 3\n"
        "block f = item.is_ad\n"
    )
    assert policy.slate == 10
    assert [rule.name for rule in policy.rules] == ["a", "b", "c", "d", "e"]
    a, b, c, d, e = policy.rules
    assert isinstance(a, typed.Reward) and a.measure == typed.Spread(AT, "calibration", GENRES, typed.Missing.FAIL)
    assert isinstance(b, typed.Quota)
    assert (b.at_least, b.at_most) == (typed.Bound(AT, 0.1, True), typed.Bound(AT, 0.25, True))
    creator = typed.Column(AT, "item", "creator", Type.CATEGORY)
    assert isinstance(c, typed.Quota) and (c.at_least, c.at_most) == (None, typed.Bound(AT, 2, False))
    assert c.counted == typed.Per(AT, creator)
    assert isinstance(d, typed.Quota) and d.counted == typed.Different(AT, GENRES) and d.weight.base == 0
    assert isinstance(e, typed.Boost) and e.limit == 3
    assert policy.blocks == (typed.Block(AT, "f", IS_AD),)


def test_branches_change_weights_and_hold_rules_of_their_own() -> None:
    policy = check(
        "reward a weight 0.5 = ndcg(next_items)\n"
        "when user.premium {\n  reward a weight 0.7\n  boost b weight 1 = item.is_ad\n  block c = item.is_ad\n}\n"
        "when not user.premium {\n  reward a weight 0.1\n}\n"
    )
    a, b = policy.rules
    assert a.weight == typed.Weight(AT, 0.5, None, ((PREMIUM, 0.7), (typed.Not(AT, PREMIUM), 0.1)))
    assert b.weight == typed.Weight(AT, 1.0, PREMIUM)
    assert policy.blocks == (typed.Block(AT, "c", IS_AD, PREMIUM),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user.premium", "not user.premium"),
        ("user.age < 30", "user.age >= 30"),
        ("user.age < 30", "user.age > 30 and user.premium"),
        ("user.age < 30", "not (user.age < 30)"),
        ("30 > user.age", "user.age is 30"),
        ('user.gender is "M"', 'user.gender is "F"'),
        ('user.gender is "M"', 'user.gender is not "M"'),
        ('user.gender in ["M", "F"]', 'user.gender is "X"'),
        ("user.last_seen within the last 30 days", "user.last_seen more than 30 days ago"),
        ("user.last_seen within the last 30 days", "user.last_seen more than 60 days ago"),
        ("user.premium or user.age < 30", "not user.premium and user.age > 40"),
        ("user.premium and user.age < 30", "not (user.premium and user.age < 30)"),
        ("user.age is missing", "user.age is not missing"),
    ],
)
def test_branches_that_exclude_each_other_may_change_one_rule(first: str, second: str) -> None:
    rule = "reward a weight 1 = ndcg(next_items)\n"
    for p, q in ((first, second), (second, first)):
        policy = check(f"{rule}when {p} {{\n reward a weight 2\n}}\nwhen {q} {{\n reward a weight 3\n}}\n")
        assert [weight for _, weight in policy.rules[0].weight.changes] == [2, 3]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user.age <= 30", "user.age >= 30"),
        ("user.premium", "user.premium"),
        ("user.last_seen within the last 60 days", "user.last_seen more than 30 days ago"),
        ('user.gender is "M"', "user.gender is user.language"),
        ("user.age < 30 or user.premium", "user.age >= 30"),
    ],
)
def test_branches_that_may_overlap_may_not(first: str, second: str) -> None:
    rule = "reward a weight 1 = ndcg(next_items)\n"
    with pytest.raises(PolicyError) as caught:
        check(f"{rule}when {first} {{\n reward a weight 2\n}}\nwhen {second} {{\n reward a weight 3\n}}\n")
    assert [f.code for f in caught.value.findings] == ["E0422"]


@pytest.mark.parametrize(
    "number",
    [
        "item.report_rate",
        "1 - min(1, abs(item.price) / 50)",
        "0.5 * item.report_rate + 0.5 * item.return_rate",
        "max(0, min(1, item.rating / 5))",
        "item.report_rate * item.return_rate",
        "1 / (1 + abs(item.price))",
        "abs(item.report_rate - item.return_rate)",
    ],
)
def test_a_number_that_stays_between_0_and_1_has_a_mean(number: str) -> None:
    measure = check(f"reward a weight 1 = mean({number})\n").rules[0]
    assert isinstance(measure, typed.Reward) and isinstance(measure.measure, typed.Average)


@pytest.mark.parametrize(
    "number",
    [
        "item.price",
        "min(1, item.rating)",
        "abs(item.rating)",
        "2 * item.report_rate",
        "1 / item.price",
        "log(2%)",
    ],
)
def test_a_number_that_may_leave_0_to_1_has_no_mean(number: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check(f"reward a weight 1 = mean({number})\n")
    assert [f.code for f in caught.value.findings] == ["E0405"]


@pytest.mark.parametrize("name", checker.samples())
def test_the_sample_policies_check_clean_and_give_a_reason_for_each_rule(name: str) -> None:
    loaded = checker.read(name)
    assert loaded.policy.data == "ml-100k" and loaded.policy.slate == 10
    lines = loaded.source.text.splitlines()
    for rule in (*loaded.policy.rules, *loaded.policy.blocks):
        assert lines[rule.span.line - 2].startswith("# "), rule.name


def test_the_samples_are_there() -> None:
    assert set(checker.samples()) >= {"relevance", "balanced", "creator_growth"}


def test_a_long_list_of_alternatives_is_no_deep_expression() -> None:
    where = condition(" or ".join(f"item.price is {i}" for i in range(1000)))

    def depth(expr: typed.Expr) -> int:
        return 1 + max(depth(expr.left), depth(expr.right)) if isinstance(expr, typed.Logic) else 1

    assert depth(where) <= 12
