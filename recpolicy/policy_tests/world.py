"""Builds a small data set from the case of a test, with the row and the slates to evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np

from recpolicy.dataset.columns import (
    ColumnData,
    ListColumn,
    NumberColumn,
    Ragged,
    Table,
    TruthColumn,
    WordColumn,
)
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language import policy
from recpolicy.schema import ColumnSpec, Derived, Role, Schema
from recpolicy.types import Type

_Stated = Mapping[int, Mapping[str, policy.Value]]
"""By row of a table: the columns that a case states."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set that cases are added to, and the row of each id in it."""

    dataset: Dataset
    items: Mapping[str, int] = field(init=False)
    users: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", {id: row for row, id in enumerate(self.dataset.item_ids)})
        object.__setattr__(self, "users", {id: row for row, id in enumerate(self.dataset.user_ids)})


@dataclass(frozen=True, eq=False)
class World:
    """The input of the rules: one row, and the slates of the case by name, each [1, its own length]."""

    dataset: Dataset
    rows: Rows
    slates: Mapping[str, Slates]


def world(case: policy.Case, schema: Schema, data: Data | None) -> World:
    """Builds the world of the case by itself, or added to `data`. Columns that are not stated are missing."""
    places = [item for _, slate in case.slates for item in slate]
    items = [*case.history, *case.next_items, *(item for item in places if item is not None)]
    base = data if data is not None else Data(_crowd(schema, items))
    # a catalog is never empty: without any item it gets one about which nothing is known
    at, stated = _rows_of(items or [policy.Record(case.span, ())], _id_of(schema.item), base.items)
    (user,), person = _rows_of([case.user], _id_of(schema.user), base.users)
    rows = iter(at)
    history, future = ([next(rows) for _ in part] for part in (case.history, case.next_items))
    slates = {
        name: Slates(np.array([[-1 if item is None else next(rows) for item in slate]], np.int32))
        for name, slate in case.slates
    }
    row = Rows(np.array([user], np.int64), np.array([case.now]), Ragged.of([history]), Ragged.of([future]))
    return World(_with(base.dataset, schema, stated, person), row, slates)


def _crowd(schema: Schema, items: Iterable[policy.Record]) -> Dataset:
    """No items, and users with one event each: as many as the largest stated popularity, at least 2."""
    spec = schema.with_role(Role.POPULARITY)
    known = [dict(item.values).get(spec.name) for item in items] if spec is not None else []
    users = max([2, *(int(p) for p in known if isinstance(p, float))])
    return Dataset(
        name="test",
        schema=schema,
        items=Table(0, {}),
        users=Table(users, {}),
        item_ids=(),
        user_ids=("",) * users,
        start=np.arange(users + 1, dtype=np.int64),
        item=np.zeros(users, np.int32),
        time=np.full(users, np.nan),
        notes=(),
        digest="",
    )


def _rows_of(
    records: Sequence[policy.Record], key: ColumnSpec | None, known: Mapping[str, int]
) -> tuple[list[int], dict[int, dict[str, policy.Value]]]:
    """The row of each record, and what is stated of each of these rows; records of one id share a row."""
    own: dict[object, int] = {}
    at: list[int] = []
    stated: dict[int, dict[str, policy.Value]] = {}
    size = len(known)
    for record in records:
        values = dict(record.values)
        id = values.get(key.name) if key is not None else None
        row = None if id is None else known.get(str(id), own.get(id))
        if row is None:
            row, size = size, size + 1
            own[id] = row
        stated.setdefault(row, {}).update(values)
        at.append(row)
    return at, stated


def _id_of(columns: Mapping[str, ColumnSpec]) -> ColumnSpec | None:
    return next((c for c in columns.values() if c.role is Role.ID), None)


def _with(base: Dataset, schema: Schema, items: _Stated, users: _Stated) -> Dataset:
    """The data set with the stated rows written into it; rows past its end are new."""
    item_table, user_table = _table(base.items, schema.item, items), _table(base.users, schema.user, users)
    grown = user_table.rows - base.users.rows
    return Dataset(
        name=base.name,
        schema=schema,
        items=_with_creators(item_table, schema, items),
        users=user_table,
        item_ids=(*base.item_ids, *(f"test item {i}" for i in range(item_table.rows - base.items.rows))),
        user_ids=(*base.user_ids, *(f"test user {i}" for i in range(grown))),
        start=np.append(base.start, np.full(grown, base.start[-1])),
        item=base.item,
        time=base.time,
        notes=base.notes,
        digest="",
    )


def _table(base: Table, specs: Mapping[str, ColumnSpec], stated: _Stated) -> Table:
    rows = max(base.rows, *(row + 1 for row in stated))
    columns = {}
    for name, spec in specs.items():
        if spec.derived is not Derived.AGE:  # an age is computed from `published` wherever it is used
            values = {row: record[name] for row, record in stated.items() if name in record}
            columns[name] = _column(base.columns.get(name, _missing(spec.type, base.rows)), rows, values)
    return Table(rows, columns)


def _missing(kind: Type, rows: int) -> ColumnData:
    """A column without a value."""
    if kind is Type.LIST:
        return ListColumn(kind, Ragged.of([()] * rows), (), np.ones(rows, np.bool_))
    if kind.is_word:
        return WordColumn(kind, np.full(rows, -1, np.int32), ())
    if kind is Type.BOOL:
        return TruthColumn(kind, np.ones(rows, np.int8))
    return NumberColumn(kind, np.full(rows, np.nan))


def _column(base: ColumnData, rows: int, stated: Mapping[int, policy.Value]) -> ColumnData:
    """`base` grown to `rows` by missing values, then the stated ones written over it."""
    at, new = np.array([*stated], np.int64), rows - len(base.values)
    match base:
        case NumberColumn(kind, numbers):
            grown = np.append(numbers, np.full(new, np.nan))
            grown[at] = [np.nan if v is None else v for v in stated.values()]
            return NumberColumn(kind, grown)
        case TruthColumn(kind, truths):
            truth = np.append(truths, np.ones(new, np.int8))
            truth[at] = [1 if v is None else 2 * bool(v) for v in stated.values()]
            return TruthColumn(kind, truth)
        case WordColumn(kind, codes, words):
            known = _codes(words, (v for v in stated.values() if isinstance(v, str)))
            code = np.append(codes, np.full(new, -1, np.int32))
            code[at] = [known[v] if isinstance(v, str) else -1 for v in stated.values()]
            return WordColumn(kind, code, tuple(known))
        case ListColumn(kind, lists, words, missing):
            known = _codes(words, (w for v in stated.values() if isinstance(v, tuple) for w in v))
            own = Ragged.of([[known[w] for w in v] if isinstance(v, tuple) else [] for v in stated.values()] + [[]])
            # the stated lists follow those of `base`, then an empty one: each row takes its own
            offsets = np.append(lists.offsets, lists.offsets[-1] + own.offsets[1:])
            both = Ragged(offsets, np.append(lists.values, own.values))
            order = np.append(np.arange(len(lists)), np.full(new, len(both) - 1))
            order[at] = len(lists) + np.arange(len(at))
            absent = np.append(missing, np.ones(new, np.bool_))
            absent[at] = [v is None for v in stated.values()]
            return ListColumn(kind, both.take(order), tuple(known), absent)
        case _:
            assert_never(base)


def _codes(words: Sequence[str], more: Iterable[str]) -> dict[str, int]:
    """The code of every word; new words of `more` follow those of the column."""
    codes = {word: code for code, word in enumerate(words)}
    for word in more:
        codes.setdefault(word, len(codes))
    return codes


def _with_creators(table: Table, schema: Schema, stated: _Stated) -> Table:
    """`creator_since` of the stated items that leave it out: the first known date of their creator in the table."""
    derived = next((c for c in schema.item.values() if c.derived is Derived.CREATOR_SINCE), None)
    creator, published = schema.with_role(Role.CREATOR), schema.with_role(Role.PUBLISHED)
    if derived is None or creator is None or published is None:
        return table
    who, when, since = (table.columns[spec.name] for spec in (creator, published, derived))
    assert isinstance(who, WordColumn) and isinstance(when, NumberColumn) and isinstance(since, NumberColumn)
    left_out = [row for row, values in stated.items() if derived.name not in values]
    dates = since.values.copy()
    dates[left_out] = np.nan
    first = np.fmin(dates, when.values)
    for row in left_out:
        if who.values[row] >= 0:
            dates[row] = np.fmin.reduce(first[who.values == who.values[row]])
    return Table(table.rows, {**table.columns, derived.name: NumberColumn(Type.DATE, dates)})
