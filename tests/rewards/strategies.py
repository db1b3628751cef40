"""Typed policies, drawn at random; the columns are those of `world`."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st

from recpolicy.language.policy import (
    Among,
    Arithmetic,
    Average,
    Block,
    Boost,
    Bound,
    Call,
    Column,
    Compare,
    Contains,
    Different,
    Expr,
    IsMissing,
    Logic,
    Measure,
    Missing,
    Not,
    Novelty,
    Now,
    Number,
    OfHistory,
    Per,
    Percentile,
    Policy,
    Population,
    Portion,
    Quota,
    Ramp,
    Relevance,
    Reward,
    Rule,
    Serendipity,
    Spread,
    Target,
    Truth,
    Weight,
    Where,
    Window,
    Word,
)
from recpolicy.span import NOWHERE
from recpolicy.types import DAY, Type
from tests.rewards.world import GENRES, ITEM, LANGUAGES, USER


def item(name: str) -> Column:
    """An item column."""
    return Column(NOWHERE, "item", name, ITEM[name])


def user(name: str) -> Column:
    """A user column."""
    return Column(NOWHERE, "user", name, USER[name])


def number(value: float, kind: Type = Type.FLOAT) -> Number:
    """A literal."""
    return Number(NOWHERE, value, kind)


def word(text: str) -> Word:
    """A string literal."""
    return Word(NOWHERE, text)


LITERAL = st.sampled_from([0.0, 0.5, 1.0, 2.5])
SPOKEN = st.sampled_from((*LANGUAGES, "xx"))
EQUALITY: st.SearchStrategy[Literal["is", "is not"]] = st.sampled_from(["is", "is not"])
USER_LEAVES = st.sampled_from(
    [
        "flag",
        "literal",
        "order",
        "same language",
        "this language",
        "same flag",
        "among words",
        "among numbers",
        "contains",
        "liked",
        "missing",
    ]
)
ITEM_LEAVES = USER_LEAVES | st.sampled_from(["age", "likes", "age", "likes"])


@st.composite
def numbers(draw: st.DrawFn, *, items: bool, depth: int = 2, history: bool = True) -> Expr:
    """Plain numbers, with operands that may be missing; where `history`, also numbers about it."""
    kinds = ["leaf", "leaf", "arithmetic", "call", "percentile", *(["history", "history"] if history else [])]
    kind = draw(st.sampled_from(kinds)) if depth else "leaf"
    if kind == "leaf":
        names = ["budget", "age", "literal", *(["price", "price", "popularity", "rate"] if items else [])]
        name = draw(st.sampled_from(names))
        return number(draw(LITERAL)) if name == "literal" else item(name) if name in ITEM else user(name)
    if kind == "percentile":
        return draw(percentiles(items=items))
    if kind == "history":
        return draw(histories())
    a, b = (draw(numbers(items=items, depth=depth - 1, history=history)) for _ in range(2))
    if kind == "arithmetic":
        return Arithmetic(NOWHERE, draw(st.sampled_from(["+", "-", "*", "/"])), a, b, Type.FLOAT)
    function: Literal["min", "max", "abs", "log"] = draw(st.sampled_from(["min", "max", "abs", "log"]))
    return Call(NOWHERE, function, (a, b) if function in ("min", "max") else (a,), Type.FLOAT)


@st.composite
def percentiles(draw: st.DrawFn, *, items: bool) -> Expr:
    """Where a number stands among those of all items or all users; sometimes of a percentile itself."""
    if items and draw(st.booleans()):
        a, b = (item(draw(st.sampled_from(["price", "popularity", "rate"]))) for _ in range(2))
        product = Arithmetic(NOWHERE, "*", a, b, Type.FLOAT)
        found = Percentile(NOWHERE, a if draw(st.booleans()) else product, "item")
    else:
        found = Percentile(NOWHERE, draw(st.sampled_from([user("age"), user("budget")])), "user")
    return Percentile(NOWHERE, found, found.table) if draw(st.booleans()) else found


@st.composite
def histories(draw: st.DrawFn) -> Expr:
    """A number about the items a user took before."""
    if draw(st.booleans()):
        return OfHistory(NOWHERE, "mean", draw(numbers(items=True, depth=1, history=False)), Type.FLOAT)
    function: Literal["count", "share"] = draw(st.sampled_from(["count", "share"]))
    predicate = Truth(NOWHERE, True) if draw(st.booleans()) else draw(conditions(items=True, depth=1, history=False))
    return OfHistory(NOWHERE, function, predicate, Type.INT if function == "count" else Type.RATIO)


@st.composite
def conditions(draw: st.DrawFn, *, items: bool, depth: int = 2, history: bool = True) -> Expr:
    """Conditions on the user and, if `items`, on the item; where `history`, also on what the user took."""
    kind = draw(st.sampled_from(["leaf", "leaf", "and", "or", "not"] if depth else ["leaf"]))
    if kind == "not":
        return Not(NOWHERE, draw(conditions(items=items, depth=depth - 1, history=history)))
    if kind != "leaf":
        sides = [draw(conditions(items=items, depth=depth - 1, history=history)) for _ in range(2)]
        return Logic(NOWHERE, "and" if kind == "and" else "or", *sides)
    language = item("language") if items else user("language")
    lists = item("genres") if items else user("likes")
    truths = item("is_ad") if items else user("member")
    equality = draw(EQUALITY)
    match draw(ITEM_LEAVES if items else USER_LEAVES):
        case "flag":
            return truths
        case "literal":
            return Truth(NOWHERE, draw(st.booleans()))
        case "order":
            a, b = (draw(numbers(items=side, depth=1, history=history)) for side in (items, False))
            return Compare(NOWHERE, draw(st.sampled_from(["<", "<=", ">", ">=", "is", "is not"])), a, b)
        case "same language":
            return Compare(NOWHERE, equality, language, user("language"))
        case "this language":
            return Compare(NOWHERE, equality, language, word(draw(SPOKEN)))
        case "same flag":
            return Compare(NOWHERE, equality, truths, user("member"))
        case "among words":
            return Among(NOWHERE, language, tuple(word(w) for w in draw(st.lists(SPOKEN, max_size=3))))
        case "among numbers":
            options = tuple(number(v) for v in draw(st.lists(LITERAL, min_size=1, max_size=3)))
            return Among(NOWHERE, draw(numbers(items=items, depth=1, history=history)), options)
        case "contains":
            return Contains(NOWHERE, word(draw(st.sampled_from((*GENRES, "xx")))), lists)
        case "liked":
            return Contains(NOWHERE, language, user("likes"))
        case "likes":
            return Contains(NOWHERE, user("language"), item("genres"))
        case "missing":
            measured = item("price") if items else user("budget")
            return IsMissing(NOWHERE, draw(st.sampled_from([measured, language, lists, truths])))
        case _:
            age = Arithmetic(NOWHERE, "-", Now(NOWHERE), item("published"), Type.DURATION)
            return Compare(NOWHERE, "<", age, number(30 * DAY, Type.DURATION))


@st.composite
def measures(draw: st.DrawFn) -> Measure:
    """Any measure."""
    missing = draw(st.sampled_from(Missing))
    column = item(draw(st.sampled_from(["genres", "genres", "creator", "language", "price", "is_ad"])))
    match draw(st.sampled_from(["relevance", "spread", "spread", "novelty", "portion", "average", "serendipity"])):
        case "relevance":
            return Relevance(NOWHERE, draw(st.sampled_from(["ndcg", "hit", "recall", "precision", "mrr", "lcs"])))
        case "spread":
            name: Literal["distance", "distinct", "entropy", "calibration"]
            name = draw(st.sampled_from(["distance", "distinct", "entropy", "calibration"]))
            return Spread(NOWHERE, name, column, missing)
        case "serendipity":
            return Serendipity(NOWHERE, column, missing)
        case "novelty":
            return Novelty(NOWHERE, item("popularity"))
        case "portion":
            return Portion(NOWHERE, draw(st.sampled_from(["share", "exposure"])), draw(conditions(items=True)))
        case _:
            return Average(NOWHERE, draw(st.sampled_from(["mean", "discounted"])), draw(numbers(items=True)), missing)


SEGMENTS = st.none() | conditions(items=False, depth=1)


@st.composite
def weights(draw: st.DrawFn) -> Weight:
    """A weight or ramp with up to two branches and perhaps a segment."""
    only = draw(SEGMENTS)
    plain = st.sampled_from([0.0, 0.2, 0.7])
    weight = plain | plain | st.builds(Ramp, st.just(NOWHERE), plain, plain, st.sampled_from([0.25, 1.0]))
    changes = draw(st.lists(st.tuples(conditions(items=False, depth=1), weight), max_size=2))
    return Weight(NOWHERE, draw(weight), only, tuple(changes))


@st.composite
def bounds(draw: st.DrawFn) -> Bound:
    """Places or a share of them."""
    if draw(st.booleans()):
        return Bound(NOWHERE, draw(st.sampled_from([0.0, 0.1, 0.2, 0.34, 0.5, 0.75, 1.0])), True)
    return Bound(NOWHERE, draw(st.integers(0, 5)), False)


@st.composite
def rules(draw: st.DrawFn, name: str, slate: int) -> Rule:
    """Any rule."""
    weight = draw(weights())
    match draw(st.sampled_from(["reward", "reward", "boost", "quota", "quota"])):
        case "reward":
            return Reward(NOWHERE, name, weight, draw(measures()))
        case "boost":
            limit = draw(st.none() | st.integers(1, 6))
            return Boost(NOWHERE, name, weight, draw(conditions(items=True)), limit, draw(st.booleans()))
        case _:
            return draw(quotas(name, slate, weight))


@st.composite
def quotas(draw: st.DrawFn, name: str, slate: int, weight: Weight) -> Quota:
    """Any quota; a hard one keeps only the segment of the weight."""
    column = item(draw(st.sampled_from(["genres", "genres", "creator", "language", "price", "is_ad"])))
    window = draw(st.none() | st.builds(Window, st.just(NOWHERE), st.integers(1, slate), st.booleans()))
    least, most = draw(bounds()), draw(bounds())
    sides = draw(st.sampled_from([(least, None), (None, most), (least, most)]))
    hard = draw(st.booleans())
    weight = Weight(NOWHERE, 0.0, weight.only) if hard else weight
    match draw(st.sampled_from(["where", "where", "per", "different"])):
        case "per":
            return Quota(NOWHERE, name, weight, None, most, Per(NOWHERE, column), window, hard)
        case "different":
            return Quota(NOWHERE, name, weight, *sides, Different(NOWHERE, column), window, hard)
        case _:
            where = Where(NOWHERE, draw(conditions(items=True)))
            return Quota(NOWHERE, name, weight, *sides, where, window, hard)


@st.composite
def targets(draw: st.DrawFn, name: str, rules: tuple[Rule, ...]) -> Target:
    """A target on a measure, a rule or all users together."""
    bound = draw(st.sampled_from([0.1, 0.5]))
    match draw(st.sampled_from(["measure", "rule", "population"])):
        case "measure":
            return Target(NOWHERE, name, draw(measures()), ">=", bound, only=draw(SEGMENTS))
        case "rule":
            return Target(NOWHERE, name, draw(st.sampled_from(rules)).name, "<=", bound, only=draw(SEGMENTS))
        case _:
            column = item(draw(st.sampled_from(["genres", "creator", "language", "id"])))
            measure: Literal["coverage", "gini", "largest_share"]
            measure = draw(st.sampled_from(["coverage", "gini", "largest_share"]))
            return Target(NOWHERE, name, Population(NOWHERE, measure, column), "<=", bound)


@st.composite
def policies(draw: st.DrawFn, *, blocks: bool = True) -> Policy:
    """One to four rules, up to two targets, perhaps a block, one to six places."""
    slate = draw(st.integers(1, 6))
    drawn = tuple(draw(rules(f"rule{i}", slate)) for i in range(draw(st.integers(1, 4))))
    wanted = tuple(draw(targets(f"target{i}", drawn)) for i in range(draw(st.integers(0, 2))))
    block = draw(st.lists(st.tuples(conditions(items=True), st.none() | conditions(items=False)), max_size=1))
    return Policy(
        "drawn",
        1,
        None,
        slate,
        drawn,
        tuple(Block(NOWHERE, "block", where, only) for where, only in block) if blocks else (),
        targets=wanted,
    )
