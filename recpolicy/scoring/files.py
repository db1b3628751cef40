"""Files of logged slates in, record batches of some of their rows out; scores in, a file of them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy.errors import UsageError
from recpolicy.scoring import jsonl
from recpolicy.scoring.columns import check_columns

ROWS = 65_536
"""Most slates read at once; what is held in memory does not grow with the file."""
VALUES = 1_000_000
"""Most ids read at once, on average, where slates are long."""
BUFFER = 1 << 20
"""Bytes of each column read ahead, however large the row groups of the file are."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, in order."""

    batch: pa.RecordBatch
    name: Callable[[int], str]
    """What a row of the batch is called in messages."""
    share: float
    """How much of the file is read when this is, above 0 up to 1."""


def read_file(path: Path, columns: Sequence[str], rows: int = ROWS) -> Iterator[Chunk]:
    """The slates of a file, their `columns` alone, at most `rows` at a time.

    Raises UsageError for a file that is neither Parquet nor JSONL, or cannot be read as that.
    """
    try:
        match path.suffix:
            case ".parquet":
                yield from _parquet(path, columns, rows)
            case ".jsonl":
                yield from _jsonl(path, columns, rows)
            case _:
                raise UsageError("slates are read from .parquet and .jsonl", where=str(path))
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from None


def _parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    metadata = pq.read_metadata(path)
    schema = metadata.schema.to_arrow_schema()
    check_columns(schema, str(path))
    kept = [name for name in columns if name in schema.names]
    leaves = [metadata.schema.column(i) for i in range(len(metadata.schema))]
    # ids written as a dictionary stay one: each is looked up once, however often it stands in the file
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path.split(".")[0] in kept]
    values = sum(
        metadata.row_group(group).column(i).num_values
        for group in range(metadata.num_row_groups)
        for i, leaf in enumerate(leaves)
        if leaf.path.split(".")[0] in kept
    )
    size = max(1, min(rows, VALUES * metadata.num_rows // max(1, values)))
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, buffer_size=BUFFER, pre_buffer=False) as file:
        read = 0
        for group in range(metadata.num_row_groups):  # by themselves, since each has dictionaries of its own
            for batch in file.iter_batches(size, row_groups=[group], columns=kept, use_threads=False):
                yield Chunk(batch, partial(_row, read), (read + batch.num_rows) / metadata.num_rows)
                read += batch.num_rows


def _jsonl(path: Path, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    whole = max(1, path.stat().st_size)
    read = 0
    for lines in jsonl.read(path):
        read += len(lines.text)
        batch = lines.batch.select([name for name in columns if name in lines.batch.schema.names])
        for first in range(0, batch.num_rows, rows):
            yield Chunk(batch.slice(first, rows), partial(_line, lines, first), min(1.0, read / whole))


def _row(before: int, row: int) -> str:
    return f"row {before + row + 1}"


def _line(lines: jsonl.Lines, before: int, row: int) -> str:
    return f"line {lines.number(before + row)}"


def write_file(path: Path, suffix: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Write record batches of scores to `path`, as `suffix` says: `.parquet`, or `.jsonl` with a row a line."""
    if suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            for batch in batches:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
        return
    measured = [field.name for field in schema if pa.types.is_floating(field.type) or pa.types.is_list(field.type)]
    repeating = [name for name in schema.names if name not in measured]  # a dictionary of measures saves nothing
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating) as writer:
        for batch in batches:
            writer.write_batch(batch)
