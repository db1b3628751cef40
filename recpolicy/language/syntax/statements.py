"""Defines the statements of the syntax tree, and the file that holds them."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from recpolicy.errors import Diagnostic
from recpolicy.language import Node
from recpolicy.language.syntax.cases import Test
from recpolicy.language.syntax.expressions import Expr, Ident, Number, Text, Unreadable
from recpolicy.span import Source

# ---- header and definitions -----------------------------------------------------------------------------------------


class Setting(Node):
    """`key = value` of the header."""

    key: Ident
    value: Text | Number


class Header(Node):
    """`policy "name" { ... }`; the title is Unreadable after a syntax error in it."""

    title: Text | Unreadable
    settings: tuple[Setting, ...]


class Use(Node):
    """`use "house_rules.policy"`: the statements of another file, as if they stood here."""

    path: Text


class Let(Node):
    """`let name = value`."""

    name: Ident
    value: Expr


class Param(Node):
    """`param name = literal`: a value that `--set name=...` replaces."""

    name: Ident
    value: Expr


# ---- parts of rules -------------------------------------------------------------------------------------------------


class Ramp(Node):
    """`ramp start to end over share of training`: a weight that changes while training."""

    start: Expr
    end: Expr
    over: Expr


class Weight(Node):
    """`weight value`."""

    value: Expr | Ramp


class Hard(Node):
    """`hard` instead of a weight: the quota cannot be shipped violated."""


class Limit(Node):
    """`limit value`."""

    value: Expr


class OnMissing(Node):
    """`on missing choice`."""

    choice: Ident


class From(Node):
    """`from date`: the rule holds from this day on."""

    date: Expr


class Until(Node):
    """`until date`: the rule holds up to and with this day."""

    date: Expr


class Because(Node):
    """`because "reason"`."""

    reason: Text


Clause: TypeAlias = From | Until | Because
"""Clauses that any rule may have, in any order."""


class AtLeast(Node):
    """`at least amount`."""

    amount: Expr


class AtMost(Node):
    """`at most amount`."""

    amount: Expr


class Between(Node):
    """`between low and high`."""

    low: Expr
    high: Expr


class Where(Node):
    """`where predicate`."""

    predicate: Expr


class Per(Node):
    """`per column`."""

    column: Expr


class Distinct(Node):
    """`distinct column`."""

    column: Expr


class InTop(Node):
    """`in top length`: the quota looks at the first places only."""

    length: Expr


class InARow(Node):
    """`in any length places in a row`: the quota looks at every run of so many places."""

    length: Expr


# ---- rules ----------------------------------------------------------------------------------------------------------


class Reward(Node):
    """`reward name weight w = measure`."""

    name: Ident
    weight: Weight
    measure: Expr
    on_missing: OnMissing | None
    clauses: tuple[Clause, ...] = ()


class Boost(Node):
    """`boost name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None
    clauses: tuple[Clause, ...] = ()


class Bury(Node):
    """`bury name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None
    clauses: tuple[Clause, ...] = ()


class Quota(Node):
    """`quota name weight w = amount counted window`."""

    name: Ident
    weight: Weight | Hard
    amount: AtLeast | AtMost | Between
    counted: Where | Per | Distinct
    window: InTop | InARow | None
    clauses: tuple[Clause, ...] = ()


class Block(Node):
    """`block name = where`."""

    name: Ident
    where: Expr
    clauses: tuple[Clause, ...] = ()


class OfBaseline(Node):
    """`share of baseline`: a bound that is a share of the fine-tuned model's own value."""

    share: Expr


class Target(Node):
    """`target name = metric op bound`."""

    name: Ident
    metric: Expr
    op: Literal["<", "<=", ">", ">="]
    bound: Expr | OfBaseline
    clauses: tuple[Clause, ...] = ()


class Reweight(Node):
    """`reward name weight w` without `=`: another weight for a rule, inside `when`."""

    kind: Literal["reward", "boost", "bury", "quota"]
    name: Ident
    weight: Weight


class Override(Node):
    """`override statement`: it replaces an earlier one of its name, or the weight of an overlapping branch."""

    statement: Let | Param | Rule | Reweight


class When(Node):
    """`when predicate { ... }`."""

    predicate: Expr
    statements: tuple[Statement, ...]


Rule: TypeAlias = Reward | Boost | Bury | Quota | Block | Target
Statement: TypeAlias = Use | Let | Param | Rule | Reweight | Override | When | Test


class File(Node):
    """One file, as much of it as could be read.

    `problems` are its syntax errors. `unread` are the names that statements with such an error would have defined
    (None among them: a name that could not be read either), so that the use of one is not reported as well.
    """

    source: Source = field(compare=False)
    header: Header | None
    statements: tuple[Statement, ...]
    problems: tuple[Diagnostic, ...] = ()
    unread: frozenset[str | None] = frozenset()
