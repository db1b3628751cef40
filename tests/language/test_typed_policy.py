"""Checks the typed policy that the compiler gets for a policy text."""

from __future__ import annotations

from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import PolicyError
from recpolicy.language import checker, parser
from recpolicy.language import policy as typed
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
def test_condition_text_has_typed_meaning(text: str, meaning: typed.Expr) -> None:
    assert condition(text) == meaning


def test_let_is_inlined_at_its_uses() -> None:
    policy = check(
        "let dear = item.price > 50\nlet ad = dear and item.is_ad\nboost b weight 1 = ad\nbury c weight 1 = ad\n"
    )
    where = typed.Logic(AT, "and", typed.Compare(AT, ">", PRICE, number(50)), IS_AD)
    assert policy.rules == (
        typed.Boost(AT, "b", typed.Weight(AT, 1.0), where, None, bury=False),
        typed.Boost(AT, "c", typed.Weight(AT, 1.0), where, None, bury=True),
    )


def test_rules_keep_order_and_parts() -> None:
    policy = check(
        "reward a weight 0.5 = calibration(item.genres) on missing fail\n"
        "quota b weight 1 = between 10% and 25% where item.is_ad\n"
        "quota c weight 2 = at most 2 per item.creator\n"
        "quota d weight 0 = at least 4 distinct item.genres\n"
        "boost e weight 1 = item.is_ad limit 3\n"
        "block f = item.price > 50\n"
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
    assert policy.blocks == (typed.Block(AT, "f", typed.Compare(AT, ">", PRICE, number(50))),)


def test_when_changes_weights_and_holds_own_rules() -> None:
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
def test_exclusive_branches_may_change_same_rule(first: str, second: str) -> None:
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
def test_overlapping_branches_may_not_change_same_rule(first: str, second: str) -> None:
    rule = "reward a weight 1 = ndcg(next_items)\n"
    with pytest.raises(PolicyError) as caught:
        check(f"{rule}when {first} {{\n reward a weight 2\n}}\nwhen {second} {{\n reward a weight 3\n}}\n")
    assert [f.code for f in caught.value.findings] == ["E0422"]


def test_override_allows_overlapping_branches() -> None:
    policy = check(
        "reward a weight 1 = ndcg(next_items)\n"
        "when user.premium {\n  reward a weight 2\n}\n"
        "when user.age < 30 {\n  override reward a weight 3\n}\n"
    )
    assert [weight for _, weight in policy.rules[0].weight.changes] == [2, 3]


def test_300_exclusive_branches_are_accepted() -> None:
    branches = "".join(f"when user.age is {age} {{\n  reward a weight 2\n}}\n" for age in range(300))
    assert len(check(f"reward a weight 1 = ndcg(next_items)\n{branches}").rules[0].weight.changes) == 300


def test_windows_hard_flags_and_reasons_are_kept() -> None:
    policy = check(
        'quota a hard = at most 1 where item.is_ad in top 3 because "the law"\n'
        "quota b weight 1 = between 20% and 40% where item.is_ad in any 5 places in a row\n"
        "quota c weight 1 = at least 1 distinct item.genres\n"
        'block d = item.is_ad and item.price > 10 because "a reason"\n'
    )
    a, b, c = policy.rules
    assert isinstance(a, typed.Quota) and isinstance(b, typed.Quota) and isinstance(c, typed.Quota)
    assert a.hard and a.weight == typed.Weight(AT, 0.0) and a.because == "the law"
    assert a.window == typed.Window(AT, 3, sliding=False)
    assert b.window == typed.Window(AT, 5, sliding=True) and not b.hard
    assert c.window is None and c.because is None
    assert policy.blocks[0].because == "a reason"


@pytest.mark.parametrize(
    "quota",
    [
        "at least 3 where item.is_ad in top 3",
        "at most 4 per item.creator in any 5 places in a row",
        "at most 20% where item.is_ad in top 5",
        "at least 1% where item.is_ad in top 3",
        "at least 7 distinct item.genres in top 3",
        "at most 0 where item.is_ad in top 1",
    ],
)
def test_quota_that_fits_window_is_accepted(quota: str) -> None:
    assert check(f"quota a weight 1 = {quota}\n").rules


@pytest.mark.parametrize(
    ("quota", "code"),
    [
        ("at least 4 where item.is_ad in top 3", "E0412"),
        ("at least 4 distinct item.creator in any 3 places in a row", "E0412"),
        ("at most 3 per item.creator in top 3", "E0413"),
        ("at most 19% where item.is_ad in top 5", "E0414"),
        ("between 21% and 39% where item.is_ad in any 5 places in a row", "E0415"),
        ("at most 1 where item.is_ad in top 10", "E0431"),
    ],
)
def test_quota_that_exceeds_window_is_refused(quota: str, code: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check(f"quota a weight 1 = {quota}\n")
    assert [f.code for f in caught.value.findings] == [code]


def test_ramp_is_allowed_as_weight_and_in_branches() -> None:
    policy = check(
        "reward a weight ramp 0 to 0.5 over 20% of training = ndcg(next_items)\n"
        "when user.premium {\n  reward a weight ramp 1 to 0 over 100% of training\n}\n"
    )
    (a,) = policy.rules
    assert a.weight.base == typed.Ramp(AT, 0, 0.5, 0.2)
    assert a.weight.changes == ((PREMIUM, typed.Ramp(AT, 1, 0, 1)),)


@pytest.mark.parametrize(
    "text",
    [
        "reward a weight 0 = ndcg(next_items)\ntarget b = a >= 20%\n",
        "reward a weight ramp 0.5 to 0 over 10% of training = ndcg(next_items)\n",
        "reward a weight 0 = ndcg(next_items)\nwhen user.premium {\n  reward a weight 1\n}\n",
    ],
)
def test_policy_with_weight_or_target_is_accepted(text: str) -> None:
    assert check(text).rules


def test_history_functions_are_typed() -> None:
    policy = check(
        "reward a weight 1 = ndcg(next_items)\n"
        "when count() of history > 3 and share(item.is_ad) of history >= 20% {\n  reward a weight 2\n}\n"
        "boost b weight 1 = item.price > mean(item.price) of history\n"
        "boost c weight 1 = mean(item.age_rating) of history > 3 or mean(item.age) of history < 3 days\n"
    )
    events = typed.OfHistory(AT, "count", typed.Truth(AT, True), Type.INT)
    ads = typed.OfHistory(AT, "share", IS_AD, Type.RATIO)
    ((only, _),) = policy.rules[0].weight.changes
    assert only == typed.Logic(
        AT, "and", typed.Compare(AT, ">", events, number(3)), typed.Compare(AT, ">=", ads, number(0.2, Type.RATIO))
    )
    b, c = policy.rules[1:]
    assert isinstance(b, typed.Boost) and isinstance(c, typed.Boost)
    assert b.where == typed.Compare(AT, ">", PRICE, typed.OfHistory(AT, "mean", PRICE, Type.FLOAT))
    assert isinstance(c.where, typed.Logic) and isinstance(c.where.left, typed.Compare)
    assert c.where.left.left.type is Type.FLOAT, "the mean of a whole number is a plain number"
    assert isinstance(c.where.right, typed.Compare) and c.where.right.left.type is Type.DURATION


def test_percentile_uses_table_of_its_column() -> None:
    policy = check(
        "reward a weight 1 = mean(percentile(item.price * 2))\n"
        "when percentile(user.age) < 30% {\n  reward a weight 2\n}\n"
    )
    (a,) = policy.rules
    assert isinstance(a, typed.Reward) and isinstance(a.measure, typed.Average)
    assert isinstance(a.measure.operand, typed.Percentile) and a.measure.operand.table == "item"
    ((only, _),) = a.weight.changes
    assert isinstance(only, typed.Compare) and isinstance(only.left, typed.Percentile)


def test_serendipity_has_column_and_missing_mode() -> None:
    (a,) = check("reward a weight 1 = serendipity(item.genres) on missing zero\n").rules
    assert isinstance(a, typed.Reward) and a.measure == typed.Serendipity(AT, GENRES, typed.Missing.ZERO)


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
        "percentile(item.price)",
        "share(item.is_ad) of history",
        "mean(item.report_rate) of history",
        "abs(percentile(item.price) - percentile(item.rating))",
        "min(1, count(item.is_ad) of history / 10)",
    ],
)
def test_mean_accepts_number_within_0_to_1(number: str) -> None:
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
        "count(item.is_ad) of history / 10",
        "min(1, mean(item.price) of history)",
    ],
)
def test_mean_refuses_number_outside_0_to_1(number: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check(f"reward a weight 1 = mean({number})\n")
    assert [f.code for f in caught.value.findings] == ["E0405"]


@pytest.mark.parametrize("name", checker.samples())
def test_sample_policies_check_clean(name: str) -> None:
    loaded = checker.read(name)
    assert loaded.policy.data in schema.BUILTIN
    assert loaded.policy.rules and loaded.source.text.startswith("# ")


def test_sample_policies_exist() -> None:
    assert set(checker.samples()) >= {"relevance", "balanced", "creator_growth"}


def test_long_or_chain_is_balanced() -> None:
    where = condition(" or ".join(f"item.price is {i}" for i in range(1000)))

    def depth(expr: typed.Expr) -> int:
        return 1 + max(depth(expr.left), depth(expr.right)) if isinstance(expr, typed.Logic) else 1

    assert depth(where) <= 12
