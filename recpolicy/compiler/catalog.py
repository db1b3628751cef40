"""Gathers from a training view the arrays that the expressions of a policy need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.records import SEPARATE, Records
from recpolicy.dataset.columns import (
    Bools,
    Codes,
    ColumnData,
    Floats,
    ListColumn,
    NumberColumn,
    Table,
    TruthColumn,
    WordColumn,
)
from recpolicy.dataset.rows import Dataset
from recpolicy.language.policy import Among, Column, Expr, Now, OfHistory, Word, children, walk

Truths: TypeAlias = NDArray[np.int8]
"""Kleene's order: 0 false, 1 missing, 2 true; `and` is the minimum, `or` the maximum, `not x` is 2 - x."""

TRUE, UNKNOWN = 2, 1


@dataclass(frozen=True, eq=False)
class Lists:
    """A list column with its words as codes of the whole policy's vocabulary."""

    codes: Codes  # [rows, longest], -2 past a row's end
    missing: Bools  # [rows]


Field: TypeAlias = Floats | Truths | Codes | Lists
"""A column by its type: measured (NaN missing), bool (Kleene), word (code, -1 missing), list."""


@dataclass(frozen=True, eq=False)
class Term:
    """An expression as compiled: equal expressions are one object, which is the key of their value."""

    node: Expr
    args: tuple[Term, ...]
    """Its operands, those of `children`."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """The columns a policy names, and the value of every expression that depends on the item alone."""

    items: int
    users: int
    fields: Mapping[tuple[Literal["item", "user"], str], Field]
    vocabulary: Mapping[str, int]
    """Words of every named column and every literal: equal text has equal codes across columns."""
    known: Mapping[Term, NDArray[Any]] = field(default_factory=dict)
    """[items] each, in the smallest type that holds them."""
    user_percentiles: Mapping[Term, Floats] = field(default_factory=dict)
    """The percentiles of user columns, [users] each."""
    terms: dict[Expr, Term] = field(default_factory=dict)
    records: Records = SEPARATE
    """The values of an item that whole slates read, side by side."""

    def term(self, node: Expr) -> Term:
        """Returns the compiled form of an expression over the columns named here."""
        if node not in self.terms:
            self.terms[node] = Term(node, tuple(self.term(child) for child in children(node)))
        return self.terms[node]


NOTHING = Catalog(0, 0, {}, {})
"""The catalog of a batch in which no expression is evaluated."""


def gather(dataset: Dataset, expressions: Iterable[Expr]) -> Catalog:
    """Gathers the columns and the vocabulary that `expressions` need; nothing is evaluated yet."""
    vocabulary: dict[str, int] = {}
    fields: dict[tuple[Literal["item", "user"], str], Field] = {}
    for node in (n for root in expressions for n in walk(root)):
        match node:
            case Word():
                vocabulary.setdefault(node.value, len(vocabulary))
            case Among():
                for option in (option for option in node.options if isinstance(option, Word)):
                    vocabulary.setdefault(option.value, len(vocabulary))
            case Column() if (node.table, node.name) not in fields:
                table = dataset.items if node.table == "item" else dataset.users
                fields[node.table, node.name] = _field(table.columns[node.name], vocabulary)
            case _:
                pass
    return Catalog(dataset.items.rows, dataset.users.rows, fields, vocabulary)


def by_item_only(node: Expr) -> bool:
    """Checks whether the value depends on the item and on nothing else."""
    leaves = [n for n in walk(node) if isinstance(n, Column | Now | OfHistory)]
    return bool(leaves) and all(isinstance(n, Column) and n.table == "item" for n in leaves)


def _field(column: ColumnData, vocabulary: dict[str, int]) -> Field:
    match column:
        case NumberColumn() | TruthColumn():
            return column.values
        case WordColumn():
            return _interned(column.words, vocabulary, missing=-1)[column.values]
        case ListColumn():
            lists = padded(column, len(column.words))
            return Lists(_interned(column.words, vocabulary, missing=-2)[lists], column.missing)
        case _:
            assert_never(column)


def _interned(words: Sequence[str], vocabulary: dict[str, int], *, missing: int) -> Codes:
    """Codes of the column's own words in `vocabulary`, then `missing`, where both -1 and the pad code point."""
    return np.array([*(vocabulary.setdefault(w, len(vocabulary)) for w in words), missing], np.int32)


def padded(column: ListColumn, pad: int) -> Codes:
    """Returns a list column as a rectangle [rows, longest list], `pad` past each list's end."""
    lengths = column.values.lengths
    out = np.full((len(lengths), max(1, int(lengths.max(initial=0)))), pad, np.int32)
    out[np.arange(out.shape[1]) < lengths[:, None]] = column.values.values
    return out


def with_users(catalog: Catalog, users: Table) -> Catalog:
    """Returns the catalog with other users; it must rank no user column (`user_percentiles`)."""
    vocabulary = dict(catalog.vocabulary)
    fields = {
        (table, name): _field(users.columns[name], vocabulary) if table == "user" else held
        for (table, name), held in catalog.fields.items()
    }
    return replace(catalog, users=users.rows, fields=fields, vocabulary=vocabulary)
