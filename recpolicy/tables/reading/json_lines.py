"""Reads JSON Lines: one JSON object a line."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from recpolicy.errors import UsageError
from recpolicy.tables.problems import shown
from recpolicy.tables.reading.arrow import plain
from recpolicy.tables.reading.table import Array, RawTable

_INT64 = range(-(1 << 63), 1 << 63)


def read(path: Path) -> RawTable:
    """Reads one file. Raises UsageError with the line of the first that holds no JSON object."""
    columns: dict[str, list[object]] = {}
    rows = 0
    for number, line in _objects(path):
        record = json_object(line, f"{path}, line {number}", 'each line is one row: {"item_id": "1", ...}')
        for name in record:
            if name not in columns:
                columns[name] = [None] * rows
        for name, values in columns.items():
            values.append(record.get(name))
        rows += 1
    arrays, unreadable = {}, {}
    for name, values in columns.items():
        try:
            arrays[name] = plain(_array(values, functools.partial(_line, path)))
        except ValueError as error:
            unreadable[name] = str(error)
    return RawTable(path, "jsonl", rows, arrays, {}, functools.partial(_line, path), unreadable)


def json_object(line: str, where: str, help: str) -> dict[str, Any]:
    """Parses a line of JSON. Raises UsageError where it is not valid, or holds no object; then with `help`."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"not valid JSON: {error.msg} at character {error.pos + 1}", where=where) from None
    except RecursionError:
        raise UsageError("JSON that is nested too deeply", where=where, help=help) from None
    except ValueError:  # Python refuses whole numbers of more than 4,300 digits
        raise UsageError("a number of thousands of digits", where=where, help="write long ids in quotes") from None
    if not isinstance(record, dict):
        raise UsageError("not a JSON object", where=where, help=help)
    return record


def _objects(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    with pa.input_stream(str(path), compression="detect") as stream:
        for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig"), 1):
            if line.strip():
                yield number, line


def _line(path: Path, row: int) -> str:
    return f"line {next(islice(_objects(path), row, None))[0]}"


def _array(values: list[object], name: Callable[[int], str]) -> Array:
    """One JSON column as an Arrow array. Raises ValueError where its values are of kinds that do not mix."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int, float}:  # JSON has one kind of number
        return pa.array(values, pa.float64(), from_pandas=True)
    if str in kinds and kinds <= {str, int, float}:
        return pa.array([v if v is None else str(v) for v in values], pa.string())
    if len(kinds) > 1:
        first = next(v for v in values if v is not None)
        row = next(i for i, v in enumerate(values) if v is not None and type(v) is not type(first))
        raise ValueError(f"{shown(values[row])} in {name(row)} is not of the same kind as {shown(first)} before it")
    if kinds == {int} and not all(v is None or v in _INT64 for v in values):
        return pa.array([None if v is None else str(v) for v in values], pa.string())  # ids longer than 64 bits
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as e:
        raise ValueError(str(e).splitlines()[0]) from None
