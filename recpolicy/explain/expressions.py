"""Typed expressions in, phrases out: `condition` what is so, `quantity` how much of what."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from recpolicy.explain import values
from recpolicy.explain.values import listed
from recpolicy.language.policy import (
    Among,
    Arithmetic,
    Call,
    Column,
    Compare,
    Contains,
    Expr,
    IsMissing,
    Logic,
    Not,
    Now,
    Number,
    OfHistory,
    Percentile,
    Truth,
    Word,
)
from recpolicy.types import Type

Op: TypeAlias = Literal["<", "<=", ">", ">=", "is", "is not"]

TAKEN = "the items the user took before"

_OPPOSITE: dict[Op, Op] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "is": "is not", "is not": "is"}
_TURNED: dict[Op, Op] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "is": "is", "is not": "is not"}
_THAN: dict[Op, str] = {"<": "below ", "<=": "at most ", ">": "above ", ">=": "at least ", "is": "", "is not": "not "}
_MANY: dict[Op, str] = {
    "<": "less than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
    "is": "exactly",
    "is not": "any other number than",
}
_WHEN: dict[Op, str] = {
    "<": "before ",
    "<=": "no later than ",
    ">": "after ",
    ">=": "no earlier than ",
    "is": "exactly ",
    "is not": "not exactly ",
}
_AGAINST_NOW: dict[Op, str] = {
    "<": "in the past",
    "<=": "not in the future",
    ">": "in the future",
    ">=": "now or in the future",
    "is": "exactly now",
    "is not": "not exactly now",
}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def condition(expr: Expr) -> str:
    """What is so where `expr` is true: `the item's age is below 2 years and the item is not marked as ad`."""
    return _said(expr, True, 0)


def quantity(expr: Expr) -> str:
    """The number, duration, date or word that `expr` yields: `the item's price plus the item's shipping cost`."""
    match expr:
        case Number(value=value, type=kind):
            return values.amount(value, kind)
        case Word(value=word):
            return values.quoted(word)
        case Column():
            return column(expr)
        case Now():
            return "now"
        case Arithmetic():
            return _arithmetic(expr)
        case Call():
            return _call(expr)
        case Percentile(operand=operand, table=table):
            return f"the share of all {table}s for which {quantity(operand)} is lower"
        case OfHistory(function="mean", operand=Column() as averaged):
            return f"the average {label(averaged)} of {TAKEN}"
        case OfHistory(function="mean", operand=operand):
            return f"the average of {_operand(operand)} over {TAKEN}"
        case OfHistory(function=function, operand=operand):
            which = "" if operand == Truth(operand.span, True) else f" for which {condition(operand)}"
            return f"the {'number' if function == 'count' else 'share'} of {TAKEN}{which}"
        case Truth() | Compare() | Among() | Contains() | IsMissing() | Logic() | Not():
            return f"whether {condition(expr)}"
        case _:
            assert_never(expr)


def column(node: Column) -> str:
    """`the item's report rate`, `the user's last seen date`."""
    return f"the {node.table}'s {label(node)}"


def label(node: Column) -> str:
    """A column without its table: `report rate`, `last seen date`."""
    name = values.name(node.name)
    if node.type is not Type.DATE:
        return name
    *words, end = name.split() or [name]
    if words and end in ("at", "on"):
        name = " ".join(words)
    return name if end in ("date", "day", "time") else f"{name} date"


# ---- conditions -----------------------------------------------------------------------------------------------------


def _said(expr: Expr, holds: bool, depth: int) -> str:
    """The phrase for `expr`, or for its opposite where not `holds`; `depth` counts the `and`s and `or`s around it."""
    match expr:
        case Truth(value=value):
            return "this is so in every case" if value is holds else "this is so in no case"
        case Column():
            return _flag(expr, holds)
        case Compare(op=op, left=left, right=right):
            return _compare(op if holds else _OPPOSITE[op], left, right, depth)
        case Among(operand=operand, options=options):
            return _among(operand, [quantity(o) for o in options], holds)
        case Contains(word=word, column=node):
            verb = ("include" if holds else "do not include") if _many(node) else "includes" if holds else "lacks"
            return f"{column(node)} {verb} {quantity(word)}"
        case IsMissing(operand=operand) if operand.type is Type.BOOL:
            return f"it is {'not ' if holds else ''}known whether {_said(operand, True, depth + 1)}"
        case IsMissing(operand=operand):
            return f"{_subject(operand)} {'' if holds else 'not '}missing"
        case Logic():
            return _logic(expr, holds, depth)
        case Not(operand=operand):
            return _said(operand, not holds, depth)
        case _:  # the checker lets nothing else stand as a condition
            return f"{quantity(expr)} {'holds' if holds else 'does not hold'}"


def _flag(node: Column, holds: bool) -> str:
    name = values.name(node.name)
    negation = "" if holds else "not "
    if name.startswith("has "):
        return f"the {node.table} {'has' if holds else 'does not have'} {name[4:]}"
    return f"the {node.table} is {negation}marked as {name.removeprefix('is ')}"


def _among(operand: Expr, options: list[str], holds: bool) -> str:
    match len(options):
        case 0:
            return f"{_subject(operand)} {'' if holds else 'not '}one of no values at all"
        case 1:
            return f"{_subject(operand)} {'' if holds else 'not '}{options[0]}"
        case _:
            several = listed(options, "or") if holds else f"neither {listed(options, 'nor')}"
            return f"{_subject(operand)} {several}"


def _logic(expr: Logic, holds: bool, depth: int) -> str:
    if (recent := _within_the_last(expr)) is not None:
        operand, seconds = recent
        return f"{_subject(operand)} {'' if holds else 'not '}within {values.last(seconds)}"
    word = _word(expr, holds)
    parts = _flat(expr, holds, word)
    said = listed([_part(part, so, depth + 1) for part, so in parts], word)
    if depth == 0:
        return said
    simple = len(parts) == 2 and not any(_is_wide(part) for part, _ in parts)
    return f"{'both' if word == 'and' else 'either'} {said}" if depth == 1 and simple else f"({said})"


def _word(expr: Logic, holds: bool) -> Literal["and", "or"]:
    """What joins the two sides: that not both hold is that one or the other does not."""
    return expr.op if holds else "or" if expr.op == "and" else "and"


def _part(expr: Expr, holds: bool, depth: int) -> str:
    said = _said(expr, holds, depth)
    return f"({said})" if _is_wide(expr) and not _is_joined(expr) else said


def _is_wide(expr: Expr) -> bool:
    """Whether the phrase has parts of its own that an `and` after it would seem to belong to."""
    match expr:
        case Not(operand=operand) | IsMissing(operand=operand):
            return _is_wide(operand)
        case Compare(left=left, right=right):
            both = left.type is Type.BOOL and not isinstance(left, Truth) and not isinstance(right, Truth)
            return both or _is_counted(left) or _is_counted(right)
    return _is_joined(expr)


def _is_counted(expr: Expr) -> bool:
    """A `count` or `share` of the history with a condition, which ends the phrase."""
    return isinstance(expr, OfHistory) and expr.function != "mean" and expr.operand != Truth(expr.span, True)


def _is_joined(expr: Expr) -> bool:
    match expr:
        case Not(operand=operand):
            return _is_joined(operand)
        case Logic():
            return _within_the_last(expr) is None
    return False


def _flat(expr: Expr, holds: bool, word: Literal["and", "or"]) -> list[tuple[Expr, bool]]:
    """The parts of a chain of one operation, left to right, each with whether it or its opposite is meant."""
    todo, found = [(expr, holds)], list[tuple[Expr, bool]]()
    while todo:
        here, so = todo.pop()
        if isinstance(here, Logic) and _within_the_last(here) is None and _word(here, so) == word:
            todo += [(here.right, so), (here.left, so)]
        elif isinstance(here, Not):
            todo.append((here.operand, not so))
        else:
            found.append((here, so))
    return found


def _within_the_last(expr: Logic) -> tuple[Expr, float] | None:
    """The date and the seconds of `x within the last d`, which stands as `x >= now - d and x <= now`."""
    match expr:
        case Logic(
            op="and",
            left=Compare(
                op=">=", left=left, right=Arithmetic(op="-", left=Now(), right=Number(value=d, type=Type.DURATION))
            ),
            right=Compare(op="<=", left=again, right=Now()),
        ) if left == again:
            return left, d
    return None


# ---- comparisons ----------------------------------------------------------------------------------------------------


def _compare(op: Op, left: Expr, right: Expr, depth: int) -> str:
    if isinstance(left, Number | Word | Truth | Now) and not isinstance(right, Number | Word | Truth):
        op, left, right = _TURNED[op], right, left
    match left, right:
        case _, Truth(value=value) if op in ("is", "is not"):
            return _said(left, value is (op == "is"), depth)
        case OfHistory(function="count", operand=Truth(value=True)), Number(value=n):
            many = "fewer than" if op == "<" else _MANY[op]
            return f"the user took {many} {values.number(n)} {'item' if n == 1 else 'items'} before"
        case OfHistory(function="count" | "share", operand=operand), Number(value=n, type=kind):
            return f"for {_MANY[op]} {values.amount(n, kind)} of {TAKEN}, {condition(operand)}"
        case Percentile(), Number(value=p) if 0 < p < 1 and op not in ("is", "is not"):
            return f"{_subject(left.operand)} {_ranked(op, p)} of all {left.table}s"
    if left.type is Type.BOOL:
        first, second = _said(left, True, depth + 1), _said(right, True, depth + 1)
        return f"{first} exactly when {second}" if op == "is" else f"{first} or {second}, but not both"
    if left.type is Type.DATE:
        return f"{_subject(left)} {_dated(op, right)}"
    same = "the same as " if op in ("is", "is not") and not isinstance(right, Number | Word) else ""
    return f"{_subject(left)} {_THAN[op]}{same}{_side(right)}"


def _dated(op: Op, right: Expr) -> str:
    """The end of a sentence about a date: `more than 30 days ago`, `before 31 January 2014`."""
    match right:
        case Now():
            return _AGAINST_NOW[op]
        case Arithmetic(op="-", left=Now(), right=Number(value=d)) if d > 0 and op not in ("is", "is not"):
            much = {"<": "more than", "<=": "at least", ">": "less than", ">=": "at most"}[op]
            return f"{much} {values.duration(d)} ago{' or in the future' if op in ('>', '>=') else ''}"
        case Number(value=seconds) if values.is_midnight(seconds):
            match op:
                case "<":
                    return f"before {values.date(seconds)}"
                case ">=":
                    return f"{values.date(seconds)} or later"
            return f"{_WHEN[op]}the start of {values.date(seconds)}"
    return f"{_WHEN[op]}{quantity(right)}"


def _ranked(op: Op, p: float) -> str:
    edge = ", or just at the edge of that," if op in ("<=", ">=") else ""
    if op in ("<", "<="):
        return f"among the lowest {values.percent(p)}{edge}"
    return (
        f"among the highest {values.percent(1 - p)}{edge}"
        if p >= 0.5
        else f"above the lowest {values.percent(p)}{edge}"
    )


# ---- quantities -----------------------------------------------------------------------------------------------------


def _subject(expr: Expr) -> str:
    """A quantity with its verb: `the item's price is`, `the item's genres are`."""
    return f"{_side(expr)} {'are' if isinstance(expr, Column) and _many(expr) else 'is'}"


def _many(node: Column) -> bool:
    """Whether a column's name is a plural."""
    name = label(node)
    return values.singular(name) != name


def _operand(expr: Expr) -> str:
    """A quantity that other words may follow: calculations in parentheses."""
    calculated = isinstance(expr, Arithmetic) and not _is_age(expr) and expr.type is not Type.DATE
    said = quantity(expr)
    return f"({said})" if calculated or (isinstance(expr, Call) and _clamped(expr) is not None) else said


def _side(expr: Expr) -> str:
    """A quantity on one side of a comparison."""
    return _operand(expr) if isinstance(expr, Call) else quantity(expr)


def _is_age(expr: Arithmetic) -> bool:
    """`now - item.published`, which is how `item.age` stands in a typed policy."""
    return (
        expr.op == "-"
        and isinstance(expr.left, Now)
        and expr.right == Column(expr.span, "item", "published", Type.DATE)
    )


def _arithmetic(expr: Arithmetic) -> str:
    match expr:
        case _ if _is_age(expr):
            return "the item's age"
        case Arithmetic(op="-", left=Now(), right=Number(value=d)):
            return f"{values.duration(d)} ago"
        case (
            Arithmetic(op="+", left=Now(), right=Number(value=d))
            | Arithmetic(op="+", left=Number(value=d), right=Now())
        ):
            return f"{values.duration(d)} from now"
        case Arithmetic(op="-", left=Now(), right=right) if right.type is Type.DATE:
            return f"the time since {_operand(right)}"
        case Arithmetic(op="-", left=left, right=Now()) if left.type is Type.DATE:
            return f"the time until {_operand(left)}"
        case Arithmetic(op="-", left=left, right=right) if left.type is Type.DATE and right.type is Type.DATE:
            return f"the time from {_operand(right)} to {_operand(left)}"
        case Arithmetic(type=Type.DATE, op=op, left=left, right=right):
            day, length = (left, right) if left.type is Type.DATE else (right, left)
            return f"{_operand(length)} {'after' if op == '+' else 'before'} {_operand(day)}"
    left = expr.left
    chained = expr.op in "+-" and isinstance(left, Arithmetic) and left.op in "+-" and left.type is expr.type
    first = quantity(left) if chained else _operand(left)
    return f"{first} {_ARITHMETIC[expr.op]} {_operand(expr.right)}"


def _call(expr: Call) -> str:
    if (inner := _clamped(expr)) is not None:
        return f"{quantity(inner)}, kept between 0 and 1"
    said = [_operand(argument) for argument in expr.args]
    match expr:
        case Call(function="abs", args=(Arithmetic(op="-", left=left, right=right),)):
            return f"the difference between {_operand(left)} and {_operand(right)}"
        case Call(function="abs"):
            return f"{said[0]} without its sign"
        case Call(function="log"):
            return f"the natural logarithm of {said[0]}"
        case Call(function=function):
            word = ("smaller", "smallest") if function == "min" else ("larger", "largest")
            return f"the {word[len(said) > 2]} of {listed(said, 'and')}"


def _clamped(expr: Call) -> Expr | None:
    """The x of `min(1, max(0, x))` and of `max(0, min(1, x))`."""
    match expr:
        case Call(function="min", args=(Number(value=1), Call(function="max", args=(Number(value=0), inner)))):
            return inner
        case Call(function="max", args=(Number(value=0), Call(function="min", args=(Number(value=1), inner)))):
            return inner
    return None
