"""Finds the format of a table's file and reads it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from recpolicy.errors import UsageError
from recpolicy.tables.reading import delimited, json_lines, parts
from recpolicy.tables.reading.arrow import plain
from recpolicy.tables.reading.table import Format, RawTable

FORMATS: Mapping[str, Format] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl"}
COMPRESSED = (".gz", ".zst", ".bz2", ".lz4")
"""Endings behind that of a text format; Arrow decompresses them while it reads."""
_NAMES: Mapping[Format, str] = {"parquet": "Parquet", "csv": "CSV", "jsonl": "JSONL", "atomic": "a RecBole table"}


def format_of(path: Path) -> Format:
    """Returns the format that the ending of a file name says; RecBole's for an ending that says none."""
    return FORMATS.get((path.with_suffix("") if path.suffix in COMPRESSED else path).suffix, "atomic")


def read(path: Path) -> RawTable:
    """Reads one table: a file, or a folder of Parquet parts.

    Raises UsageError, with the line where there is one, for a file that is empty, broken or not UTF-8.
    """
    kind = "parquet" if path.is_dir() else format_of(path)
    try:
        match kind:
            case "parquet" if path.is_dir():
                whole = parts.Parts(path)
                table = replace(from_arrow(whole.table, path), row_name=whole.row_name)
            case "parquet":
                table = from_arrow(pa.parquet.read_table(path), path)
            case "jsonl":
                table = json_lines.read(path)
            case "csv" | "atomic":
                table = delimited.read(path, kind)
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except (pa.ArrowException, OSError) as e:
        if kind in ("csv", "atomic") and "UTF8" in str(e):
            raise _not_utf8(path) from None
        raise UsageError(f"cannot be read as {_NAMES[kind]}: {str(e).splitlines()[0]}", where=str(path)) from None
    if table.rows == 0:
        raise UsageError("the table is empty", where=str(path), help="it needs at least one row")
    return table


def from_arrow(table: pa.Table, path: Path) -> RawTable:
    """Returns an Arrow table as a table that was read; `path` is its place for messages."""
    columns, unreadable = {}, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in columns or name in unreadable:
            raise UsageError(f'two columns are named "{name}"', where=str(path), help="rename one of them")
        try:
            columns[name] = plain(column)
        except ValueError as error:
            unreadable[name] = str(error)
    return RawTable(path, "parquet", table.num_rows, columns, {}, unreadable=unreadable)


def _not_utf8(path: Path) -> UsageError:
    with pa.input_stream(str(path), compression="detect") as stream:
        data = io.BytesIO(stream.read()).getvalue()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return UsageError(
            f"byte 0x{data[e.start]:02x} is not UTF-8 text",
            where=f"{path}, line {line}",
            help="save the file as UTF-8" + (' (in a spreadsheet: "CSV UTF-8")' if format_of(path) == "csv" else ""),
        )
    return UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8")
