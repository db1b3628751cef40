"""Files of logged slates in, tables of some of their rows out; tables of scores in, a file of them out."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy.errors import UsageError
from recpolicy.scoring.columns import COLUMNS, KINDS, check_columns, needed


def read_file(path: Path, size: int) -> Iterator[tuple[pa.Table, list[str]]]:
    """The slates of a file as tables of at most `size` rows, and what each row is called in messages.

    Raises UsageError for a file that is neither Parquet nor JSONL, or cannot be read as that.
    """
    try:
        match path.suffix:
            case ".parquet":
                yield from _parquet(path, size)
            case ".jsonl":
                yield from _jsonl(path, size)
            case _:
                raise UsageError("slates are read from .parquet and .jsonl", where=str(path))
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from None


def _parquet(path: Path, size: int) -> Iterator[tuple[pa.Table, list[str]]]:
    with pq.ParquetFile(path) as file:
        check_columns(file.schema_arrow, str(path))
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        first = 1
        for batch in file.iter_batches(size, columns=columns):
            yield pa.Table.from_batches([batch]), [f"row {row}" for row in range(first, first + batch.num_rows)]
            first += batch.num_rows


def _jsonl(path: Path, size: int) -> Iterator[tuple[pa.Table, list[str]]]:
    with path.open(encoding="utf-8-sig") as file:
        lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while chunk := list(itertools.islice(lines, size)):
            records = [_record(line, f"{path}, line {number}") for number, line in chunk]
            kinds = (pa.string(), pa.list_(pa.string()), pa.list_(pa.string()), pa.float64())
            arrays = [pa.array([r[n] for r in records], kind) for n, kind in zip(COLUMNS, kinds, strict=True)]
            yield pa.table(arrays, names=list(COLUMNS)), [f"line {number}" for number, _ in chunk]


def _record(line: str, where: str) -> dict[str, object]:
    """One line's values of `COLUMNS`: ids as strings, a time as Unix seconds."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"not valid JSON: {error.msg} at character {error.pos + 1}", where=where) from None
    if not isinstance(record, dict):
        raise UsageError("not a JSON object", where=where, help='each line is {"user_id": "1", "items": ["7", "3"]}')
    needed(list(record), where)
    lists = {name: record.get(name) for name in ("items", "next_items")}
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
    raise UsageError(f"{json.dumps(value)} is no id", where=where, help="ids are texts or whole numbers")


def _seconds(value: object, where: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        moment = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        help = "write Unix seconds or 2024-05-01T12:30:00Z"
        raise UsageError(f"`now` is {json.dumps(value)}, which is no time", where=where, help=help) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def write_file(path: Path, suffix: str, tables: Iterator[pa.Table]) -> None:
    """Write tables of one schema to `path`, as `suffix` says: `.parquet`, or `.jsonl` with a row a line."""
    if suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            for table in tables:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
        return
    writer: pq.ParquetWriter | None = None
    try:
        for table in tables:
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        if writer is None:
            pq.write_table(pa.table({"user_id": pa.array([], pa.string())}), path)
    finally:
        if writer is not None:
            writer.close()
