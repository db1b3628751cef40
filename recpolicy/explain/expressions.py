"""Translates typed expressions into phrases: conditions into clauses, and quantities into noun phrases."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, TypeGuard, assert_never

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
_AGE = "the item's age"


class _Wording(NamedTuple):
    """The phrases for one comparison operator."""

    opposite: Op
    swapped: Op  # the operator with the two sides swapped
    than: str
    many: str
    when: str
    now: str


_WORDING: dict[Op, _Wording] = {
    "<": _Wording(">=", ">", "below ", "less than", "before ", "in the past"),
    "<=": _Wording(">", ">=", "at most ", "at most", "no later than ", "not in the future"),
    ">": _Wording("<=", "<", "above ", "more than", "after ", "in the future"),
    ">=": _Wording("<", "<=", "at least ", "at least", "no earlier than ", "now or in the future"),
    "is": _Wording("is not", "is", "", "exactly", "exactly ", "exactly now"),
    "is not": _Wording("is", "is not", "not ", "any other number than", "not exactly ", "not exactly now"),
}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}


def condition(expr: Expr) -> str:
    """Returns a condition as a clause: `the item's age is below 2 years and the item is not marked as ad`."""
    return _clause(expr, True, 0)


def quantity(expr: Expr) -> str:
    """Returns a quantity as a noun phrase: `the item's price plus the item's shipping cost`."""
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
    """Returns a column with its table: `the item's report rate`, `the user's last seen date`."""
    return f"the {node.table}'s {label(node)}"


def label(node: Column) -> str:
    """Returns a column without its table: `report rate`, `last seen date`."""
    name = values.name(node.name)
    if node.type is not Type.DATE:
        return name
    *words, end = name.split() or [name]
    if words and end in ("at", "on"):
        name = " ".join(words)
    return name if end in ("date", "day", "time") else f"{name} date"


# ---- conditions -----------------------------------------------------------------------------------------------------


def _clause(expr: Expr, holds: bool, depth: int) -> str:
    """The clause for `expr`, or for its opposite unless `holds`. `depth` counts the `and`s and `or`s around it."""
    match expr:
        case Truth(value=value):
            return "this is so in every case" if value is holds else "this is so in no case"
        case Column():
            return _flag(expr, holds)
        case Compare(op=op, left=left, right=right):
            return _compare(op if holds else _WORDING[op].opposite, left, right, depth)
        case Among(operand=operand, options=options):
            words = [quantity(option) for option in options]
            if len(words) < 2:
                return f"{_subject(operand, holds)} {words[0] if words else 'one of no values at all'}"
            return f"{_subject(operand)} {listed(words, 'or') if holds else 'neither ' + listed(words, 'nor')}"
        case Contains(word=word, column=node):
            verb = ("include" if holds else "do not include") if _is_plural(node) else "includes" if holds else "lacks"
            return f"{column(node)} {verb} {quantity(word)}"
        case IsMissing(operand=operand) if operand.type is Type.BOOL:
            return f"it is {'not ' if holds else ''}known whether {_clause(operand, True, depth + 1)}"
        case IsMissing(operand=operand):
            return f"{_subject(operand, holds)} missing"
        case Logic():
            return _logic(expr, holds, depth)
        case Not(operand=operand):
            return _clause(operand, not holds, depth)
        case _:  # the checker allows no other expression as a condition
            return f"{quantity(expr)} {'holds' if holds else 'does not hold'}"


def _flag(node: Column, holds: bool) -> str:
    name = values.name(node.name)
    if name.startswith("has "):
        return f"the {node.table} {'has' if holds else 'does not have'} {name[4:]}"
    return f"the {node.table} is {'' if holds else 'not '}marked as {name.removeprefix('is ')}"


def _logic(expr: Logic, holds: bool, depth: int) -> str:
    if (recent := _within_the_last(expr)) is not None:
        date, seconds = recent
        return f"{_subject(date, holds)} within the last {values.duration(seconds).removeprefix('1 ')}"
    word = _word(expr, holds)
    parts = _flat(expr, holds, word)
    clauses = [(part, _clause(part, part_holds, depth + 1)) for part, part_holds in parts]
    text = listed([f"({text})" if _is_wide(part) and not _is_chain(part) else text for part, text in clauses], word)
    if depth == 0:
        return text
    if depth == 1 and len(parts) == 2 and not any(_is_wide(part) for part, _ in parts):
        return f"{'both' if word == 'and' else 'either'} {text}"
    return f"({text})"


def _word(expr: Logic, holds: bool) -> Literal["and", "or"]:
    """The word between the two sides. `and` becomes `or` in the opposite, and `or` becomes `and`."""
    return expr.op if holds else "or" if expr.op == "and" else "and"


def _is_wide(expr: Expr) -> bool:
    """Whether a reader could take an `and` after the clause for a part of it."""
    match expr:
        case Not(operand=operand) | IsMissing(operand=operand):
            return _is_wide(operand)
        case Compare(left=left, right=right):
            truths = left.type is Type.BOOL and not isinstance(left, Truth) and not isinstance(right, Truth)
            return truths or _ends_in_condition(left) or _ends_in_condition(right)
    return _is_chain(expr)


def _ends_in_condition(expr: Expr) -> bool:
    return isinstance(expr, OfHistory) and expr.function != "mean" and expr.operand != Truth(expr.span, True)


def _is_chain(expr: Expr) -> TypeGuard[Logic]:
    """Whether the clause joins parts with `and` or `or`."""
    return isinstance(expr, Logic) and _within_the_last(expr) is None


def _flat(expr: Expr, holds: bool, word: Literal["and", "or"]) -> list[tuple[Expr, bool]]:
    """The parts of a chain of one operation, left to right, each with whether it or its opposite is meant.

    A loop, since a chain may have more parts than Python allows calls.
    """
    stack, parts = [(expr, holds)], list[tuple[Expr, bool]]()
    while stack:
        node, node_holds = stack.pop()
        if _is_chain(node) and _word(node, node_holds) == word:
            stack += [(node.right, node_holds), (node.left, node_holds)]
        elif isinstance(node, Not):
            stack.append((node.operand, not node_holds))
        else:
            parts.append((node, node_holds))
    return parts


def _within_the_last(expr: Logic) -> tuple[Expr, float] | None:
    """The date and the seconds of `x within the last d`, in a typed policy `x >= now - d and x <= now`."""
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
        op, left, right = _WORDING[op].swapped, right, left
    wording = _WORDING[op]
    match left, right:
        case _, Truth(value=value) if op in ("is", "is not"):
            return _clause(left, value is (op == "is"), depth)
        case OfHistory(function="count", operand=Truth(value=True)), Number(value=n):
            many = "fewer than" if op == "<" else wording.many
            return f"the user took {many} {values.number(n)} {'item' if n == 1 else 'items'} before"
        case OfHistory(function="count" | "share", operand=operand), Number(value=n, type=kind):
            return f"for {wording.many} {values.amount(n, kind)} of {TAKEN}, {condition(operand)}"
        case Percentile(), Number(value=p) if 0 < p < 1 and op not in ("is", "is not"):
            return f"{_subject(left.operand)} {_ranked(op, p)} of all {left.table}s"
    if left.type is Type.BOOL:
        first, second = _clause(left, True, depth + 1), _clause(right, True, depth + 1)
        return f"{first} exactly when {second}" if op == "is" else f"{first} or {second}, but not both"
    if left.type is Type.DATE:
        return f"{_subject(left)} {_dated(op, right)}"
    same = "the same as " if op in ("is", "is not") and not isinstance(right, Number | Word) else ""
    return f"{_subject(left)} {wording.than}{same}{_side(right)}"


def _dated(op: Op, right: Expr) -> str:
    """The end of a sentence about a date: `more than 30 days ago`, `before 31 January 2014`."""
    wording = _WORDING[op]
    match right:
        case Now():
            return wording.now
        case Arithmetic(op="-", left=Now(), right=Number(value=d)) if d > 0 and op not in ("is", "is not"):
            future = " or in the future" if op in (">", ">=") else ""
            return f"{_WORDING[wording.swapped].many} {values.duration(d)} ago{future}"
        case Number(value=seconds) if values.is_midnight(seconds):
            if op == ">=":
                return f"{values.date(seconds)} or later"
            return f"{wording.when}{'' if op == '<' else 'the start of '}{values.date(seconds)}"
    return f"{wording.when}{quantity(right)}"


def _ranked(op: Op, p: float) -> str:
    edge = ", or just at the edge of that," if op in ("<=", ">=") else ""
    if op in ("<", "<="):
        return f"among the lowest {values.percent(p)}{edge}"
    if p < 0.5:
        return f"above the lowest {values.percent(p)}{edge}"
    return f"among the highest {values.percent(1 - p)}{edge}"


# ---- quantities -----------------------------------------------------------------------------------------------------


def _subject(expr: Expr, holds: bool = True) -> str:
    """A quantity with its verb: `the item's price is`, `the item's genres are`, and with `not` unless it `holds`."""
    verb = "are" if isinstance(expr, Column) and _is_plural(expr) else "is"
    return f"{_side(expr)} {verb}{'' if holds else ' not'}"


def _is_plural(node: Column) -> bool:
    return values.singular(label(node)) != label(node)


def _operand(expr: Expr) -> str:
    """A quantity that other words may follow: calculations in parentheses."""
    text = quantity(expr)
    calculated = isinstance(expr, Arithmetic) and expr.type is not Type.DATE and text != _AGE
    return f"({text})" if calculated or (isinstance(expr, Call) and _clamped(expr) is not None) else text


def _side(expr: Expr) -> str:
    """A quantity on one side of a comparison."""
    return _operand(expr) if isinstance(expr, Call) else quantity(expr)


def _arithmetic(expr: Arithmetic) -> str:
    match expr:
        case Arithmetic(op="-", left=Now(), right=Column(table="item", name="published", type=Type.DATE)):
            return _AGE  # `item.age` is `now - item.published` in a typed policy
        case Arithmetic(op="-", left=Now(), right=Number(value=d)):
            return f"{values.duration(d)} ago"
        case (
            Arithmetic(op="+", left=Now(), right=Number(value=d))
            | Arithmetic(op="+", left=Number(value=d), right=Now())
        ):
            return f"{values.duration(d)} from now"
        case Arithmetic(op="-", left=left, right=right) if left.type is right.type is Type.DATE:
            if isinstance(left, Now):
                return f"the time since {_operand(right)}"
            end = _operand(left)
            return f"the time until {end}" if isinstance(right, Now) else f"the time from {_operand(right)} to {end}"
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
    operands = [_operand(argument) for argument in expr.args]
    match expr:
        case Call(function="abs", args=(Arithmetic(op="-", left=left, right=right),)):
            return f"the difference between {_operand(left)} and {_operand(right)}"
        case Call(function="abs"):
            return f"{operands[0]} without its sign"
        case Call(function="log"):
            return f"the natural logarithm of {operands[0]}"
        case Call(function=function):
            word = ("smaller", "smallest") if function == "min" else ("larger", "largest")
            return f"the {word[len(operands) > 2]} of {listed(operands, 'and')}"


def _clamped(expr: Call) -> Expr | None:
    """The x of `min(1, max(0, x))` and of `max(0, min(1, x))`."""
    match expr:
        case Call(function="min", args=(Number(value=1), Call(function="max", args=(Number(value=0), inner)))):
            return inner
        case Call(function="max", args=(Number(value=0), Call(function="min", args=(Number(value=1), inner)))):
            return inner
    return None
