"""Leaves out rows that cannot count, says how many, and makes the tables of items and users that a source lacks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.data.build import build
from recpolicy.data.importing.found import Found
from recpolicy.data.interactions import ORDER_NAMES, TIME_NAMES
from recpolicy.dataset.columns import Bools
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.schema import ColumnSpec, InteractionColumns, Role, Schema
from recpolicy.tables import infer
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading import Array, RawTable, is_text
from recpolicy.tables.source import RawData
from recpolicy.tables.values.words import keys, look_up, stated


@dataclass(frozen=True)
class Clean:
    """Tables that fit together, and notes on what was left out and made."""

    raw: RawData
    notes: tuple[str, ...]


def cleaned(found: Found) -> Clean:
    """Leaves out events without a user, an item or a time, rows without an id and those whose id stood before.

    Raises UsageError where a column of ids is absent, and where nothing remains.
    """
    names = found.schema.interactions if found.schema else InteractionColumns()
    notes = list(found.notes)
    log = found.interactions
    for given in (found.items, found.users, log):
        if given is not None:
            left_out = given.unreadable.items()
            notes += [f"{given.path.name}: left out the column `{name}`: {why}." for name, why in left_out]
    columns = {of: _required(log, name, of) for of, name in (("user", names.user), ("item", names.item))}
    for of, name in columns.items():
        log = _kept(log, _present(keys(log, name, Problems())), "interaction", f"without {_a(of)}", notes)
    time, order = names.time or _usual(log, TIME_NAMES), names.order or _usual(log, ORDER_NAMES)
    if time is not None and time in log.columns and order is None:
        known = _known(log.columns[time])
        if known.any():
            log = _kept(log, known, "interaction", "without a time", notes)
    tables = {}
    for of, table, specs in (
        ("item", found.items, found.schema.item if found.schema else {}),
        ("user", found.users, found.schema.user if found.schema else {}),
    ):
        id = next((spec for spec in specs.values() if spec.role is Role.ID), None)
        tables[of] = _made(log, columns[of], of, id, notes) if table is None else _once(table, of, id, notes)
        ids = keys(tables[of], _id(tables[of], of, id), Problems())
        known = look_up(keys(log, columns[of], Problems()), ids) >= 0
        log = _kept(log, known, "interaction", f"of {of}s that {tables[of].path.name} does not have", notes)
    return Clean(RawData(tables["item"], tables["user"], log), tuple(notes))


def checked(clean: Clean, schema: Schema | None, *, name: str) -> Dataset:
    """Builds the data set `name` of clean tables; infers the schema where there is none.

    Raises UsageError for data that cannot be used, by the files and rows of the source.
    """
    notes: tuple[str, ...] = ()
    if schema is None:
        schema, notes = infer.schema(clean.raw, name=name)
    return build(clean.raw, schema, seed=0, notes=notes)


def _once(table: RawTable, of: str, id: ColumnSpec | None, notes: list[str]) -> RawTable:
    """The table with each id once, and no row without."""
    name = _id(table, of, id)
    table = _kept(table, _present(keys(table, name, Problems())), of, "without an id", notes)
    ids = keys(table, name, Problems())
    first = np.asarray(pc.index_in(ids, value_set=ids)) == np.arange(len(ids))
    return _kept(table, first, of, "whose id stood before", notes)


def _made(log: RawTable, column: str, of: str, id: ColumnSpec | None, notes: list[str]) -> RawTable:
    """A table of the users or items that the interactions name."""
    ids = pc.unique(keys(log, column, Problems()))
    notes.append(f"No table of {of}s: made from the interactions, with {len(ids):,} ids and nothing else.")
    name = id.source if id is not None and id.source else f"{of}_id"
    return RawTable(log.path.with_name(f"{of}s"), "parquet", len(ids), {name: ids}, {})


def _kept(table: RawTable, rows: Bools, noun: str, which: str, notes: list[str]) -> RawTable:
    """Some rows of a table, and a note on the others. Raises UsageError where none remains."""
    if rows.all():
        return table
    left_out = int((~rows).sum())
    what = f"{left_out:,} {noun}{'s' * (left_out > 1)} {which}"
    at = np.flatnonzero(~rows)[0]
    if not rows.any():
        help = "are these the right files, and are ids written alike in all of them?"
        raise UsageError(f"no {noun} remains: left out {what}", where=str(table.path), help=help)
    notes.append(f"Left out {what} (the first: {table.path.name}, {table.row_name(int(at))}).")
    where = np.flatnonzero(rows)
    mask = pa.array(rows)
    columns = {name: values.filter(mask) for name, values in table.columns.items()}
    return replace(table, rows=len(where), columns=columns, row_name=lambda row: table.row_name(int(where[row])))


def _required(log: RawTable, name: str, of: str) -> str:
    if name not in log.columns:
        help = f'rename it to {of}_id, or say which in a schema.toml: [interactions] {of} = "..."'
        message = f"no column says which {of}; columns: {', '.join(log.names)}"
        raise UsageError(message, where=str(log.path), help=help)
    return name


def _id(table: RawTable, of: str, id: ColumnSpec | None) -> str:
    """The column of ids."""
    names = (id.source,) if id is not None and id.source else (f"{of}_id", "id")
    if (name := _usual(table, names)) is None:
        entry = 'id = { column = "...", type = "text", role = "id" }'
        help = f"rename it to {of}_id, or say which in a schema.toml: {entry}"
        raise UsageError(f"no column `{names[0]}` among {', '.join(table.names)}", where=str(table.path), help=help)
    return name


def _usual(table: RawTable, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _present(ids: Array) -> Bools:
    return np.asarray(ids.is_valid())


def _known(values: Array) -> Bools:
    """The rows with a time."""
    if is_text(values.type):
        return _present(stated(values))
    missing = pc.is_null(values, nan_is_null=True)
    return ~np.asarray(missing)


def _a(of: str) -> str:
    return f"an {of}" if of == "item" else f"a {of}"
