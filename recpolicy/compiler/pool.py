"""Rows and their candidate items in, the value of any expression for every (row, item) out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.catalog import TRUE, UNKNOWN, Catalog, Lists, Truths, by_item_only, walk
from recpolicy.dataset import Rows
from recpolicy.policy import (
    Among,
    Arithmetic,
    Call,
    Column,
    Compare,
    Contains,
    Expr,
    IsMissing,
    Logic,
    Not,
    Now,
    Number,
    OfHistory,
    Percentile,
    Truth,
    Word,
    children,
)
from recpolicy.table import Bools, Codes, Floats, Ints, Ragged
from recpolicy.types import Type

A = TypeVar("A", bound=NDArray[Any])

EVERY_ITEM = None
"""As `items` of a Pool: every item of the catalog is a candidate of every row."""


def bare(user: Ints) -> Rows:
    """Rows of these users without a time, a history or next items."""
    empty = Ragged(np.zeros(len(user) + 1, np.int64), np.zeros(0, np.int32))
    return Rows(user, np.full(len(user), np.nan), empty, empty)


class Pool:
    """Rows, the candidates of each, and what has been computed about them: a shared expression is computed once.

    Item operands have shape [B, C] ([1, items] over the whole catalog), user operands [B, 1], constants ().
    A hole (-1) has some item's values: readers mask with `held`.
    """

    def __init__(self, catalog: Catalog, rows: Rows, items: Codes | None) -> None:
        self.catalog, self.rows, self.items = catalog, rows, items
        self._memo: dict[object, NDArray[Any]] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """B rows and C candidates each."""
        return len(self.rows), self.catalog.items if self.items is None else self.items.shape[1]

    @property
    def held(self) -> Bools:
        """True where a place holds an item, [B, C]."""
        return np.ones((1, self.catalog.items), np.bool_) if self.items is None else self.items >= 0

    def of_items(self, values: A) -> A:
        """Per-item values [items, ...] at the candidates: [B, C, ...], or [1, items, ...] over the catalog.

        `values` may have one row more, for a hole.
        """
        return values[None, : self.catalog.items] if self.items is None else values[self.items]  # type: ignore[return-value]

    def once(self, key: object, compute: Callable[[], A]) -> A:
        """What `compute` gives, kept for the life of the pool under `key`."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]  # type: ignore[return-value]

    def unknown(self, predicate: Expr) -> Bools:
        """Places that hold an item for which `predicate` is missing, [B, C]."""
        return np.equal(self.truth(predicate), UNKNOWN) & self.held

    def matches(self, predicate: Expr, *, unknown: bool) -> Bools:
        """Places that hold an item for which `predicate` is true (or, if `unknown`, missing), [B, C]."""
        truth = self.truth(predicate)
        return (truth >= (UNKNOWN if unknown else TRUE)) & self.held

    # ---- the three kinds of operand ---------------------------------------------------------------------------------

    def truth(self, node: Expr) -> Truths:
        """A condition in Kleene's order."""
        return self._value(node, self._truth)

    def number(self, node: Expr) -> Floats:
        """A measured operand; NaN is missing."""
        return self._value(node, self._number)

    def word(self, node: Expr) -> Ints:
        """A word as its code in the policy's vocabulary; -1 is missing."""
        return self._value(node, self._word)

    def _value(self, node: Expr, compute: Callable[[Expr], A]) -> A:
        if node in self.catalog.known:
            return self.once(node, lambda: self.of_items(self.catalog.known[node]))  # type: ignore[return-value]
        return self.once(node, lambda: compute(node))

    def _column(self, node: Column) -> NDArray[Any]:
        values = self.catalog.fields[node.table, node.name]
        assert not isinstance(values, Lists)
        return self._rows_of(node.table, values)

    def _rows_of(self, table: Literal["item", "user"], values: A) -> A:
        return self.of_items(values) if table == "item" else values[self.rows.user][:, None]  # type: ignore[return-value]

    def _truth(self, node: Expr) -> Truths:
        match node:
            case Truth():
                return np.array(TRUE if node.value else 0, np.int8)
            case Column():
                return self._column(node)
            case Logic():
                join = np.minimum if node.op == "and" else np.maximum
                return join(self.truth(node.left), self.truth(node.right))
            case Not():
                return np.int8(TRUE) - self.truth(node.operand)
            case Compare():
                return self._compare(node)
            case Among():
                return self._among(node)
            case Contains():
                return self._contains(node)
            case IsMissing():
                return np.where(self._missing(node.operand), np.int8(TRUE), np.int8(0))
            case _:
                raise TypeError(f"{type(node).__name__} is not a condition")

    def _number(self, node: Expr) -> Floats:
        match node:
            case Number():
                return np.array(node.value, np.float64)
            case Column():
                return self._column(node)
            case Now():
                return self.rows.now[:, None]
            case Arithmetic():
                return _arithmetic(node.op, self.number(node.left), self.number(node.right))
            case Call():
                return _call(node.function, [self.number(a) for a in node.args])
            case Percentile(table="user"):
                return self._rows_of("user", self.catalog.standings[node])
            case Percentile():  # asked only over the whole catalog: `known` answers for other candidates
                return _percentiles(self.number(node.operand))
            case OfHistory():
                return self._of_history(node)
            case _:
                raise TypeError(f"{type(node).__name__} is not a measured value")

    def _of_history(self, node: OfHistory) -> Floats:
        """About each row's history items, [B, 1]."""
        lengths = self.rows.history.lengths
        row = np.repeat(np.arange(len(lengths)), lengths)  # [events]
        of = replace(bare(self.rows.user[row]), now=self.rows.now[row])
        events = Pool(self.catalog, of, self.rows.history.values[:, None])  # one candidate each: [events, 1]

        def total(values: NDArray[Any]) -> Floats:
            each = np.broadcast_to(values, events.shape)[:, 0].astype(np.float64)
            return np.bincount(row, each, len(lengths)).astype(np.float64)

        with np.errstate(invalid="ignore"):  # 0 / 0: nothing to share or to take the mean of
            match node.function:
                case "count":
                    out = total(events.matches(node.operand, unknown=False))
                case "share":
                    out = total(events.matches(node.operand, unknown=False)) / lengths
                case "mean":
                    values = events.number(node.operand)
                    out = total(np.where(np.isnan(values), 0.0, values)) / total(~np.isnan(values))
        return out[:, None]

    def _word(self, node: Expr) -> Ints:
        match node:
            case Word():
                return np.array(self.catalog.vocabulary[node.value], np.int64)
            case Column():
                return self._column(node)
            case _:
                raise TypeError(f"{type(node).__name__} is not a word")

    def _missing(self, node: Expr) -> Bools:
        if node.type.is_measured:
            return np.isnan(self.number(node))
        if node.type.is_word:
            return self.word(node) < 0
        if node.type is Type.BOOL:
            return np.equal(self.truth(node), UNKNOWN)
        if isinstance(node, Column):
            return self._rows_of(node.table, self._lists(node).missing)
        raise TypeError(f"{type(node).__name__} is not a list column")

    def _lists(self, node: Column) -> Lists:
        values = self.catalog.fields[node.table, node.name]
        if not isinstance(values, Lists):
            raise TypeError(f"{node.table}.{node.name} is not a list column")
        return values

    def _compare(self, node: Compare) -> Truths:
        a: NDArray[Any]
        b: NDArray[Any]
        if node.left.type.is_measured:
            a, b = self.number(node.left), self.number(node.right)
        elif node.left.type.is_word:
            a, b = self.word(node.left), self.word(node.right)
        else:
            a, b = self.truth(node.left), self.truth(node.right)
        match node.op:
            case "is":
                holds = a == b
            case "is not":
                holds = a != b
            case "<":
                holds = a < b
            case "<=":
                holds = a <= b
            case ">":
                holds = a > b
            case ">=":
                holds = a >= b
        return _kleene(holds, self._missing(node.left) | self._missing(node.right))

    def _among(self, node: Among) -> Truths:
        numeric = node.operand.type.is_measured
        operand: NDArray[Any] = self.number(node.operand) if numeric else self.word(node.operand)
        options = [self.number(o) if numeric else self.word(o) for o in node.options]
        return _kleene(np.isin(operand, np.array(options)), self._missing(node.operand))

    def _contains(self, node: Contains) -> Truths:
        lists = self._lists(node.column)
        codes = self._rows_of(node.column.table, lists.codes)  # [B or 1, C or 1, longest]
        word = self.word(node.word)
        holds = np.zeros(np.broadcast_shapes(codes.shape[:2], word.shape), np.bool_)
        for place in range(codes.shape[2]):  # one comparison a list position keeps the temporaries at [B, C]
            holds |= codes[..., place] == word
        return _kleene(holds, self._missing(node.word) | self._missing(node.column))


def with_known(catalog: Catalog, roots: Sequence[Expr]) -> Catalog:
    """The catalog with the percentiles of users, and with every largest item-only expression of `roots` evaluated once.

    Percentiles are those of the whole table, whoever the rows and candidates are.
    """
    of_users = [n for root in roots for n in walk(root) if isinstance(n, Percentile) and n.table == "user"]
    for node in reversed(of_users):  # inner ones first
        everybody = Pool(catalog, bare(np.arange(catalog.users)), np.zeros((catalog.users, 0), np.int32))
        found = np.broadcast_to(_percentiles(everybody.number(node.operand)), (catalog.users, 1))[:, 0]
        catalog = replace(catalog, standings={**catalog.standings, node: found})
    pool = Pool(catalog, bare(np.zeros(0, np.int64)), EVERY_ITEM)
    known: dict[Expr, NDArray[Any]] = {}

    def visit(node: Expr) -> None:
        if not by_item_only(node):
            for child in children(node):
                visit(child)
        elif node.type is Type.BOOL:
            known[node] = pool.truth(node)[0]
        elif node.type.is_measured:
            known[node] = pool.number(node)[0]
        elif node.type.is_word:
            known[node] = pool.word(node)[0]

    for root in roots:
        visit(root)
    return replace(catalog, known=known)


def _percentiles(values: Floats) -> Floats:
    """Share of the known values that are lower, equal ones counting half; any shape, NaN missing."""
    known = np.sort(values[~np.isnan(values)])
    rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
    return np.where(np.isnan(values), np.nan, rank / max(len(known), 1))


def _kleene(holds: Bools, missing: Bools) -> Truths:
    return np.where(missing, np.int8(UNKNOWN), np.where(holds, np.int8(TRUE), np.int8(0)))


def _arithmetic(op: Literal["+", "-", "*", "/"], a: Floats, b: Floats) -> Floats:
    with np.errstate(all="ignore"):  # what overflows or has no value is missing, never a warning
        match op:
            case "+":
                out = a + b
            case "-":
                out = a - b
            case "*":
                out = a * b
            case "/":
                out = a / b
        return np.where(np.isfinite(out), out, np.nan)


def _call(function: Literal["min", "max", "abs", "log"], args: list[Floats]) -> Floats:
    match function:
        case "min" | "max":
            join = np.minimum if function == "min" else np.maximum
            out = args[0]
            for arg in args[1:]:
                out = join(out, arg)  # NaN wins
            return out
        case "abs":
            return np.abs(args[0])
        case "log":
            positive = args[0] > 0
            return np.where(positive, np.log(np.where(positive, args[0], 1.0)), np.nan)
