"""Checks that contradicting quotas are found with a fix, and that satisfiable quotas are never refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpolicy import schema
from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.language import checker, parser, policy
from recpolicy.language.checker.conflicts import conflicts
from recpolicy.language.checker.statements.quotas import places
from recpolicy.language.policy import Block, Bound, Column, Different, Per, Policy, Quota, Weight, Where, Window
from recpolicy.span import NOWHERE, Source
from recpolicy.types import Type

SHOP = schema.load(Path(__file__).parent / "shop.toml")

# ---- against every list there is ------------------------------------------------------------------------------------

A, B = (Column(NOWHERE, "item", name, Type.BOOL) for name in "ab")
LANGUAGE = Column(NOWHERE, "item", "language", Type.CATEGORY)
GENRES = Column(NOWHERE, "item", "genres", Type.LIST)
PRICE = Column(NOWHERE, "item", "price", Type.FLOAT)


def word(value: str) -> policy.Expr:
    return policy.Compare(NOWHERE, "is", LANGUAGE, policy.Word(NOWHERE, value))


def price(op: Any, value: float) -> policy.Expr:
    return policy.Compare(NOWHERE, op, PRICE, policy.Number(NOWHERE, value, Type.FLOAT))


def either(left: policy.Expr, right: policy.Expr) -> policy.Expr:
    return policy.Logic(NOWHERE, "or", left, right)


def joined(parts: st.SearchStrategy[policy.Expr]) -> st.SearchStrategy[policy.Expr]:
    def more(inner: st.SearchStrategy[policy.Expr]) -> st.SearchStrategy[policy.Expr]:
        both = st.builds(policy.Logic, st.just(NOWHERE), st.sampled_from(["and", "or"]), inner, inner)
        return st.one_of(both, st.builds(policy.Not, st.just(NOWHERE), inner))

    return st.recursive(parts, more, max_leaves=3)


TRUTHS = joined(st.sampled_from([A, B]))
ANYTHING = joined(
    st.sampled_from([A, word("de"), word("fr"), price("<", 1), price(">=", 1), price("<=", 2), price("is", 1)])
    | st.just(policy.Among(NOWHERE, LANGUAGE, (policy.Word(NOWHERE, "de"), policy.Word(NOWHERE, "en"))))
    | st.just(policy.IsMissing(NOWHERE, PRICE))
)


@st.composite
def quotas(draw: st.DrawFn, slate: int, where: st.SearchStrategy[policy.Expr], columns: bool, windows: bool) -> Quota:
    kind = draw(st.sampled_from(["where", "where", "per", "distinct"] if columns else ["where"]))
    window = None
    if windows and slate > 1 and draw(st.booleans()):
        window = Window(NOWHERE, draw(st.integers(1, slate)), draw(st.booleans()))
    length = slate if window is None else window.length
    low, high = sorted([draw(st.integers(1, length)), draw(st.integers(0, length))])
    form = draw(st.sampled_from(["low", "high", "both"]))
    counted: policy.Counted = Where(NOWHERE, draw(where))
    if kind == "per":
        counted, form = Per(NOWHERE, LANGUAGE), "high"
    elif kind == "distinct":
        counted = Different(NOWHERE, LANGUAGE)
    least = Bound(NOWHERE, max(1, low) if form == "both" else draw(st.integers(1, length)), False)
    most = Bound(NOWHERE, max(1, high) if form == "both" else high, False)
    return Quota(
        NOWHERE,
        "",
        Weight(NOWHERE, 1.0),
        None if form == "high" else least,
        None if form == "low" else most,
        counted,
        window,
    )


@st.composite
def policies(draw: st.DrawFn, where: st.SearchStrategy[policy.Expr], columns: bool, windows: bool, most: int) -> Policy:
    slate = draw(st.integers(2, 4))
    rules = draw(st.lists(quotas(slate, where, columns, windows), min_size=2, max_size=most))
    blocks = draw(st.lists(where, max_size=1 if most > 2 else 0))
    return Policy(
        "any",
        1,
        None,
        slate,
        tuple(replace(rule, name=f"q{i}") for i, rule in enumerate(rules)),
        tuple(Block(NOWHERE, f"b{i}", condition) for i, condition in enumerate(blocks)),
    )


Item = dict[str, Any]


def truth(expr: policy.Expr, item: Item) -> bool | None:
    """A condition as the language page says: three-valued."""
    match expr:
        case Column(_, _, name):
            return item[name]  # type: ignore[no-any-return]
        case policy.Not(_, operand):
            inner = truth(operand, item)
            return None if inner is None else not inner
        case policy.Logic(_, op, left, right):
            a, b = truth(left, item), truth(right, item)
            decisive = op == "or"
            return decisive if decisive in (a, b) else None if None in (a, b) else not decisive
        case policy.IsMissing(_, Column(_, _, name)):
            return item[name] is None
        case policy.Among(_, Column(_, _, name), options):
            return None if item[name] is None else any(item[name] == option.value for option in options)
        case policy.Compare(_, op, Column(_, _, name), (policy.Number() | policy.Word()) as written):
            if item[name] is None:
                return None
            x, y = item[name], written.value
            if op == "is":
                return bool(x == y)
            return bool(x < y if op == "<" else x <= y if op == "<=" else x >= y)
    raise TypeError(expr)


def met(rule: Quota | Block, slate: tuple[Item | None, ...]) -> bool:
    """Whether a list meets a quota, or holds nothing that a block hides."""
    if isinstance(rule, Block):
        return all(truth(rule.where, item) is False for item in slate if item is not None)
    runs = [slate]
    if rule.window is not None:
        n = rule.window.length
        runs = [slate[i : i + n] for i in range(len(slate) - n + 1 if rule.window.sliding else 1)]
    return all(_met(rule, run) for run in runs)


def _met(rule: Quota, run: tuple[Item | None, ...]) -> bool:
    items = [item for item in run if item is not None]
    low = 0 if rule.at_least is None else places(rule.at_least, len(run), at_least=True)
    high = len(run) if rule.at_most is None else places(rule.at_most, len(run), at_least=False)
    match rule.counted:
        case Where(_, predicate):
            found = [truth(predicate, item) for item in items]
            return found.count(True) >= low and len(found) - found.count(False) <= high
        case Per(_, column):
            values = [item[column.name] for item in items]
            return all(values.count(value) <= high for value in values)
        case Different(_, column):
            values = [item[column.name] for item in items]
            known = len({value for value in values if value is not None})
            return known >= low and known + values.count(None) <= high


def catalog(slate: int, names: set[str]) -> list[Item]:
    """One item of every kind, as far as the columns go that are looked at."""
    values: dict[str, list[Any]] = {
        "a": [True, False, None],
        "b": [True, False, None],
        "language": ["de", "fr", "en", *(f"o{i}" for i in range(slate)), None],
        "price": [0.0, 1.0, 1.5, 2.0, 3.0, None],
    }
    chosen = [options if name in names else [None] for name, options in values.items()]
    return [dict(zip(values, row, strict=True)) for row in product(*chosen)]


def columns_in(expr: policy.Expr) -> Iterator[str]:
    match expr:
        case Column():
            yield expr.name
        case policy.Logic(_, _, left, right):
            yield from columns_in(left)
            yield from columns_in(right)
        case policy.Compare(_, _, left, _):
            yield from columns_in(left)
        case policy.Not() | policy.IsMissing() | policy.Among():
            yield from columns_in(expr.operand)
        case _:
            pass


def some_list_meets(slate: int, rules: list[Quota | Block], *, empty: bool = True) -> bool:
    """Try every list, holes included; items that no rule tells apart are tried once."""
    names: set[str] = set()
    for rule in rules:
        if isinstance(rule, Block):
            names |= set(columns_in(rule.where))
        elif isinstance(rule.counted, Where):
            names |= set(columns_in(rule.counted.predicate))
        else:
            names.add(rule.counted.column.name)
    where = [rule.where for rule in rules if isinstance(rule, Block)]
    counted = [rule.counted for rule in rules if isinstance(rule, Quota)]
    where += [one.predicate for one in counted if isinstance(one, Where)]
    counts_words = any(not isinstance(one, Where) for one in counted)
    different = {
        (*(truth(w, item) for w in where), item["language"] if counts_words else ""): item
        for item in catalog(slate, names)
    }
    lists = product([None, *different.values()], repeat=slate)
    return any(all(met(rule, one) for rule in rules) and (empty or any(one)) for one in lists)


def named(finding: Diagnostic) -> set[str]:
    return set(finding.title.split("`")[1::2])


quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(policies(ANYTHING, columns=True, windows=True, most=4))
def test_conflicts_have_no_false_positives(rules: Policy) -> None:
    everything = {rule.name: rule for rule in (*rules.blocks, *rules.rules)}
    for finding in conflicts(rules, {}):
        chosen: list[Any] = [everything[name] for name in named(finding)]
        assert not some_list_meets(rules.slate, chosen, empty=finding.code != "E0604")


@quick
@given(policies(TRUTHS, columns=False, windows=False, most=2))
def test_contradiction_of_two_quotas_is_found(rules: Policy) -> None:
    every: list[Any] = list(rules.rules)
    assert bool(conflicts(rules, {})) is not some_list_meets(rules.slate, every)


# ---- as a team writes them ------------------------------------------------------------------------------------------

HEADER = """policy "example" {
  language = 1
  schema = "shop.toml"
  slate = 10
}
reward relevance weight 1 = ndcg(next_items)
"""


def findings(text: str) -> tuple[Diagnostic, ...]:
    try:
        checker.check(parser.parse(Source("example.policy", HEADER + text)), SHOP)
    except PolicyError as error:
        return error.findings
    return ()


def only(text: str) -> Diagnostic:
    [finding] = findings(text)
    return finding


def lines(*demands: str) -> str:
    """Quotas `a`, `b`, `c` ... of these demands, a line each."""
    return "".join(f"quota {name} weight 1 = {demand}\n" for name, demand in zip("abcdefgh", demands, strict=False))


def test_help_names_nearest_feasible_number() -> None:
    found = only(lines("at least 6 where item.is_ad and item.price > 5", "at most 3 where item.is_ad"))
    assert (found.code, found.span.line, found.fix) == ("E0601", 8, "6")
    assert found.help == "lower `at least 6` of `a` to 3, or raise `at most 3` of `b` to 6"
    assert [(note.span.line, note.label) for note in found.notes] == [(7, "asks for at least 6 places")]


def test_fix_resolves_conflict() -> None:
    text = HEADER + lines("at least 6 where item.is_ad", "at most 30% where item.is_ad or item.price > 3")
    found = only(text.removeprefix(HEADER))
    assert (found.fix, text[found.span.start : found.span.end]) == ("60%", "30%")
    assert not findings((text[: found.span.start] + "60%" + text[found.span.end :]).removeprefix(HEADER))


def test_ages_in_different_forms_are_compared() -> None:
    found = only(lines("at least 7 where item.age < 3 days", "at least 40% where item.published more than 1 year ago"))
    assert found.help == "lower `at least 7` of `a` to 6, or lower `at least 40%` of `b` to 30%"


def test_three_way_conflict_is_one_finding() -> None:
    found = only(lines(*(f'at least 4 where item.language is "{word}"' for word in ("de", "fr", "pt"))))
    assert named(found) == {"a", "b", "c"} and len(found.notes) == 2


@pytest.mark.parametrize(
    "demands",
    [
        ["at most 2 per item.creator", "at most 3 distinct item.creator", "at least 7 where item.price > 3"],
        ["at most 2 per item.language", 'at least 3 where item.language is "de"'],
        ["at most 1 per item.genres", 'at least 2 where "War" in item.genres'],
        ["at least 8 distinct item.language", 'at least 4 where item.language is "de"'],
        ["at least 5 distinct item.creator", "at most 4 distinct item.creator"],
        ["at least 2 where item.is_ad in top 3", "at most 1 where item.is_ad in top 5"],
        ["at least 1 where item.is_ad in any 3 places in a row", "at most 2 where item.is_ad"],
        ["at most 1 where item.is_ad in any 3 places in a row", "at least 5 where item.is_ad"],
        [
            "at most 40% where item.is_ad",
            "at least 70% where not (item.is_ad or item.price > 3)",
            "at least 40% where item.price > 3",
        ],
    ],
)
def test_unsatisfiable_quotas_are_refused(demands: list[str]) -> None:
    assert {finding.code for finding in findings(lines(*demands))} == {"E0601"}


@pytest.mark.parametrize(
    "demands",
    [
        ["at most 2 per item.creator", "at most 4 distinct item.creator", "at least 7 where item.price > 3"],
        ["at least 8 distinct item.language", 'at least 3 where item.language is "de"'],
        ['at least 6 where "War" in item.genres', 'at least 6 where "Drama" in item.genres'],
        ["at most 1 where item.is_ad in any 3 places in a row", "at least 4 where item.is_ad"],
        ["at least 1 where item.is_ad in top 3", "at most 1 where item.is_ad"],
    ],
)
def test_satisfiable_quotas_are_accepted(demands: list[str]) -> None:
    assert not findings(lines(*demands))


def test_quotas_for_disjoint_users_do_not_conflict() -> None:
    text = (
        "when user.age < 30 {\n  quota a weight 1 = at least 4 where item.is_ad\n}\n"
        "when %s {\n  quota b weight 1 = at most 2 where item.is_ad\n}\n"
    )
    assert not findings(text % "user.age >= 30")
    assert only(text % "user.premium").help.endswith("; or make the `when` conditions exclude each other")


def test_quota_with_zero_weight_for_segment_does_not_conflict() -> None:
    text = (
        "quota a weight 1 = at least 4 where item.is_ad\n"
        "when user.premium {\n  quota a weight %s\n  quota b weight 1 = at most 2 where item.is_ad\n}\n"
    )
    assert not findings(text % "0")
    assert named(only(text % "0.5")) == {"a", "b"}


def test_self_contradicting_condition_is_found() -> None:
    found = only(lines("at least 1 where item.age < 3 days and item.age > 1 year"))
    assert (found.code, named(found)) == ("E0602", {"a"})


def test_block_hiding_quota_items_is_found() -> None:
    found = only("block ads = item.is_ad\n" + lines("at least 1 where item.is_ad and item.price > 3"))
    assert (found.code, found.title) == ("E0603", "`a` asks for items that `ads` hides")


def test_blocks_hiding_all_items_are_found() -> None:
    blocks = "block ads = item.is_ad\nblock rest = not item.is_ad\n"
    found = only(blocks + lines("at least 1 where item.price > 3"))
    assert (found.code, named(found), found.notes[0].span.line) == ("E0604", {"ads", "rest"}, 7)


def test_conflict_names_file_of_each_line() -> None:
    few = Quota(NOWHERE, "few", Weight(NOWHERE, 1.0), None, Bound(NOWHERE, 1, False), Where(NOWHERE, A))
    many = replace(few, name="many", at_least=Bound(NOWHERE, 2, False), at_most=None)
    main, house = Source("main.policy", ""), Source("house.policy", "")
    rules = Policy("any", 1, None, 4, (many, few), (), sources=(main, house))
    [found] = conflicts(rules, {"few": house})
    assert (found.source, found.notes[0].source) == (house, main)
    [found] = conflicts(rules, {"many": house})
    assert (found.source, found.notes[0].source) == (None, house)
    [found] = conflicts(rules, {"many": house, "few": house})
    assert (found.source, found.notes[0].source) == (house, None)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(lambda i: price(">", i), id="of prices"),
        pytest.param(lambda i: word(f"w{i}"), id="of words"),
        pytest.param(lambda i: policy.Contains(NOWHERE, policy.Word(NOWHERE, f"w{i}"), GENRES), id="of lists"),
        pytest.param(lambda i: either(policy.Logic(NOWHERE, "and", A, price(">", i)), word(f"w{i}")), id="of it all"),
    ],
)
def test_ten_thousand_quotas_are_checked_quickly(where: Callable[[int], policy.Expr]) -> None:
    bounds = [(None, Bound(NOWHERE, 2, False)), (Bound(NOWHERE, 3, False), None)]
    rules = tuple(
        Quota(NOWHERE, f"q{i}", Weight(NOWHERE, 1.0), *bounds[i % 2], Where(NOWHERE, where(i))) for i in range(10_000)
    )
    started = time.monotonic()
    conflicts(Policy("long", 1, None, 10, rules, ()), {})
    assert time.monotonic() - started < 10
