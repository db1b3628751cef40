"""Defines the expressions of the typed policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Literal, TypeAlias, assert_never

from recpolicy.language import Node
from recpolicy.types import Type


class Number(Node):
    """A literal of a measured type: a ratio as a fraction, a duration in seconds, a date in seconds since 1970."""

    value: float
    type: Type


class Truth(Node):
    """`true` or `false`."""

    value: bool
    type: Type = field(default=Type.BOOL, init=False)


class Word(Node):
    """A string literal, compared with a category or text column."""

    value: str
    type: Type = field(default=Type.CATEGORY, init=False)


class Column(Node):
    """`item.name` or `user.name`; missing values propagate."""

    table: Literal["item", "user"]
    name: str
    type: Type


class Now(Node):
    """The row's own time: that of the user's last history event."""

    type: Type = field(default=Type.DATE, init=False)


class Arithmetic(Node):
    """`+ - * /` on measured operands; x / 0 is missing. `type` is the result's."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr
    type: Type


class Call(Node):
    """`min(a, b, ...)`, `max(a, b, ...)`, `abs(a)`, `log(a)` (natural; of 0 or less it is missing)."""

    function: Literal["min", "max", "abs", "log"]
    args: tuple[Expr, ...]
    type: Type


class Compare(Node):
    """An ordered comparison of measured operands, or `is` / `is not` of any two operands of one type.

    Words compare by text also across columns (`item.language is user.language`).
    """

    op: Literal["<", "<=", ">", ">=", "is", "is not"]
    left: Expr
    right: Expr
    type: Type = field(default=Type.BOOL, init=False)


class Among(Node):
    """`x in ["a", "b"]`: x is a word or a number, options are literals. Missing when x is."""

    operand: Expr
    options: tuple[Number | Word, ...]
    type: Type = field(default=Type.BOOL, init=False)


class Contains(Node):
    """`"Drama" in item.genres`: the list column holds the word (a literal or a word column). Missing when either is."""

    word: Expr
    column: Column
    type: Type = field(default=Type.BOOL, init=False)


class IsMissing(Node):
    """`x is missing`; never missing itself (`is not missing` is `Not(IsMissing(x))`)."""

    operand: Expr
    type: Type = field(default=Type.BOOL, init=False)


class Logic(Node):
    """Three-valued `and` / `or` (Kleene)."""

    op: Literal["and", "or"]
    left: Expr
    right: Expr
    type: Type = field(default=Type.BOOL, init=False)


class Not(Node):
    """Three-valued `not`."""

    operand: Expr
    type: Type = field(default=Type.BOOL, init=False)


class Percentile(Node):
    """`percentile(x)`: the share of known values of x in its table that are lower, equal ones counting half.

    `operand` is measured and names columns of one table, `table`, and nothing else (no `now`, no history). A ratio in
    (0, 1); missing where x is.
    """

    operand: Expr
    table: Literal["item", "user"]
    type: Type = field(default=Type.RATIO, init=False)


class OfHistory(Node):
    """`count(p) of history`, `share(p) of history`, `mean(x) of history`: about the items the user took before.

    Inside `operand`, `item` is each of those items in turn; it holds no other OfHistory. `count` (INT): events for
    which p is true (`count()` has the operand Truth(True)). `share` (RATIO): that over all events; missing of an empty
    history. `mean` (x's own type, INT becoming FLOAT): mean of the known values of x; missing where none is known.
    It depends on the user only, so `when` may use it.
    """

    function: Literal["count", "share", "mean"]
    operand: Expr
    type: Type


Expr: TypeAlias = (
    Number
    | Truth
    | Word
    | Column
    | Now
    | Arithmetic
    | Call
    | Compare
    | Among
    | Contains
    | IsMissing
    | Logic
    | Not
    | Percentile
    | OfHistory
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """Returns the operands of an expression; the options of an Among do not count."""
    match expr:
        case Number() | Truth() | Word() | Column() | Now():
            return ()
        case Arithmetic() | Compare() | Logic():
            return expr.left, expr.right
        case Call():
            return expr.args
        case Contains():
            return expr.word, expr.column
        case Among() | IsMissing() | Not() | Percentile() | OfHistory():
            return (expr.operand,)
        case _:
            assert_never(expr)


def walk(node: Expr) -> Iterator[Expr]:
    """Yields the expression and everything in it, outermost first."""
    todo = [node]
    while todo:
        expr = todo.pop()
        yield expr
        todo += reversed(children(expr))
