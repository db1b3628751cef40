"""Defines the expressions of the syntax tree."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from recpolicy.language import Node
from recpolicy.span import Span


class Number(Node):
    """`3` or `0.25`, as written."""

    value: float


class Percent(Node):
    """`20%`; `value` is the number before the sign."""

    value: float


class Duration(Node):
    """`90 days`; the unit as written, known or not."""

    value: float
    unit: str


class Date(Node):
    """`2014-01-31`, as written; perhaps no day of the calendar."""

    text: str


class Text(Node):
    """A quoted string, without its quotes."""

    value: str


class Truth(Node):
    """`true` or `false`."""

    value: bool


class Now(Node):
    """`now`."""


class Column(Node):
    """`item.name` or `user.name`."""

    table: Literal["item", "user"]
    name: str


class Name(Node):
    """A bare word: the name of a `let`, or `next_items`."""

    name: str


class Call(Node):
    """`function(arg, ...)`; `head` is the span of the function's name."""

    function: str
    args: tuple[Expr, ...]
    head: Span = field(compare=False)


class Aggregate(Node):
    """`function(arg, ...) of history`: a number about the items the user took before."""

    call: Call


class List(Node):
    """`[a, b]`."""

    items: tuple[Expr, ...]


class Negative(Node):
    """`-x`."""

    operand: Expr


class Arithmetic(Node):
    """`a + b`, `a - b`, `a * b` or `a / b`."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr


class Compare(Node):
    """An ordered comparison."""

    op: Literal["<", "<=", ">", ">="]
    left: Expr
    right: Expr


class Same(Node):
    """`a is b`, or negated `a is not b`."""

    left: Expr
    right: Expr
    negated: bool


class IsMissing(Node):
    """`a is missing`, or negated `a is not missing`."""

    operand: Expr
    negated: bool


class Membership(Node):
    """`a in b`, or negated `a not in b`; `b` is a list literal or a list column."""

    operand: Expr
    container: Expr
    negated: bool


class WithinLast(Node):
    """`date within the last duration`."""

    date: Expr
    duration: Expr


class MoreThanAgo(Node):
    """`date more than duration ago`."""

    date: Expr
    duration: Expr


class Not(Node):
    """`not a`."""

    operand: Expr


class AllOf(Node):
    """`a and b and ...`, two operands or more."""

    operands: tuple[Expr, ...]


class AnyOf(Node):
    """`a or b or ...`, two operands or more."""

    operands: tuple[Expr, ...]


class Ident(Node):
    """The name that a statement defines or changes."""

    text: str


class Unreadable(Node):
    """Takes the place of text with a syntax error that is already reported."""


Leaf: TypeAlias = Number | Percent | Duration | Date | Text | Truth | Now | Column | Name | Unreadable
Operation: TypeAlias = Call | Aggregate | List | Negative | Arithmetic
Condition: TypeAlias = Compare | Same | IsMissing | Membership | WithinLast | MoreThanAgo | Not | AllOf | AnyOf
Expr: TypeAlias = Leaf | Operation | Condition
