"""The syntax tree: what the parser makes of a policy file, names not yet resolved and types not yet known.

Every class stands for the grammar rule of the same name (`AtLeast` for `at_least`). Spans do not count in comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from recpolicy.errors import Diagnostic
from recpolicy.span import Source, Span


@dataclass(frozen=True)
class Node:
    """A place in the source; every node of the tree has one."""

    span: Span = field(compare=False)


# ---- expressions ----------------------------------------------------------------------------------------------------


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
class Unreadable(Node):
    """Stands where the text had a syntax error that is already reported."""


Leaf: TypeAlias = Number | Percent | Duration | Date | Text | Truth | Now | Column | Name | Unreadable
Operation: TypeAlias = Call | List | Negative | Arithmetic
Condition: TypeAlias = Compare | Same | IsMissing | Membership | WithinLast | MoreThanAgo | Not | AllOf | AnyOf
Expr: TypeAlias = Leaf | Operation | Condition

# ---- statements -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ident(Node):
    """The name that a statement defines or changes."""

    text: str


@dataclass(frozen=True)
class Setting(Node):
    """`key = value` of the header."""

    key: Ident
    value: Text | Number


@dataclass(frozen=True)
class Header(Node):
    """`policy "name" { ... }`; the title is Unreadable after a syntax error in it."""

    title: Text | Unreadable
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Let(Node):
    """`let name = value`."""

    name: Ident
    value: Expr


@dataclass(frozen=True)
class Weight(Node):
    """`weight value`."""

    value: Expr


@dataclass(frozen=True)
class Limit(Node):
    """`limit value`."""

    value: Expr


@dataclass(frozen=True)
class OnMissing(Node):
    """`on missing choice`."""

    choice: Ident


@dataclass(frozen=True)
class Reward(Node):
    """`reward name weight w = measure`."""

    name: Ident
    weight: Weight
    measure: Expr
    on_missing: OnMissing | None


@dataclass(frozen=True)
class Boost(Node):
    """`boost name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None


@dataclass(frozen=True)
class Bury(Node):
    """`bury name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None


@dataclass(frozen=True)
class AtLeast(Node):
    """`at least amount`."""

    amount: Expr


@dataclass(frozen=True)
class AtMost(Node):
    """`at most amount`."""

    amount: Expr


@dataclass(frozen=True)
class Between(Node):
    """`between low and high`."""

    low: Expr
    high: Expr


@dataclass(frozen=True)
class Where(Node):
    """`where predicate`."""

    predicate: Expr


@dataclass(frozen=True)
class Per(Node):
    """`per column`."""

    column: Expr


@dataclass(frozen=True)
class Distinct(Node):
    """`distinct column`."""

    column: Expr


@dataclass(frozen=True)
class Quota(Node):
    """`quota name weight w = amount counted`."""

    name: Ident
    weight: Weight
    amount: AtLeast | AtMost | Between
    counted: Where | Per | Distinct


@dataclass(frozen=True)
class Block(Node):
    """`block name = where`."""

    name: Ident
    where: Expr


@dataclass(frozen=True)
class Reweight(Node):
    """`reward name weight w` without `=`: another weight for a rule, inside `when`."""

    kind: Literal["reward", "boost", "bury", "quota"]
    name: Ident
    weight: Weight


@dataclass(frozen=True)
class When(Node):
    """`when predicate { ... }`."""

    predicate: Expr
    statements: tuple[Statement, ...]


Statement: TypeAlias = Let | Reward | Boost | Bury | Quota | Block | When | Reweight


@dataclass(frozen=True)
class File(Node):
    """One file as far as it could be read.

    `problems` are its syntax errors. `unread` are the names that statements with such an error would have defined
    (None among them: a name that could not be read either), so that using one is not reported a second time.
    """

    source: Source = field(compare=False)
    header: Header | None
    statements: tuple[Statement, ...]
    problems: tuple[Diagnostic, ...] = ()
    unread: frozenset[str | None] = frozenset()


def nodes(node: Node) -> list[Node]:
    """The nodes directly inside `node`, in the order of the text."""
    found: list[Node] = []
    for part in fields(node):
        value = getattr(node, part.name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            found += [inner for inner in value if isinstance(inner, Node)]
    return found
