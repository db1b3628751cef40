"""Evaluates expressions for rows and their candidate items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.catalog import TRUE, UNKNOWN, Catalog, Lists, Term, Truths, by_item_only, gather
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, none
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.language.policy import (
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
    walk,
)
from recpolicy.types import Type

A = TypeVar("A", bound=NDArray[Any])
T = TypeVar("T")

ORDER = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
ARITHMETIC = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}

EVERY_ITEM = None
"""As `items` of a CandidateBatch: every item of the catalog is a candidate of every row."""


def bare(user: Ints) -> Rows:
    """Returns rows of these users without a time, a history or next items."""
    return Rows(user, np.full(len(user), np.nan), none(len(user)), none(len(user)))


class CandidateBatch:
    """Rows, the candidates of each, and what has been computed about them: a shared expression is computed once.

    Item operands have shape [B, C] ([1, items] over the whole catalog), user operands [B, 1], constants ().
    A hole (-1) has some item's values: readers mask with `held`. Where `items` lie place by place in memory (Fortran
    order), so does everything computed from them, and a place is one contiguous run.
    """

    def __init__(self, catalog: Catalog, rows: Rows, items: Codes | None) -> None:
        self.catalog, self.rows, self.items = catalog, rows, items
        self.held: Bools = np.ones((1, catalog.items), np.bool_) if items is None else items >= 0
        """True where a place holds an item, [B, C]."""
        self._memo: dict[object, Any] = {}
        self._by_place: Ints | None = None
        if items is not None and items.flags.f_contiguous:
            self._by_place = np.ascontiguousarray(items.T, np.intp)

    @property
    def shape(self) -> tuple[int, int]:
        """B rows and C candidates each."""
        return len(self.rows), self.catalog.items if self.items is None else self.items.shape[1]

    @property
    def full(self) -> bool:
        """True where no place is a hole."""
        return self.once("full", lambda: bool(self.held.all()))

    def of_items(self, values: A) -> A:
        """Gathers per-item values [items, ...] at the candidates: [B, C, ...], or [1, items, ...] over the catalog.

        `values` may have one row more, for a hole.
        """
        if self.items is None:
            return values[None, : self.catalog.items]  # type: ignore[return-value]
        if self._by_place is None:
            return values[self.items]  # type: ignore[return-value]
        by_place, records = self._by_place, self.catalog.records
        if (name := records.find(values)) is None:
            return values.take(by_place, 0, mode="wrap").swapaxes(0, 1)  # type: ignore[return-value]
        gathered = self.once("records", lambda: records.rows.take(by_place, 0, mode="wrap"))
        return np.ascontiguousarray(gathered[name]).swapaxes(0, 1)  # type: ignore[return-value]

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """Returns the result of `compute`, remembered under `key`; nobody may write to it."""
        if key not in self._memo:
            self._memo[key] = compute()
        return self._memo[key]  # type: ignore[no-any-return]

    def unknown(self, predicate: Term) -> Bools:
        """Finds the places that hold an item for which `predicate` is missing, [B, C]."""
        return self.holds(predicate, sure=False) & ~self.holds(predicate, sure=True) & self.held

    def matches(self, predicate: Term, *, unknown: bool) -> Bools:
        """Finds the places that hold an item for which `predicate` is true (or, if `unknown`, missing), [B, C]."""
        return self.holds(predicate, sure=not unknown) & self.held

    # ---- the three kinds of operand ---------------------------------------------------------------------------------

    def truth(self, term: Term) -> Truths:
        """Evaluates a condition in Kleene's order."""
        return np.add(self.holds(term, sure=True), self.holds(term, sure=False), dtype=np.int8)

    def holds(self, term: Term, *, sure: bool) -> Bools:
        """Finds where a condition is true or, unless `sure`, true or missing."""
        key = (term, sure)
        if key not in self._memo:
            known = self.catalog.known.get(term)
            self._memo[key] = self._holds(term, sure) if known is None else _reaches(self.of_items(known), sure)
        return self._memo[key]  # type: ignore[no-any-return]

    def number(self, term: Term) -> Floats:
        """Evaluates a measured operand; NaN is missing."""
        return self._value(term, self._number)

    def word(self, term: Term) -> Codes:
        """Evaluates a word as its code in the policy's vocabulary; -1 is missing."""
        return self._value(term, self._word)

    def _value(self, term: Term, compute: Callable[[Term], A]) -> A:
        if term not in self._memo:
            known = self.catalog.known.get(term)
            self._memo[term] = compute(term) if known is None else _widened(self.of_items(known))
        return self._memo[term]  # type: ignore[no-any-return]

    def _column(self, node: Column) -> NDArray[Any]:
        values = self.catalog.fields[node.table, node.name]
        assert not isinstance(values, Lists)
        return self._rows_of(node.table, values)

    def _rows_of(self, table: Literal["item", "user"], values: A) -> A:
        return self.of_items(values) if table == "item" else values[self.rows.user][:, None]  # type: ignore[return-value]

    def _holds(self, term: Term, sure: bool) -> Bools:
        match term.node:
            case Truth(value=value):
                return np.array(value)
            case Column() as node:
                return _reaches(self._column(node), sure)
            case Logic(op="and"):
                return self.holds(term.args[0], sure=sure) & self.holds(term.args[1], sure=sure)
            case Logic():
                return self.holds(term.args[0], sure=sure) | self.holds(term.args[1], sure=sure)
            case Not():
                return ~self.holds(term.args[0], sure=not sure)
            case Compare(op="is" | "is not" as op):
                a, b = (self._operand(arg) for arg in term.args)
                return self._settled(a == b if op == "is" else a != b, sure, *term.args)
            case Compare(op=op):
                a, b = (self.number(arg) for arg in term.args)  # no comparison with a missing number, NaN, is true
                return ORDER[op](a, b) if sure else ~ORDER[OPPOSITE[op]](a, b)
            case Among() as node:
                return self._settled(self._among(node, term.args[0]), sure, term.args[0])
            case Contains():
                return self._settled(self._contains(*term.args), sure, *term.args)
            case IsMissing():
                return self._missing(term.args[0])
            case node:
                raise TypeError(f"{type(node).__name__} is not a condition")

    def _settled(self, test: Bools, sure: bool, *operands: Term) -> Bools:
        """Where a test of values is true, corrected for operands that are missing."""
        for operand in operands:
            if not isinstance(operand.node, Number | Word | Truth):
                missing = self._missing(operand)
                test = test & ~missing if sure else test | missing
        return test

    def _number(self, term: Term) -> Floats:
        match term.node:
            case Number(value=value):
                return np.array(value, np.float64)
            case Column() as node:
                return self._column(node)
            case Now():
                return self.rows.now[:, None]
            case Arithmetic(op=op):
                return _arithmetic(op, self.number(term.args[0]), self.number(term.args[1]))
            case Call(function=function):
                return _call(function, [self.number(a) for a in term.args])
            case Percentile(table="user"):
                return self._rows_of("user", self.catalog.user_percentiles[term])
            case Percentile():  # only over the whole catalog: other candidates have it from `known`
                return _percentiles(self.number(term.args[0]))
            case OfHistory(function=of):
                return self._of_history(of, term.args[0])
            case node:
                raise TypeError(f"{type(node).__name__} is not a measured value")

    def _of_history(self, function: Literal["count", "share", "mean"], operand: Term) -> Floats:
        """About each row's history items, [B, 1]."""
        lengths = self.rows.history.lengths
        row = np.repeat(np.arange(len(lengths)), lengths)  # [events]
        of = replace(bare(self.rows.user[row]), now=self.rows.now[row])
        events = CandidateBatch(self.catalog, of, self.rows.history.values[:, None])  # one candidate each: [events, 1]

        def total(values: NDArray[Any]) -> Floats:
            each = np.broadcast_to(values, events.shape)[:, 0].astype(np.float64)
            return np.bincount(row, each, len(lengths)).astype(np.float64)

        with np.errstate(invalid="ignore"):  # 0 / 0: nothing to share or to take the mean of
            match function:
                case "count":
                    out = total(events.matches(operand, unknown=False))
                case "share":
                    out = total(events.matches(operand, unknown=False)) / lengths
                case "mean":
                    values = events.number(operand)
                    out = total(np.where(np.isnan(values), 0.0, values)) / total(~np.isnan(values))
        return out[:, None]

    def _word(self, term: Term) -> Codes:
        match term.node:
            case Word(value=value):
                return np.array(self.catalog.vocabulary[value], np.int32)
            case Column() as node:
                return self._column(node)
            case node:
                raise TypeError(f"{type(node).__name__} is not a word")

    def _missing(self, term: Term) -> Bools:
        """Where an operand is missing."""
        node = term.node
        if node.type.is_measured:
            return np.isnan(self.number(term))
        if node.type.is_word:
            return self.word(term) < 0
        if node.type is Type.BOOL:
            return np.equal(self.truth(term), UNKNOWN)
        if isinstance(node, Column):
            return self._rows_of(node.table, self._lists(node).missing)
        raise TypeError(f"{type(node).__name__} is not a list column")

    def _lists(self, node: Column) -> Lists:
        values = self.catalog.fields[node.table, node.name]
        if not isinstance(values, Lists):
            raise TypeError(f"{node.table}.{node.name} is not a list column")
        return values

    def _operand(self, term: Term) -> NDArray[Any]:
        if term.node.type.is_measured:
            return self.number(term)
        return self.word(term) if term.node.type.is_word else self.truth(term)

    def _among(self, node: Among, operand: Term) -> Bools:
        if node.operand.type.is_measured:
            numbers = [option.value for option in node.options if isinstance(option, Number)]
            return np.isin(self.number(operand), np.array(numbers))
        words = [self.catalog.vocabulary[option.value] for option in node.options if isinstance(option, Word)]
        return np.isin(self.word(operand), np.array(words, np.int32))

    def _contains(self, word: Term, column: Term) -> Bools:
        assert isinstance(column.node, Column)
        codes = self._rows_of(column.node.table, self._lists(column.node).codes)  # [B or 1, C or 1, longest]
        own = self.word(word)
        out = np.zeros(np.broadcast_shapes(codes.shape[:2], own.shape), np.bool_)
        for place in range(codes.shape[2]):  # one comparison a list position keeps the temporaries at [B, C]
            out |= codes[..., place] == own
        return out


def _reaches(truth: Truths, sure: bool) -> Bools:
    return truth >= (TRUE if sure else UNKNOWN)


def with_known(catalog: Catalog, roots: Sequence[Expr]) -> Catalog:
    """Adds to the catalog the percentiles of users, and the value of every largest item-only expression of `roots`.

    Percentiles are those of the whole table, for any rows and candidates.
    """
    of_users = [n for root in roots for n in walk(root) if isinstance(n, Percentile) and n.table == "user"]
    user_percentiles: dict[Term, Floats] = {}
    for node in reversed(of_users):  # inner ones first
        catalog, term = replace(catalog, user_percentiles=user_percentiles), catalog.term(node)
        everybody = CandidateBatch(catalog, bare(np.arange(catalog.users)), np.zeros((catalog.users, 0), np.int32))
        user_percentiles[term] = np.broadcast_to(_percentiles(everybody.number(term.args[0])), (catalog.users, 1))[:, 0]
    catalog = replace(catalog, user_percentiles=user_percentiles)
    batch = CandidateBatch(catalog, bare(np.zeros(0, np.int64)), EVERY_ITEM)
    known: dict[Term, NDArray[Any]] = {}

    def visit(term: Term) -> None:
        if not by_item_only(term.node):
            for arg in term.args:
                visit(arg)
        elif term.node.type is Type.BOOL:
            known[term] = batch.truth(term)[0]
        elif term.node.type.is_measured:
            known[term] = _narrowed(batch.number(term)[0])
        elif term.node.type.is_word:
            known[term] = batch.word(term)[0].astype(np.min_scalar_type(-max(1, len(catalog.vocabulary))))

    for root in roots:
        visit(catalog.term(root))
    return replace(catalog, known=known)


def evaluate(dataset: Dataset, node: Expr) -> NDArray[Any]:
    """Computes an expression over item columns alone, for every item: Kleene's truth values or numbers, [items]."""
    catalog = gather(dataset, (node,))
    batch, term = CandidateBatch(catalog, bare(np.zeros(0, np.int64)), EVERY_ITEM), catalog.term(node)
    values = batch.truth(term) if node.type is Type.BOOL else batch.number(term)
    return np.asarray(np.broadcast_to(values, (1, catalog.items))[0])


def _narrowed(values: Floats) -> NDArray[Any]:
    """The same numbers in half the memory where they fit, as small numbers and whole days do: gathers wait for it."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values, equal_nan=True) else values


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float64) if values.dtype == np.float32 else values


def _percentiles(values: Floats) -> Floats:
    """Share of the known values that are lower, equal ones counting half; any shape, NaN missing."""
    known = np.sort(values[~np.isnan(values)])
    rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
    return np.where(np.isnan(values), np.nan, rank / max(len(known), 1))


def _arithmetic(op: Literal["+", "-", "*", "/"], a: Floats, b: Floats) -> Floats:
    with np.errstate(all="ignore"):  # what overflows or has no value is missing, never a warning
        out = ARITHMETIC[op](a, b)
        return out if np.isfinite(out).all() else np.where(np.isfinite(out), out, np.nan)


def _call(function: Literal["min", "max", "abs", "log"], args: list[Floats]) -> Floats:
    match function:
        case "min" | "max":
            return reduce(np.minimum if function == "min" else np.maximum, args)  # NaN wins
        case "abs":
            return np.abs(args[0])
        case "log":
            positive = args[0] > 0
            return np.where(positive, np.log(np.where(positive, args[0], 1.0)), np.nan)
