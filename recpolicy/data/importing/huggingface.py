"""Reads folders that the Hugging Face library `datasets` wrote with `save_to_disk`; the library is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from recpolicy.data.importing.found import Found
from recpolicy.data.importing.keys import standard
from recpolicy.errors import UsageError
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading import RawTable
from recpolicy.tables.reading.files import from_arrow
from recpolicy.tables.source import NAMES
from recpolicy.tables.values.words import keys

_OF_ITEMS = (
    "title", "name", "movie_title", "book_title", "product_title", "creator", "creator_id", "author", "author_id",
    "artist", "artist_id", "director", "brand", "store", "genres", "genre", "categories", "category", "tags", "topics",
    "published", "published_at", "release_date", "release_year", "year", "price", "language", "description",
)  # fmt: skip
"""Names of columns that say something of the item, where they stand beside the events."""
_OF_USERS = ("gender", "age", "occupation", "zip_code", "country", "city")


def matches(folder: Path) -> bool:
    """Checks for a data set, several splits, or a folder of data sets named like the tables."""
    whole = (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()
    return whole or (folder / "interactions" / "state.json").is_file()


def load(folder: Path) -> Found:
    """Reads the tables: data sets or splits named items, users and interactions, else splits of interactions alone.

    Of the latter, columns about items and users become their tables. Raises UsageError for a file that cannot be read.
    """
    parts = [path.name for path in sorted(folder.iterdir()) if (path / "state.json").is_file()]
    if (folder / "state.json").is_file():
        return _split_up(folder, [folder], "Hugging Face data set")
    if "interactions" in parts:
        tables = {name: _read(folder / name) for name in NAMES if name in parts}
        other = sorted(set(parts) - set(NAMES))
        notes = (f"Not read: the splits {', '.join(other)}.",) if other else ()
        kind = f"Hugging Face data sets {', '.join(tables)}"
        return Found(kind, tables.get("items"), tables.get("users"), tables["interactions"], notes)
    splits = [name for name in _splits(folder) if name in parts]
    if not splits:
        raise UsageError("none of its splits is here", where=str(folder), help="copy the whole folder")
    found = _split_up(folder, [folder / name for name in splits], f"Hugging Face data set, splits {', '.join(splits)}")
    if len(splits) > 1:
        note = f"The splits {', '.join(splits)} are put together: recpolicy splits by time itself."
        found = replace(found, notes=(note, *found.notes))
    return found


def _splits(folder: Path) -> list[str]:
    return [str(name) for name in _json(folder / "dataset_dict.json").get("splits", [])]


def _read(folder: Path) -> RawTable:
    return _table([folder], folder)


def _table(folders: list[Path], path: Path) -> RawTable:
    """The rows of one or more data sets. Raises UsageError for columns that differ."""
    tables = [_rows(folder) for folder in folders]
    for folder, table in zip(folders, tables, strict=True):
        if set(table.column_names) != set(tables[0].column_names):
            help = f"{folders[0].name} has {', '.join(tables[0].column_names)}"
            raise UsageError("this split has other columns", where=str(folder), help=help)
    table = from_arrow(pa.concat_tables(tables, promote_options="permissive"), path)
    if not table.rows:
        raise UsageError("the table is empty", where=str(path), help="it needs at least one row")
    return table


def _rows(folder: Path) -> pa.Table:
    """The rows of one data set, with the names of classes instead of their numbers."""
    state = _json(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        help = "call flatten_indices() on the data set and save it again"
        raise UsageError("the data set is a selection that was not written out", where=str(folder), help=help)
    tables = []
    for entry in state.get("_data_files", []):
        path = folder / str(entry["filename"])
        try:
            with pa.memory_map(str(path)) as file:
                tables.append(pa.ipc.open_stream(file).read_all())
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise UsageError(f"cannot be read as Arrow: {reason}", where=str(path)) from None
    if not tables:
        raise UsageError("no data files are named here", where=str(folder / "state.json"))
    table = pa.concat_tables(tables)
    features = _json(folder / "dataset_info.json").get("features") or {}
    for name, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and name in table.column_names:
            at, words = table.column_names.index(name), pa.array(feature.get("names") or [], pa.string())
            column = table.column(name)
            inside = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(words)))
            known = pc.if_else(inside, column, pa.scalar(None, column.type))
            table = table.set_column(at, name, pc.take(words, known))
    return table


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path), help="save the data set again") from None
    return value if isinstance(value, dict) else {}


# ---- interactions alone ---------------------------------------------------------------------------------------------


def _split_up(folder: Path, splits: list[Path], kind: str) -> Found:
    """Makes tables of items and users from the columns of the events that are about them."""
    found = standard(Found(kind, None, None, _table(splits, folder / "interactions")))
    log = found.interactions
    origins: dict[str, str] = {}
    items, log = _own(log, "item", _OF_ITEMS, origins)
    users, log = _own(log, "user", _OF_USERS, origins)
    return replace(found, items=items, users=users, interactions=log, origins=origins)


def _own(log: RawTable, of: str, names: tuple[str, ...], origins: dict[str, str]) -> tuple[RawTable | None, RawTable]:
    """The table of items or users from the columns about them, and the events without these; None without any."""
    key = f"{of}_id"
    columns = [name for name in log.columns if name != key and (name in names or name.startswith(f"{of}_"))]
    if key not in log.columns or not columns:
        return None, log
    ids = keys(log, key, Problems())
    first = _first_rows(ids)
    kept = {key: log.columns[key].take(first)} | dict(_taken(log, of, columns, first))
    origins |= {f"{of}s.{name}": f"The value in the first event of each {of}" for name in kept if name != key}
    left = {name: values for name, values in log.columns.items() if name not in columns}
    table = RawTable(log.path.with_name(f"{of}s"), "parquet", len(first), kept, {})
    return table, replace(log, columns=left)


def _taken(log: RawTable, of: str, columns: list[str], first: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    for name in columns:
        yield name.removeprefix(f"{of}_"), log.columns[name].take(first)


def _first_rows(ids: pa.Array) -> pa.Array:
    """The row where each id stands first."""
    return pc.index_in(pc.unique(ids.drop_null()), value_set=ids)
