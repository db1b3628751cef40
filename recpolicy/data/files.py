"""A table's file (Parquet, CSV, JSONL or RecBole atomic) in, its columns as Arrow arrays out."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

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
    """One file as read, nothing converted.

    Text formats (CSV, atomic) hold strings only, with null for an empty field; Parquet and JSONL hold their own types.
    `hints` are the types that a RecBole header states (`token`, `token_seq`, `float`, `float_seq`).
    """

    path: Path
    format: Format
    rows: int
    columns: Mapping[str, Array]
    hints: Mapping[str, str]

    @property
    def is_text(self) -> bool:
        """True where every value was written as text, so numbers and dates have to be recognised."""
        return self.format in ("csv", "atomic")

    def row_name(self, row: int) -> str:
        """Row `row` (from 0) as a person finds it: a line number in text files, a row number from 1 in Parquet."""
        return f"row {row + 1}" if self.format == "parquet" else f"line {_line(self.path, self.format, row)}"

    def place(self, row: int, column: str) -> str:
        """File, row and column for a message."""
        return f"{self.path}, {self.row_name(row)}, column {column}"


def read(path: Path) -> RawTable:
    """Read one table.

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
    cells = header[1]
    names = [c.partition(":")[0] for c in cells] if kind == "atomic" else cells
    hints = dict(zip(names, (c.partition(":")[2] for c in cells), strict=True)) if kind == "atomic" else {}
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
    """The line of data row `row` (from 0); read again only when a message needs it."""
    if kind == "jsonl":
        numbers = (number for number, _ in _objects(path))
    else:
        numbers = (number for number, _ in _records(path, kind))
        next(numbers)
    return next(number for at, number in enumerate(numbers) if at == row)


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


def _read_jsonl(path: Path) -> pa.Table:
    columns: dict[str, list[object]] = {}
    for rows, (number, line) in enumerate(_objects(path)):
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as e:
            raise UsageError(f"not valid JSON: {e.msg} at character {e.pos + 1}", where=where) from None
        if not isinstance(record, dict):
            raise UsageError("not a JSON object", where=where, help='each line is one row: {"item_id": "1", ...}')
        for name in record:
            if name not in columns:
                columns[name] = [None] * rows
        for name, values in columns.items():
            values.append(record.get(name))
    return pa.table({name: _typed(path, name, values) for name, values in columns.items()})


def _typed(path: Path, name: str, values: list[object]) -> Array:
    """One JSON column as an Arrow array; all its values have to be of one kind."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:  # JSON has one kind of number
        values = [math.nan if v is None else v for v in values]
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
