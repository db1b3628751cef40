"""Reads JSON Lines of logged slates as record batches, and reports the first line that holds no slate."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from recpolicy.errors import UsageError
from recpolicy.scoring.columns import COLUMNS, KINDS, REQUIRED, needed
from recpolicy.tables.reading.json_lines import json_object
from recpolicy.tables.values.dates import times

CHUNK = 1 << 22
"""Bytes read at once, besides the rest of the last line."""
LISTS = ("items", "history", "next_items")
TEXTS = {"user_id": pa.string(), **dict.fromkeys(LISTS, pa.list_(pa.string()))}
NUMBERS = {"user_id": pa.int64(), **dict.fromkeys(LISTS, pa.list_(pa.int64()))}


@dataclass(frozen=True)
class Lines:
    """Complete lines of a file, a row for each that is not blank."""

    batch: pa.RecordBatch
    text: bytes
    first: int
    """The number of the first line."""

    def number(self, row: int) -> int:
        """Returns the number of the line of a row."""
        filled = (at for at, line in enumerate(self.text.split(b"\n"), self.first) if line.strip())
        return next(itertools.islice(filled, row, None))


def read(path: Path) -> Iterator[Lines]:
    """Reads the lines of a file, some at a time. Raises UsageError for the first that holds no slate, and OSError."""
    with pa.input_stream(str(path), compression="detect") as stream:
        file = io.BufferedReader(stream)
        begun = file.read(3).removeprefix(b"\xef\xbb\xbf")  # the mark that some programs put before UTF-8
        first = 1
        while text := begun + file.read(CHUNK) + file.readline():
            yield Lines(_batch(text, first, path), text, first)
            first, begun = first + text.count(b"\n"), b""


def _batch(text: bytes, first: int, path: Path) -> pa.RecordBatch:
    """The columns of some lines, by the fast reader where it can read them."""
    for ids in (TEXTS, NUMBERS):
        for now in (pa.float64(), pa.timestamp("us", "UTC")):
            if (batch := _plain(text, {**ids, "now": now})) is not None:
                return batch
    return _any(text.decode("utf-8"), first, path)


def _plain(text: bytes, kinds: Mapping[str, pa.DataType]) -> pa.RecordBatch | None:
    """The columns of lines whose ids and times all have these types; None for others.

    Also None where a line is blank, since the numbers of the lines after it would be wrong, or an id is missing.
    """
    parsing = pj.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    reading = pj.ReadOptions(use_threads=False, block_size=len(text) + 1)
    try:
        table = pj.read_json(io.BytesIO(text), reading, parsing)
    except pa.ArrowInvalid:
        return None
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    if table.num_rows != lines or any(table.column(name).null_count for name in REQUIRED):
        return None
    return table.combine_chunks().to_batches()[0]


def _any(text: str, first: int, path: Path) -> pa.RecordBatch:
    """The columns of lines with ids as texts and as numbers, and with any ISO 8601 time; reports the first error."""
    lines = ((number, line) for number, line in enumerate(text.split("\n"), first) if line.strip())
    records = [_record(line, f"{path}, line {number}") for number, line in lines]
    kinds = {**TEXTS, "now": pa.float64()}
    return pa.record_batch({name: pa.array([r[name] for r in records], kinds[name]) for name in COLUMNS})


def _record(line: str, where: str) -> dict[str, object]:
    """The values of `COLUMNS` in one line: ids as texts, the time as Unix seconds."""
    record = json_object(line, where, 'each line is {"user_id": "1", "items": ["7", "3"]}')
    needed(list(record), where)
    lists = {name: record.get(name) for name in LISTS}
    for name, value in lists.items():
        if not isinstance(value, list | None):
            raise UsageError(f"`{name}` is {json.dumps(value)}", where=where, help=f"it holds {KINDS[name][1]}")
    ids = {name: value and [_key(v, where) for v in value] for name, value in lists.items()}
    return {"user_id": _key(record["user_id"], where), **ids, "now": _seconds(record.get("now"), where)}


def _key(value: object, where: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise UsageError(f"{json.dumps(value)} is no id", where=where, help="ids are texts or whole numbers")


def _seconds(value: object, where: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and not math.isnan(seconds := float(times(pa.array([value]))[0])):
        return seconds
    help = "write Unix seconds or 2024-05-01T12:30:00Z"
    raise UsageError(f"`now` is {json.dumps(value)}, which is no time", where=where, help=help)
