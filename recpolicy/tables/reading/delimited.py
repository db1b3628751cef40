"""Reads CSV files and RecBole's atomic files: comma- and tab-separated text with a line of column names."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv

from recpolicy.errors import UsageError
from recpolicy.tables.reading.table import RawTable

_FIELD = 1 << 30
"""Most characters of a field; Python's own limit (131,072) is shorter than some descriptions."""


def read(path: Path, kind: Literal["csv", "atomic"]) -> RawTable:
    """Reads one file. Raises UsageError with the line of the first row that has too many or too few fields."""
    csv.field_size_limit(_FIELD)
    header = next(_records(path, kind, "\t"), None)
    if header is None:
        raise UsageError("the file is empty", where=str(path), help="it needs a line of column names and rows below it")
    names, hints, delimiter = header[1], {}, "," if kind == "csv" else "\t"
    if kind == "atomic":
        if len(names) == 1 and names[0].count(":") > 1:
            message = f"the header is one column, `{names[0]}`"
            raise UsageError(message, where=f"{path}, line 1", help="fields are parted by one tab")
        hints = {name: hint for name, _, hint in (cell.partition(":") for cell in names)}
        names = [cell.partition(":")[0] for cell in names]
    if repeated := [n for i, n in enumerate(names) if n in names[:i]]:
        raise UsageError(f'two columns are named "{repeated[0]}"', where=f"{path}, line 1", help="rename one of them")
    table = _table(path, kind, names, delimiter)
    columns = {name: table.column(name).combine_chunks() for name in names}
    line = functools.partial(_line, path, kind, delimiter)
    return RawTable(path, kind, table.num_rows, columns, hints, line)


def _table(path: Path, kind: Literal["csv", "atomic"], names: Sequence[str], delimiter: str) -> pa.Table:
    """The rows below the header, all as text; null for an empty field."""
    ragged: list[object] = []

    def refuse(row: object) -> Literal["skip"]:
        ragged.append(row)
        return "skip"

    size = max(1 << 25, path.stat().st_size)  # a row has to lie within one block
    table = pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(
            column_names=names, skip_rows=0, use_threads=False, block_size=min(size, 1 << 30)
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if kind == "csv" else False,
            newlines_in_values=kind == "csv",
            invalid_row_handler=refuse,
        ),
        convert_options=pa.csv.ConvertOptions(
            column_types={n: pa.string() for n in names}, strings_can_be_null=True, null_values=[""]
        ),
    )
    if ragged:
        line, cells = next((n, c) for n, c in _records(path, kind, delimiter) if len(c) != len(names))
        raise UsageError(
            f"{len(cells)} field{'' if len(cells) == 1 else 's'} where the header has {len(names)}"
            + (f" (and {len(ragged) - 1:,} more)" if len(ragged) > 1 else ""),
            where=f"{path}, line {line}",
            help="quote fields that hold a comma" if kind == "csv" else "fields are parted by one tab",
        )
    return table.slice(1)  # the header was read as a row, to name the columns ourselves


def _records(path: Path, kind: Literal["csv", "atomic"], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The non-blank records of a delimited file, each with the line it begins on."""
    with pa.input_stream(str(path), compression="detect") as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        csv_file = kind == "csv"
        reader = csv.reader(lines) if csv_file else csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        line = 1
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1


def _line(path: Path, kind: Literal["csv", "atomic"], delimiter: str, row: int) -> str:
    return f"line {next(islice(_records(path, kind, delimiter), row + 1, None))[0]}"  # the first record is the header
