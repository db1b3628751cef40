"""Checks that any text is checked or refused with findings; no other exception is raised."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpolicy import render, schema
from recpolicy.errors import PolicyError
from recpolicy.language import checker, parser
from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.tokens import PHRASE_WORDS
from recpolicy.span import Source

HERE = Path(__file__).parent
SHOP = schema.load(HERE / "shop.toml")
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
GOOD = (
    HEADER
    + """
param most_ads = 20%
let new = item.age < 90 days and item.published within the last 3 weeks   # news
let dear = item.price * 2 - 1 > max(3, item.rating) or not item.is_ad
reward relevance weight 0.7 = ndcg(next_items)
reward variety weight 0.2 = distance(item.genres) on missing zero
reward cheap weight 0.1 = mean(min(1, max(0, item.price / 10)))
boost rising weight ramp 0 to 0.3 over 50% of training = new limit 3 from 2020-01-01 because "new"
bury spammy weight 0.5 = item.report_rate > 2% and item.`release year` in [1990, 1991]
quota ads weight 0.5 = between 10% and most_ads where "War" in item.genres
quota front hard = at most 1 where item.is_ad in top 3
quota no_streak weight 0.5 = at most 1 where item.is_ad in any 5 places in a row
quota spread weight 0.5 = at least 4 distinct item.genres
quota one_voice weight 0.5 = at most 2 per item.creator
block unsafe = item.age_rating > user.age or item.language is not user.language
target seen = share(new) >= 20%
target keep = relevance >= 97% of baseline
when user.last_seen more than 30 days ago and count(item.is_ad) of history < 3 {
  override reward variety weight 0.25
  boost drama weight 1 = "Drama" in item.genres
}
test "new items" {
  user {age: 30}
  slate near [{published: 10 days ago}, {price: missing}, hole]
  slate far [{published: 900 days ago}, {}]
  expect near above far
  case "a case" {
    now 2024-05-20
    expect front of near is satisfied
    expect relevance of far = 0
  }
}
"""
)
PIECES = "item.price item.genres user.age item.age item.report_rate item. next_items ndcg share 3 20% 2014-01-31"
WORDS = [
    *sorted(t.pattern.value for t in lalr().terminals if t.pattern.type == "str"),
    *PHRASE_WORDS,
    *"=!&|.\"'\n\t\x00äa",
    *PIECES.split(),
    *("==", '"Drama"', "90 days", "7 x", "# x\n"),
]

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(text: str) -> None:
    """Check `text`; where it is refused, its findings must be in order, within the text, and printable."""
    source = Source("any.policy", text)
    try:
        checker.check(parser.parse(source), SHOP)
    except PolicyError as error:
        assert error.findings
        places = [(f.span.start, f.span.end) for f in error.findings]
        assert places == sorted(places, key=lambda p: p[0])
        assert all(0 <= start <= end <= len(text) for start, end in places)
        assert all(f.title and f.help for f in error.findings)
        page = render.plain(error.findings, source)
        assert all(c == "\n" or c.isprintable() for c in page)


@quick
@given(st.text())
def test_random_text_is_checked_or_refused(text: str) -> None:
    outcome(text)


@quick
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.booleans())
def test_random_language_words_are_checked_or_refused(words: list[str], with_header: bool) -> None:
    outcome((HEADER if with_header else "") + " ".join(words))


@quick
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.sampled_from([*WORDS, ""]))
def test_policy_with_replaced_piece_is_checked_or_refused(at: int, length: int, piece: str) -> None:
    outcome(GOOD[:at] + piece + GOOD[at + length :])


@quick
@given(st.permutations(GOOD.splitlines()))
def test_policy_with_shuffled_lines_is_checked_or_refused(lines: list[str]) -> None:
    outcome("\n".join(lines))


@quick
@given(st.integers(0, len(GOOD)))
def test_truncated_policy_is_checked_or_refused(end: int) -> None:
    outcome(GOOD[:end])


def test_base_policy_is_valid() -> None:
    assert len(checker.check(parser.parse(Source("good.policy", GOOD)), SHOP).rules) == 11


@pytest.mark.parametrize(
    "opening",
    ["(", "-", "not ", "[", "abs(", "item.price + (", "when user.premium { ", 'test "a" { ', "override ", "[{"],
)
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(PolicyError) as caught:
        checker.check(parser.parse(Source("deep.policy", f"{HEADER}let a = {opening * 5000}")), SHOP)
    assert caught.value.findings


def test_300_nested_parentheses_are_accepted() -> None:
    text = f"{HEADER}reward a weight 1 = ndcg(next_items)\nblock b = {'(' * 300}item.is_ad{')' * 300}\n"
    assert checker.check(parser.parse(Source("deep.policy", text)), SHOP).blocks


def test_ten_thousand_rules_are_checked() -> None:
    rules = "".join(f"boost rule_{i} weight 1 = item.price > {i}\n" for i in range(10_000))
    assert len(checker.check(parser.parse(Source("long.policy", HEADER + rules)), SHOP).rules) == 10_000


def test_five_thousand_tests_are_parsed() -> None:
    tests = "".join(f'test "{i}" {{\n  slate [{{price: {i}}}, hole]\n  expect a = 1\n}}\n' for i in range(5_000))
    file = parser.parse(Source("long.policy", HEADER + tests))
    assert len(file.statements) == 5_000 and file.problems == ()


JUNK = ["!", '"', "( ", "1 ", "x ", "{ ", "} ", "# ", "when x {\n", 'test "x" {\n', "boost a wieght 1 = 3\n", "\x00é "]


@pytest.mark.parametrize("junk", JUNK)
def test_long_junk_has_bounded_problem_count(junk: str) -> None:
    problems = parser.parse(Source("junk.policy", junk * (300_000 // len(junk)))).problems
    assert len(problems) <= 51 and (problems or junk == "# ")


def test_exponential_let_chain_is_refused() -> None:
    steps = "".join(f"let a{i + 1} = a{i} and a{i}\n" for i in range(60))
    with pytest.raises(PolicyError) as caught:
        checker.check(parser.parse(Source("big.policy", f"{HEADER}let a0 = item.is_ad\n{steps}block b = a60\n")), SHOP)
    assert [f.code for f in caught.value.findings] == ["E0320"]
