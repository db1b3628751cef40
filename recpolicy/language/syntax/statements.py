"""Statements of the syntax tree, and the file that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from recpolicy.errors import Diagnostic
from recpolicy.language.syntax.cases import Test
from recpolicy.language.syntax.expressions import Expr, Ident, Node, Number, Text, Unreadable
from recpolicy.span import Source

# ---- header and definitions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Setting(Node):
    """`key = value` of the header."""

    key: Ident
    value: Text | Number


@dataclass(frozen=True, repr=False)
class Header(Node):
    """`policy "name" { ... }`; the title is Unreadable after a syntax error in it."""

    title: Text | Unreadable
    settings: tuple[Setting, ...]


@dataclass(frozen=True, repr=False)
class Use(Node):
    """`use "house_rules.policy"`: the statements of another file, as if they stood here."""

    path: Text


@dataclass(frozen=True, repr=False)
class Let(Node):
    """`let name = value`."""

    name: Ident
    value: Expr


@dataclass(frozen=True, repr=False)
class Param(Node):
    """`param name = literal`: a value that `--set name=...` replaces."""

    name: Ident
    value: Expr


# ---- parts of rules -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Ramp(Node):
    """`ramp start to end over share of training`: a weight that changes while training."""

    start: Expr
    end: Expr
    over: Expr


@dataclass(frozen=True, repr=False)
class Weight(Node):
    """`weight value`."""

    value: Expr | Ramp


@dataclass(frozen=True, repr=False)
class Hard(Node):
    """`hard` in the place of a weight: the quota cannot be shipped violated."""


@dataclass(frozen=True, repr=False)
class Limit(Node):
    """`limit value`."""

    value: Expr


@dataclass(frozen=True, repr=False)
class OnMissing(Node):
    """`on missing choice`."""

    choice: Ident


@dataclass(frozen=True, repr=False)
class From(Node):
    """`from date`: the rule holds from this day on."""

    date: Expr


@dataclass(frozen=True, repr=False)
class Until(Node):
    """`until date`: the rule holds up to and with this day."""

    date: Expr


@dataclass(frozen=True, repr=False)
class Because(Node):
    """`because "reason"`."""

    reason: Text


Clause: TypeAlias = From | Until | Because
"""What may stand behind any rule, in any order."""


@dataclass(frozen=True, repr=False)
class AtLeast(Node):
    """`at least amount`."""

    amount: Expr


@dataclass(frozen=True, repr=False)
class AtMost(Node):
    """`at most amount`."""

    amount: Expr


@dataclass(frozen=True, repr=False)
class Between(Node):
    """`between low and high`."""

    low: Expr
    high: Expr


@dataclass(frozen=True, repr=False)
class Where(Node):
    """`where predicate`."""

    predicate: Expr


@dataclass(frozen=True, repr=False)
class Per(Node):
    """`per column`."""

    column: Expr


@dataclass(frozen=True, repr=False)
class Distinct(Node):
    """`distinct column`."""

    column: Expr


@dataclass(frozen=True, repr=False)
class InTop(Node):
    """`in top length`: the quota looks at the first places only."""

    length: Expr


@dataclass(frozen=True, repr=False)
class InARow(Node):
    """`in any length places in a row`: the quota looks at every run of so many places."""

    length: Expr


# ---- rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Reward(Node):
    """`reward name weight w = measure`."""

    name: Ident
    weight: Weight
    measure: Expr
    on_missing: OnMissing | None
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class Boost(Node):
    """`boost name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class Bury(Node):
    """`bury name weight w = where limit n`."""

    name: Ident
    weight: Weight
    where: Expr
    limit: Limit | None
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class Quota(Node):
    """`quota name weight w = amount counted window`."""

    name: Ident
    weight: Weight | Hard
    amount: AtLeast | AtMost | Between
    counted: Where | Per | Distinct
    window: InTop | InARow | None
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class Block(Node):
    """`block name = where`."""

    name: Ident
    where: Expr
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class OfBaseline(Node):
    """`share of baseline`: a bound that is a share of the fine-tuned model's own value."""

    share: Expr


@dataclass(frozen=True, repr=False)
class Target(Node):
    """`target name = metric op bound`."""

    name: Ident
    metric: Expr
    op: Literal["<", "<=", ">", ">="]
    bound: Expr | OfBaseline
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, repr=False)
class Reweight(Node):
    """`reward name weight w` without `=`: another weight for a rule, inside `when`."""

    kind: Literal["reward", "boost", "bury", "quota"]
    name: Ident
    weight: Weight


@dataclass(frozen=True, repr=False)
class Override(Node):
    """`override statement`: it takes the place of an earlier one of its name, or of an overlapping branch's weight."""

    statement: Let | Param | Rule | Reweight


@dataclass(frozen=True, repr=False)
class When(Node):
    """`when predicate { ... }`."""

    predicate: Expr
    statements: tuple[Statement, ...]


Rule: TypeAlias = Reward | Boost | Bury | Quota | Block | Target
Statement: TypeAlias = Use | Let | Param | Rule | Reweight | Override | When | Test


@dataclass(frozen=True, repr=False)
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
