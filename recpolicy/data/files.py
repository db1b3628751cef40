"""Reads the file of a table (Parquet, CSV, JSONL or RecBole atomic) as Arrow arrays."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recpolicy.data.problems import shown
from recpolicy.errors import UsageError

Format: TypeAlias = Literal["parquet", "csv", "jsonl", "atomic"]
Array: TypeAlias = pa.Array

FORMATS: Mapping[str, Format] = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl"}
_NAMES: Mapping[Format, str] = {"parquet": "Parquet", "csv": "CSV", "jsonl": "JSONL", "atomic": "a RecBole table"}


@dataclass(frozen=True)
class RawTable:
    """One file as read, without conversion.

    Text formats (CSV, atomic) hold strings only, with null for an empty field; Parquet and JSONL have their own types.
    `hints` are the types in a RecBole header (`token`, `token_seq`, `float`, `float_seq`).
    """

    path: Path
    format: Format
    rows: int
    columns: Mapping[str, Array]
    hints: Mapping[str, str]

    @property
    def is_text(self) -> bool:
        """True where every value is a text, so that numbers and dates have to be recognised."""
        return self.format in ("csv", "atomic")

    def row_name(self, row: int) -> str:
        """Describes a row (from 0) for a message: a line number in text files, a row number from 1 in Parquet."""
        return f"row {row + 1}" if self.format == "parquet" else f"line {_line(self.path, self.format, row)}"

    def place(self, row: int, column: str) -> str:
        """Describes file, row (from 0) and column for a message."""
        return f"{self.path}, {self.row_name(row)}, column {column}"


def is_text(kind: pa.DataType) -> bool:
    """Checks for a type of strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Checks for a type of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def read(path: Path) -> RawTable:
    """Reads one table.

    Raises UsageError, with the line where there is one, for a file that is empty, broken or not UTF-8.
    """
    kind = FORMATS.get(path.suffix, "atomic")
    hints: dict[str, str] = {}
    try:
        match kind:
            case "parquet":
                table = pa.parquet.read_table(path)
            case "jsonl":
                table = _read_jsonl(path)
            case "csv" | "atomic":
                table, hints = _read_delimited(path, kind)
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except (pa.ArrowException, OSError) as e:
        if kind in ("csv", "atomic") and "UTF8" in str(e):
            raise _not_utf8(path) from None
        raise UsageError(f"cannot be read as {_NAMES[kind]}: {str(e).splitlines()[0]}", where=str(path)) from None
    if table.num_rows == 0:
        raise UsageError("the table is empty", where=str(path), help="it needs at least one row")
    columns = {name: _plain(table.column(i)) for i, name in enumerate(table.column_names)}
    return RawTable(path, kind, table.num_rows, columns, hints)


def _plain(column: pa.ChunkedArray) -> Array:
    """One array without dictionary encoding."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # older and newer pyarrow disagree on what combine_chunks gives
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


# ---- comma- and tab-separated text ----------------------------------------------------------------------------------


def _read_delimited(path: Path, kind: Format) -> tuple[pa.Table, dict[str, str]]:
    header = next(_records(path, kind), None)
    if header is None:
        raise UsageError("the file is empty", where=str(path), help="it needs a line of column names and rows below it")
    names, hints = header[1], {}
    if kind == "atomic":
        hints = {name: hint for name, _, hint in (cell.partition(":") for cell in names)}
        names = [cell.partition(":")[0] for cell in names]
    if repeated := [n for i, n in enumerate(names) if n in names[:i]]:
        raise UsageError(f'two columns are named "{repeated[0]}"', where=f"{path}, line 1", help="rename one of them")
    ragged: list[object] = []

    def refuse(row: object) -> Literal["skip"]:
        ragged.append(row)
        return "skip"

    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(column_names=names, skip_rows=0, use_threads=False),
        parse_options=pa.csv.ParseOptions(
            delimiter="," if kind == "csv" else "\t",
            quote_char='"' if kind == "csv" else False,
            newlines_in_values=kind == "csv",
            invalid_row_handler=refuse,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={n: pa.string() for n in names}, strings_can_be_null=True, null_values=[""]
        ),
    )
    if ragged:
        line, cells = next((n, c) for n, c in _records(path, kind) if len(c) != len(names))
        raise UsageError(
            f"{len(cells)} field{'' if len(cells) == 1 else 's'} where the header has {len(names)}"
            + (f" (and {len(ragged) - 1:,} more)" if len(ragged) > 1 else ""),
            where=f"{path}, line {line}",
            help="quote fields that hold a comma" if kind == "csv" else "fields are parted by one tab",
        )
    return table.slice(1), hints  # the header was read as a row, to name the columns ourselves


def _records(path: Path, kind: Format) -> Iterator[tuple[int, list[str]]]:
    """The non-blank records of a delimited file, each with the line it begins on."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines) if kind == "csv" else csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        line = 1
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1


def _line(path: Path, kind: Format, row: int) -> int:
    """The line of data row `row` (from 0). The file is read again for it, but only where a message needs it."""
    if kind == "jsonl":
        return next(islice(_objects(path), row, None))[0]
    return next(islice(_records(path, kind), row + 1, None))[0]  # the first record is the header


def _not_utf8(path: Path) -> UsageError:
    data = path.read_bytes()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        return UsageError(
            f"byte 0x{data[e.start]:02x} is not UTF-8 text",
            where=f"{path}, line {line}",
            help="save the file as UTF-8" + (' (in a spreadsheet: "CSV UTF-8")' if path.suffix == ".csv" else ""),
        )
    return UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8")


# ---- one JSON object a line -----------------------------------------------------------------------------------------


def _objects(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line


def json_object(line: str, where: str, help: str) -> dict[str, Any]:
    """Parses a line of JSON. Raises UsageError where it is not valid, or holds no object; then with `help`."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"not valid JSON: {error.msg} at character {error.pos + 1}", where=where) from None
    if not isinstance(record, dict):
        raise UsageError("not a JSON object", where=where, help=help)
    return record


def _read_jsonl(path: Path) -> pa.Table:
    columns: dict[str, list[object]] = {}
    for rows, (number, line) in enumerate(_objects(path)):
        record = json_object(line, f"{path}, line {number}", 'each line is one row: {"item_id": "1", ...}')
        for name in record:
            if name not in columns:
                columns[name] = [None] * rows
        for name, values in columns.items():
            values.append(record.get(name))
    return pa.table({name: _typed(path, name, values) for name, values in columns.items()})


def _typed(path: Path, name: str, values: list[object]) -> Array:
    """One JSON column as an Arrow array; all its values must be of one kind."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:  # JSON has one kind of number
        return pa.array(values, pa.float64(), from_pandas=True)
    if len(kinds) > 1:
        first = next(v for v in values if v is not None)
        row = next(i for i, v in enumerate(values) if v is not None and type(v) is not type(first))
        raise UsageError(
            f"{shown(values[row])} is not of the same kind as {shown(first)} in the rows before",
            where=f"{path}, line {_line(path, 'jsonl', row)}, column {name}",
            help="write all values of a column alike, and null where one is missing",
        )
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError) as e:
        raise UsageError(f"cannot be read: {str(e).splitlines()[0]}", where=f"{path}, column {name}") from None
