"""Expressions of the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from recpolicy.span import Span


@dataclass(frozen=True, repr=False)
class Node:
    """A place in the source; every node of the tree has one.

    One `__repr__` serves all: to generate one for each class would take a tenth of what `recpolicy check` takes.
    """

    span: Span = field(compare=False)

    def __repr__(self) -> str:
        parts = (f"{part.name}={getattr(self, part.name)!r}" for part in fields(self) if part.name != "span")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, repr=False)
class Number(Node):
    """`3` or `0.25`, as written."""

    value: float


@dataclass(frozen=True, repr=False)
class Percent(Node):
    """`20%`; `value` is the number before the sign."""

    value: float


@dataclass(frozen=True, repr=False)
class Duration(Node):
    """`90 days`; the unit as written, known or not."""

    value: float
    unit: str


@dataclass(frozen=True, repr=False)
class Date(Node):
    """`2014-01-31`, as written; perhaps no day of the calendar."""

    text: str


@dataclass(frozen=True, repr=False)
class Text(Node):
    """A quoted string, without its quotes."""

    value: str


@dataclass(frozen=True, repr=False)
class Truth(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, repr=False)
class Now(Node):
    """`now`."""


@dataclass(frozen=True, repr=False)
class Column(Node):
    """`item.name` or `user.name`."""

    table: Literal["item", "user"]
    name: str


@dataclass(frozen=True, repr=False)
class Name(Node):
    """A bare word: the name of a `let`, or `next_items`."""

    name: str


@dataclass(frozen=True, repr=False)
class Call(Node):
    """`function(arg, ...)`; `head` is the span of the function's name."""

    function: str
    args: tuple[Expr, ...]
    head: Span = field(compare=False)


@dataclass(frozen=True, repr=False)
class Aggregate(Node):
    """`function(arg, ...) of history`: a number about the items the user took before."""

    call: Call


@dataclass(frozen=True, repr=False)
class List(Node):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, repr=False)
class Negative(Node):
    """`-x`."""

    operand: Expr


@dataclass(frozen=True, repr=False)
class Arithmetic(Node):
    """`a + b` and its like."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr


@dataclass(frozen=True, repr=False)
class Compare(Node):
    """An ordered comparison."""

    op: Literal["<", "<=", ">", ">="]
    left: Expr
    right: Expr


@dataclass(frozen=True, repr=False)
class Same(Node):
    """`a is b`, or negated `a is not b`."""

    left: Expr
    right: Expr
    negated: bool


@dataclass(frozen=True, repr=False)
class IsMissing(Node):
    """`a is missing`, or negated `a is not missing`."""

    operand: Expr
    negated: bool


@dataclass(frozen=True, repr=False)
class Membership(Node):
    """`a in b`, or negated `a not in b`; `b` is a list literal or a list column."""

    operand: Expr
    container: Expr
    negated: bool


@dataclass(frozen=True, repr=False)
class WithinLast(Node):
    """`date within the last duration`."""

    date: Expr
    duration: Expr


@dataclass(frozen=True, repr=False)
class MoreThanAgo(Node):
    """`date more than duration ago`."""

    date: Expr
    duration: Expr


@dataclass(frozen=True, repr=False)
class Not(Node):
    """`not a`."""

    operand: Expr


@dataclass(frozen=True, repr=False)
class AllOf(Node):
    """`a and b and ...`, two operands or more."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, repr=False)
class AnyOf(Node):
    """`a or b or ...`, two operands or more."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True, repr=False)
class Ident(Node):
    """The name that a statement defines or changes."""

    text: str


@dataclass(frozen=True, repr=False)
class Unreadable(Node):
    """Stands where the text had a syntax error that is already reported."""


Leaf: TypeAlias = Number | Percent | Duration | Date | Text | Truth | Now | Column | Name | Unreadable
Operation: TypeAlias = Call | Aggregate | List | Negative | Arithmetic
Condition: TypeAlias = Compare | Same | IsMissing | Membership | WithinLast | MoreThanAgo | Not | AllOf | AnyOf
Expr: TypeAlias = Leaf | Operation | Condition
