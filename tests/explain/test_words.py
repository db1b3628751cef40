"""Checks what a product manager reads of a policy: the words for every construct of the language."""

from __future__ import annotations

import re
from datetime import date
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from recpolicy import explain, schema
from recpolicy.explain import values
from recpolicy.language import checker, parser
from recpolicy.language.policy import Expr, Policy
from recpolicy.span import Source
from tests import golden
from tests.rewards.strategies import policies

GOLDEN = Path(__file__).parent / "golden"
SHOP = schema.load(Path(__file__).parents[1] / "language" / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
BASE = "reward base weight 1 = ndcg(next_items)\n"

CONDITIONS = (
    "item.is_ad",
    "not item.is_ad",
    "item.is_ad is user.premium",
    "item.age < 2 years",
    "now - item.published > 36 hours",
    "now - user.last_seen >= 90 minutes",
    "item.length <= 30 seconds",
    "item.published within the last 90 days",
    "not item.published within the last 1 day",
    "user.last_seen more than 30 days ago",
    "user.last_seen > now - 2 weeks",
    "item.published < 2014-01-31",
    "item.published <= 2014-01-31",
    "item.published > 2014-01-31",
    "item.published >= 2014-01-31",
    "item.published > now",
    "item.published + 7 days < user.last_seen",
    "user.last_seen - item.published > 1 year",
    "item.price > 12500",
    "item.price >= 0.5",
    "not item.price < 20",
    "item.price is 3",
    "item.price is not 3",
    "item.report_rate > 2%",
    "item.report_rate + item.return_rate > 10%",
    "item.price - item.rating * 2 > -1",
    "item.`release year` < 1950",
    'item.language is "de"',
    "item.language is not user.language",
    'item.language in ["de", "fr", "nl"]',
    'item.language not in ["de", "fr"]',
    "item.price in [1, 2]",
    '"War" in item.genres',
    '"War" not in item.genres',
    "user.language in item.genres",
    "item.creator is missing",
    "item.creator is not missing",
    "item.genres is missing",
    "item.is_ad is missing",
    "item.is_ad and item.price > 5 and user.premium",
    "item.is_ad or item.price > 5",
    "item.is_ad and not (item.price > 5 or user.premium)",
    "item.is_ad or item.price > 5 and user.premium",
    "item.is_ad or item.price > 5 and (user.premium or item.rating < 2)",
    "not (item.is_ad and user.premium)",
    "percentile(item.price) > 90%",
    "percentile(item.price) >= 30%",
    "percentile(item.price) < 20%",
    "percentile(user.age) > 50%",
    "percentile(item.price) > item.report_rate",
    "count() of history < 5",
    "count() of history is 1",
    "count(item.is_ad) of history >= 3",
    'share("War" in item.genres) of history > 20%',
    'share("War" in item.genres) of history > 20% and user.premium',
    "mean(item.price) of history > 10",
    "item.price > mean(item.price) of history",
    "item.price > 2 * mean(item.price - item.rating) of history",
    "min(item.price, item.rating) > 3",
    "max(item.price, item.rating, 1) > 3",
    "min(1, max(0, item.price / 5)) > 0.5",
    "abs(item.age_rating - user.age) > 10",
    "abs(item.price) > 10",
    "log(item.price) > 2",
)


def check(text: str) -> Policy:
    return checker.check(parser.parse(Source("example.policy", HEADER + BASE + text)), SHOP)


def condition(text: str) -> Expr:
    return check(f"block x = {text}\n").blocks[0].where


@pytest.fixture(scope="module")
def everything() -> Policy:
    return checker.load(str(GOLDEN / "everything.policy"), as_of=date(2026, 3, 31))


def test_full_policy_page_matches_golden_file(everything: Policy) -> None:
    golden.compare(explain.policy(everything), GOLDEN / "everything.txt")


def test_full_policy_formulas_match_golden_file(everything: Policy) -> None:
    parts = (*everything.rules, *everything.blocks, *everything.targets)
    words = "\n\n".join(explain.engineer(part, everything) for part in parts)
    golden.compare(f"{words}\n", GOLDEN / "everything.engineer.txt")


def test_condition_words_match_golden_file() -> None:
    lines = (f"{text}\n    {explain.condition(condition(text))}\n" for text in CONDITIONS)
    golden.compare("".join(lines), GOLDEN / "conditions.txt")


def test_different_conditions_have_different_words() -> None:
    words = {text: explain.condition(condition(text)) for text in CONDITIONS}
    assert [pair for pair in combinations(CONDITIONS, 2) if words[pair[0]] == words[pair[1]]] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("item.age < 90 days", "now - item.published < 90 days"),
        ("not item.price < 20", "item.price >= 20"),
        ("item.is_ad is false", "not item.is_ad"),
        ("item.is_ad is not true", "not item.is_ad"),
        ("50 < item.price", "item.price > 50"),
        ("not (item.is_ad or user.premium)", "not item.is_ad and not user.premium"),
    ],
)
def test_equivalent_conditions_have_same_words(one: str, other: str) -> None:
    assert explain.condition(condition(one)) == explain.condition(condition(other))


def test_nested_and_or_is_unambiguous() -> None:
    first = explain.condition(condition("(item.is_ad or user.premium) and item.price > 5"))
    second = explain.condition(condition("item.is_ad or user.premium and item.price > 5"))
    assert first == "either the item is marked as ad or the user is marked as premium and the item's price is above 5"
    assert second == "the item is marked as ad or both the user is marked as premium and the item's price is above 5"


@pytest.mark.parametrize(
    ("amount", "earned"),
    [
        ("at least 1", "One such place earns all of it, none earns nothing."),
        ("at least 2", "Two such places earn all of it, one earns half."),
        ("at least 4", "Four such places earn all of it, and each of them a quarter."),
        ("at least 15%", "Two such places earn all of it, one earns half."),
        ("at most 15%", "in at most 1 (15%) of the 10 places"),
    ],
)
def test_quota_words_show_partial_credit(amount: str, earned: str) -> None:
    policy = check(f"quota q weight 1 = {amount} where item.is_ad\n")
    assert earned in explain.rule(policy.rules[-1], policy)


def test_weights_are_shown_as_shares() -> None:
    policy = check("boost b weight 2 = item.is_ad\nbury c weight 1 = item.price > 5\n")
    assert explain.shares(policy) == {"base": 0.25, "b": 0.5, "c": 0.25}
    assert explain.rule(policy.rules[1], policy).startswith("Adds up to 50% of the whole. ")
    assert explain.rule(policy.rules[2], policy).startswith("Takes away up to 25% of the whole. ")


def test_when_branch_shows_its_share() -> None:
    policy = check("boost b weight 1 = item.is_ad\nwhen user.premium {\n  boost b weight 3\n}\n")
    assert "Adds up to 50% of the whole; for users where the user is marked as premium, 75%." in explain.rule(
        policy.rules[1], policy
    )
    assert "`b` counts 75% instead of 50%" in explain.policy(policy)


def test_prompt_lists_rules_by_weight_then_constraints() -> None:
    policy = check(
        "bury c weight 2 = item.price > 5\nreward idle weight 0 = distance(item.genres)\n"
        "quota few weight 1 = at most 1 where item.is_ad\n"
        "quota voices hard = at most 2 per item.creator\nwhen user.premium {\n  block dear = item.price > 99\n}\n"
        'target many = few >= 90% because "nobody reads this"\n'
    )
    assert explain.instruction(policy).splitlines() == [
        "c, 50% of the whole: as little as can be where the item's price is above 5",
        "base, 25% of the whole: how near the top the items the user took next stand",
        "few, 25% of the whole: that in at most 1 of the 10 places the item is marked as ad",
        "a must: that no creator stands in more than 2 of the 10 places",
        "never shown to users where the user is marked as premium: items where the item's price is above 99",
        "in the end: on average over users, `few` is to be at least 90%",
    ]


LEAK = re.compile(r"\b[A-Z]\w*\(|Span|NOWHERE|Type\.|Missing\.|\bNone\b|\bTrue\b|\bFalse\b|_\w+=")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(policies())
def test_random_policies_have_words_and_formulas(policy: Policy) -> None:
    for part in (*policy.rules, *policy.blocks, *policy.targets):
        plain, formulas = explain.sentence(part, policy), explain.engineer(part, policy)
        assert plain.endswith(".") and len(plain) > 20
        assert not LEAK.search(plain)
        assert "value" in formulas or "enforced" in formulas
    lines = explain.instruction(policy).splitlines()
    assert len(lines) <= len((*policy.rules, *policy.blocks, *policy.targets)) and all(": " in line for line in lines)
    assert not LEAK.search(" ".join(lines))
    page = explain.policy(policy)
    assert all(f"  {part.name}" in page for part in (*policy.rules, *policy.blocks, *policy.targets))
    assert all(len(line) <= 100 for line in page.splitlines())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (90 * 86400.0, "90 days"),
        (730 * 86400.0, "2 years"),
        (86400.0, "1 day"),
        (36 * 3600.0, "36 hours"),
        (5400.0, "90 minutes"),
        (90.0, "90 seconds"),
        (0.5, "0.5 seconds"),
        (0.0, "0 seconds"),
        (-3600.0, "minus 1 hour"),
    ],
)
def test_duration_uses_longest_fitting_unit(seconds: float, words: str) -> None:
    assert values.duration(seconds) == words


def test_numbers_ordinals_and_plurals() -> None:
    assert [values.ordinal(n) for n in (1, 3, 11, 12, 21, 102, 113)] == [
        "first",
        "third",
        "11th",
        "12th",
        "21st",
        "102nd",
        "113th",
    ]
    assert [values.number(n) for n in (1250000, 1950, 0.05, 3.0, -2.5, 1e12)] == [
        "1,250,000",
        "1950",
        "0.05",
        "3",
        "-2.5",
        "1,000,000,000,000",
    ]
    assert [values.plural(n) for n in ("genre", "country", "class", "genres", "day")] == [
        "genres",
        "countries",
        "classes",
        "genres",
        "days",
    ]
    assert [values.singular(n) for n in ("genres", "countries", "classes", "news", "status", "series")] == [
        "genre",
        "country",
        "class",
        "news",
        "status",
        "series",
    ]


def test_words_load_no_heavy_libraries() -> None:
    import subprocess
    import sys

    script = "import recpolicy.explain, sys; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "lark", "pyarrow", "rich"} & {name.partition(".")[0] for name in process.stdout.split()}
