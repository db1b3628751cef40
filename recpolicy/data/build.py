"""Builds a `Dataset` from raw tables and a schema; values that do not fit are reported by file, row and column."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.data.digest import with_digest
from recpolicy.data.interactions import read_log
from recpolicy.data.split import popularity
from recpolicy.dataset.columns import ColumnData, Floats, NumberColumn, Table, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.errors.near import near
from recpolicy.schema import ColumnSpec, Derived, Role, Schema
from recpolicy.tables.problems import Problems, shown
from recpolicy.tables.reading import Array, RawTable
from recpolicy.tables.source import RawData
from recpolicy.tables.values.columns import column
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import coded, keys
from recpolicy.types import Type


def build(raw: RawData, schema: Schema, *, seed: int, notes: tuple[str, ...] = ()) -> Dataset:
    """Builds a data set: converts the columns of the schema, computes the derived ones and orders the interactions.

    `seed` orders interactions of one user at the same time. Raises one UsageError with every value that does not fit.
    """
    problems = Problems()
    items, item_ids = _table(raw.items, schema.item, "item", problems)
    users, user_ids = _table(raw.users, schema.user, "user", problems)
    log = read_log(raw, schema.interactions, user_ids, item_ids, seed, problems)
    problems.stop()
    taken = log.taken
    if schema.now is None and np.isnan(taken.time).any():
        schema, note = _with_now(schema, items, taken.time)
        notes = (*notes, note)
    user = np.repeat(np.arange(len(user_ids)), np.diff(taken.start))
    for name, spec in schema.item.items():
        if spec.role is Role.POPULARITY:
            items[name] = popularity(user, taken.item, len(item_ids))
        elif spec.derived is Derived.CREATOR_SINCE:
            items[name] = _creator_since(schema, items)
    unread = (*_unread(raw.items, schema.item, notes), *_unread(raw.users, schema.user, notes))
    notes = (*notes, *unread, *problems.notes, *log.notes)
    return with_digest(
        Dataset(
            name=schema.name,
            schema=schema,
            items=Table(len(item_ids), items),
            users=Table(len(user_ids), users),
            item_ids=tuple(item_ids.to_pylist()),
            user_ids=tuple(user_ids.to_pylist()),
            start=taken.start,
            item=taken.item,
            time=taken.time,
            notes=notes,
            digest="",
            weight=taken.weight,
            shown=log.shown if schema.interactions.positive else None,
        )
    )


def _table(
    raw: RawTable, specs: Mapping[str, ColumnSpec], of: str, problems: Problems
) -> tuple[dict[str, ColumnData], Array]:
    """The stored columns of one table and its ids; all ids are null where the table has no id column."""
    columns: dict[str, ColumnData] = {}
    ids = pa.nulls(raw.rows, pa.string())
    for name, spec in specs.items():
        if spec.source is None:
            continue
        if spec.source in raw.unreadable:
            reason = raw.unreadable[spec.source]
            help = "write all its values alike: texts, numbers, dates or lists of words, and null where one is missing"
            problems.add(f"column `{spec.source}` cannot be read: {reason}", str(raw.path), help)
        elif spec.source not in raw.columns:
            close = near(spec.source, raw.columns)
            help = (f"did you mean `{close}`? " if close else "") + "columns: " + ", ".join(raw.names)
            problems.add(f"no column `{spec.source}`, which {of}.{name} is read from", str(raw.path), help)
        elif spec.role is Role.ID:
            ids = keys(raw, spec.source, problems)
            _unique(raw, spec.source, ids, problems)
            columns[name] = coded(spec.type, ids)
        else:
            columns[name] = column(raw, spec, problems)
    return columns, ids


def _unique(raw: RawTable, name: str, ids: Array, problems: Problems) -> None:
    first = np.asarray(pc.index_in(ids, ids).fill_null(-1))  # [rows], where each id stands first
    again = np.flatnonzero((first != np.arange(len(ids))) & np.asarray(ids.is_valid()))

    def message(row: int) -> str:
        return f"the id {shown(ids[row].as_py())} stands here again; first: {raw.row_name(int(first[row]))}"

    Reporter(raw, name, problems).wrong(again, message, "keep one row for each id")


def _unread(raw: RawTable, specs: Mapping[str, ColumnSpec], notes: tuple[str, ...]) -> tuple[str, ...]:
    """A note on the columns of the file that the schema does not name, unless there are `notes` on them already."""
    named = {spec.source for spec in specs.values()}
    noted = " ".join(note for note in notes if note.startswith(f"{raw.path.name}:"))
    unread = [name for name in raw.names if name not in named and name != "popularity" and f"`{name}`" not in noted]
    return (f"{raw.path.name}: not in the schema, so not read: {', '.join(unread)}.",) if unread else ()


def _creator_since(schema: Schema, items: Mapping[str, ColumnData]) -> NumberColumn:
    """The first known `published` of each item's creator, [items]; missing where the creator or all dates are."""
    creator, published = (schema.with_role(role) for role in (Role.CREATOR, Role.PUBLISHED))
    assert creator and published
    creators, dates = items[creator.name], items[published.name]
    assert isinstance(creators, WordColumn) and isinstance(dates, NumberColumn)
    first = np.full(len(creators.words) + 1, np.nan)
    np.fmin.at(first, creators.values, dates.values)
    first[-1] = np.nan  # the place of items without a creator
    return NumberColumn(Type.DATE, first[creators.values])


def _with_now(schema: Schema, items: Mapping[str, ColumnData], time: Floats) -> tuple[Schema, str]:
    """The schema with a `now` for events without a time stamp, and the note on where it comes from."""
    published = schema.with_role(Role.PUBLISHED)
    dates = items[published.name].values if published else None
    if not np.isnan(time).all():
        now, why = float(np.nanmin(time)), "the first time stamp; events without one lie before it"
    elif isinstance(dates, np.ndarray) and not np.isnan(dates).all():
        now, why = float(np.nanmax(dates)), "the latest date published in the catalog"
    else:
        now, why = 0.0, "the data holds no date at all"
    day = datetime.datetime.fromtimestamp(now, datetime.UTC).date() if now else "1970-01-01"
    share = np.isnan(time).mean()
    note = f"{share:.0%} of the interactions have no time stamp; their `now` is {day} ({why}); schema.toml can set it."
    return replace(schema, now=now), note
