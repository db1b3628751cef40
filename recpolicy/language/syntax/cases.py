"""`test` blocks of the syntax tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from recpolicy.language.syntax.expressions import Expr, Ident, Node, Text


@dataclass(frozen=True, repr=False)
class Unknown(Node):
    """`missing` as a field's value."""


@dataclass(frozen=True, repr=False)
class Ago(Node):
    """`10 days ago` as a field's value."""

    duration: Expr


@dataclass(frozen=True, repr=False)
class Field(Node):
    """`column: value` of a record."""

    column: Ident
    value: Expr | Unknown | Ago


@dataclass(frozen=True, repr=False)
class Record(Node):
    """`{column: value, ...}`: a user, or an item of which the columns not named are missing."""

    fields: tuple[Field, ...]


@dataclass(frozen=True, repr=False)
class Hole(Node):
    """`hole` as an item: a place that holds nothing."""


@dataclass(frozen=True, repr=False)
class Records(Node):
    """`[item, ...]`."""

    items: tuple[Record | Hole, ...]


@dataclass(frozen=True, repr=False)
class Given(Node):
    """`user {...}`, `history [...]`, `next_items [...]`, `now DATE`, `slate [...]` or `slate NAME [...]`."""

    what: Ident
    name: Ident | None
    value: Record | Records | Expr


@dataclass(frozen=True, repr=False)
class ExpectValue(Node):
    """`expect rule = value` or `expect rule of slate = value`."""

    rule: Ident
    slate: Ident | None
    value: Expr


@dataclass(frozen=True, repr=False)
class ExpectState(Node):
    """`expect subject is state`, with `of slate` or `not`: `satisfied` of a quota, `blocked` of a slate or a block."""

    subject: Ident
    slate: Ident | None
    state: Ident
    negated: bool


@dataclass(frozen=True, repr=False)
class ExpectOrder(Node):
    """`expect one above other`: of two named slates."""

    better: Ident
    worse: Ident


Expect: TypeAlias = ExpectValue | ExpectState | ExpectOrder


@dataclass(frozen=True, repr=False)
class Case(Node):
    """`case "..." { ... }` of a test: what the test says holds unless the case says otherwise."""

    title: Text
    parts: tuple[Given | Expect, ...]


@dataclass(frozen=True, repr=False)
class Test(Node):
    """`test "..." { ... }`."""

    __test__ = False  # no test of pytest's

    title: Text
    parts: tuple[Given | Expect | Case, ...]
