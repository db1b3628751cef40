"""Expressions of the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from recpolicy.span import Span


@dataclass(frozen=True)
class Node:
    """A place in the source; every node of the tree has one."""

    span: Span = field(compare=False)


@dataclass(frozen=True)
class Number(Node):
    """`3` or `0.25`, as written."""

    value: float


@dataclass(frozen=True)
class Percent(Node):
    """`20%`; `value` is the number before the sign."""

    value: float


@dataclass(frozen=True)
class Duration(Node):
    """`90 days`; the unit as written, known or not."""

    value: float
    unit: str


@dataclass(frozen=True)
class Date(Node):
    """`2014-01-31`, as written; perhaps no day of the calendar."""

    text: str


@dataclass(frozen=True)
class Text(Node):
    """A quoted string, without its quotes."""

    value: str


@dataclass(frozen=True)
class Truth(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True)
class Now(Node):
    """`now`."""


@dataclass(frozen=True)
class Column(Node):
    """`item.name` or `user.name`."""

    table: Literal["item", "user"]
    name: str


@dataclass(frozen=True)
class Name(Node):
    """A bare word: the name of a `let`, or `next_items`."""

    name: str


@dataclass(frozen=True)
class Call(Node):
    """`function(arg, ...)`; `head` is the span of the function's name."""

    function: str
    args: tuple[Expr, ...]
    head: Span = field(compare=False)


@dataclass(frozen=True)
class Aggregate(Node):
    """`function(arg, ...) of history`: a number about the items the user took before."""

    call: Call


@dataclass(frozen=True)
class List(Node):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Negative(Node):
    """`-x`."""

    operand: Expr


@dataclass(frozen=True)
class Arithmetic(Node):
    """`a + b` and its like."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Compare(Node):
    """An ordered comparison."""

    op: Literal["<", "<=", ">", ">="]
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Same(Node):
    """`a is b`, or negated `a is not b`."""

    left: Expr
    right: Expr
    negated: bool


@dataclass(frozen=True)
class IsMissing(Node):
    """`a is missing`, or negated `a is not missing`."""

    operand: Expr
    negated: bool


@dataclass(frozen=True)
class Membership(Node):
    """`a in b`, or negated `a not in b`; `b` is a list literal or a list column."""

    operand: Expr
    container: Expr
    negated: bool


@dataclass(frozen=True)
class WithinLast(Node):
    """`date within the last duration`."""

    date: Expr
    duration: Expr


@dataclass(frozen=True)
class MoreThanAgo(Node):
    """`date more than duration ago`."""

    date: Expr
    duration: Expr


@dataclass(frozen=True)
class Not(Node):
    """`not a`."""

    operand: Expr


@dataclass(frozen=True)
class AllOf(Node):
    """`a and b and ...`, two operands or more."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class AnyOf(Node):
    """`a or b or ...`, two operands or more."""

    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Ident(Node):
    """The name that a statement defines or changes."""

    text: str


@dataclass(frozen=True)
class Unreadable(Node):
    """Stands where the text had a syntax error that is already reported."""


Leaf: TypeAlias = Number | Percent | Duration | Date | Text | Truth | Now | Column | Name | Unreadable
Operation: TypeAlias = Call | Aggregate | List | Negative | Arithmetic
Condition: TypeAlias = Compare | Same | IsMissing | Membership | WithinLast | MoreThanAgo | Not | AllOf | AnyOf
Expr: TypeAlias = Leaf | Operation | Condition
