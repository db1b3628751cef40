"""Defines the test blocks of the typed policy: what a case gives, and what it expects."""

from __future__ import annotations

from typing import TypeAlias

from recpolicy.language import Node

Value: TypeAlias = float | bool | str | tuple[str, ...] | None
"""A column's value as stored: numbers, dates and durations as float (seconds), None missing."""


class Record(Node):
    """A user or an item: the columns that are stated; the others are missing.

    Two items that state the same `id` are one item.
    """

    values: tuple[tuple[str, Value], ...]


class ExpectValue(Node):
    """The rule's (or the target's metric's) value on the slate, within 5e-4."""

    rule: str
    slate: str
    value: float


class ExpectSatisfied(Node):
    """The slate satisfies the quota, or with `negated` does not."""

    quota: str
    slate: str
    negated: bool


class ExpectBlocked(Node):
    """The slate holds an item that the block (None: any block) hits, or with `negated` none."""

    block: str | None
    slate: str
    negated: bool


class ExpectOrder(Node):
    """The whole reward of the slate `better` is above that of `worse`, by more than 5e-4."""

    better: str
    worse: str


Expect: TypeAlias = ExpectValue | ExpectSatisfied | ExpectBlocked | ExpectOrder


class Case(Node):
    """One user with slates, as a test and one of its cases together give them. `title` is empty outside a case.

    `slates` by name, the one without a name under ""; None is a hole. K is the slate's own length. `now` in seconds.
    """

    title: str
    now: float
    user: Record
    history: tuple[Record, ...]
    next_items: tuple[Record, ...]
    slates: tuple[tuple[str, tuple[Record | None, ...]], ...]
    expects: tuple[Expect, ...]
    waiting: tuple[str, ...] = ()
    """Rules of the case's expectations whose first day is still to come. These expectations are not checked."""


class Test(Node):
    """`test "TITLE" { ... }`: the test itself where it expects something outside its cases, then its cases."""

    __test__ = False  # no test of pytest's

    title: str
    cases: tuple[Case, ...]
