"""Defines the `test` blocks of the syntax tree."""

from __future__ import annotations

from typing import TypeAlias

from recpolicy.language import Node
from recpolicy.language.syntax.expressions import Expr, Ident, Text


class Unknown(Node):
    """`missing` as a field's value."""


class Ago(Node):
    """`10 days ago` as a field's value."""

    duration: Expr


class Field(Node):
    """`column: value` of a record."""

    column: Ident
    value: Expr | Unknown | Ago


class Record(Node):
    """`{column: value, ...}`: a user, or an item of which the columns not named are missing."""

    fields: tuple[Field, ...]


class Hole(Node):
    """`hole` as an item: a place that holds nothing."""


class Records(Node):
    """`[item, ...]`."""

    items: tuple[Record | Hole, ...]


class Given(Node):
    """`user {...}`, `history [...]`, `next_items [...]`, `now DATE`, `slate [...]` or `slate NAME [...]`."""

    what: Ident
    name: Ident | None
    value: Record | Records | Expr


class ExpectValue(Node):
    """`expect rule = value` or `expect rule of slate = value`."""

    rule: Ident
    slate: Ident | None
    value: Expr


class ExpectState(Node):
    """`expect subject is state`, with `of slate` or `not`: `satisfied` of a quota, `blocked` of a slate or a block."""

    subject: Ident
    slate: Ident | None
    state: Ident
    negated: bool


class ExpectOrder(Node):
    """`expect one above other`: of two named slates."""

    better: Ident
    worse: Ident


Expect: TypeAlias = ExpectValue | ExpectState | ExpectOrder


class Case(Node):
    """`case "..." { ... }` of a test: it takes what it does not give from the test."""

    title: Text
    parts: tuple[Given | Expect, ...]


class Test(Node):
    """`test "..." { ... }`."""

    __test__ = False  # no test of pytest's

    title: Text
    parts: tuple[Given | Expect | Case, ...]
