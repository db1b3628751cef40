"""Reads files of logged slates, some rows at a time, and writes files of scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy.errors import UsageError
from recpolicy.scoring import jsonl
from recpolicy.scoring.columns import check_columns
from recpolicy.tables.reading import COMPRESSED, format_of, parts

ROWS = 65_536
"""Most slates read at once, so that memory does not grow with the file."""
VALUES = 1_000_000
"""Most ids read at once, on average, where slates are long."""
BUFFER = 1 << 20
"""Bytes of each column read ahead, however large the row groups of the file are."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, in order."""

    batch: pa.RecordBatch
    share: float
    """Share of the file up to the end of this chunk, in (0, 1]."""
    first: int
    """The first row, as an index into `lines` or, without these, into the file."""
    lines: jsonl.Lines | None = None
    part: str = ""
    """The file of the rows, where the slates lie in several."""

    def name(self, row: int) -> str:
        """Returns the name of a row of the batch for messages."""
        if self.lines is None:
            return f"{self.part}, row {self.first + row + 1}".removeprefix(", ")
        return f"line {self.lines.number(self.first + row)}"


def read_file(path: Path, columns: Sequence[str], rows: int = ROWS) -> Iterator[Chunk]:
    """Reads the slates of a file or of a folder of Parquet parts, only the given columns, at most `rows` at a time.

    Raises UsageError for a file that is neither Parquet nor JSONL, or cannot be read as that.
    """
    try:
        match path.suffix:
            case _ if path.is_dir():
                yield from _parts(path, columns, rows)
            case ".parquet":
                yield from _parquet(path, columns, rows)
            case _ if format_of(path) == "jsonl":
                yield from _jsonl(path, columns, rows)
            case _:
                what = f".parquet and .jsonl (also {', '.join(COMPRESSED)}), and from folders of Parquet parts"
                raise UsageError(f"slates are read from {what}", where=str(path))
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
        raise UsageError(f"cannot be read: {reason}", where=str(path)) from None


def _parts(folder: Path, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    """The parts of a folder, one after the other in the order of their names; all need the columns of the first."""
    paths = parts.files(folder)
    first: set[str] = set()
    lengths = []
    for path in paths:
        metadata = pq.read_metadata(path)
        names = {name for name in columns if name in metadata.schema.to_arrow_schema().names}
        first = first or names
        if names != first:
            name, has = next((n, n in names) for n in columns if (n in names) != (n in first))
            message = (
                f"this part has {'a' if has else 'no'} column `{name}`, {paths[0].name} has {'none' if has else 'one'}"
            )
            raise UsageError(message, where=str(path), help="write all parts with the same columns")
        lengths.append(metadata.num_rows)
    read, total = 0, max(1, sum(lengths))
    for path, length in zip(paths, lengths, strict=True):
        name = path.relative_to(folder).as_posix()
        for chunk in _parquet(path, columns, rows):
            yield replace(chunk, share=(read + chunk.share * length) / total, part=name)
        read += length


def _parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    metadata = pq.read_metadata(path)
    schema = metadata.schema.to_arrow_schema()
    check_columns(schema, str(path))
    selected = [name for name in columns if name in schema.names]
    leaves = {i: metadata.schema.column(i) for i in range(len(metadata.schema))}
    leaves = {i: leaf for i, leaf in leaves.items() if leaf.path.split(".")[0] in selected}
    # ids in a dictionary stay in it: each is looked up once, however often it occurs in the file
    texts = [leaf.path for leaf in leaves.values() if leaf.physical_type == "BYTE_ARRAY"]
    groups = range(metadata.num_row_groups)
    values = sum(metadata.row_group(group).column(i).num_values for group in groups for i in leaves)
    size = max(1, min(rows, VALUES * metadata.num_rows // max(1, values)))
    with pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, buffer_size=BUFFER, pre_buffer=False) as file:
        read = 0
        for group in groups:  # one at a time, since each has dictionaries of its own
            for batch in file.iter_batches(size, row_groups=[group], columns=selected, use_threads=False):
                yield Chunk(batch, (read + batch.num_rows) / metadata.num_rows, read)
                read += batch.num_rows


def _jsonl(path: Path, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    size = max(1, path.stat().st_size)
    read = 0
    for lines in jsonl.read(path):
        read += len(lines.text)
        batch = lines.batch.select([name for name in columns if name in lines.batch.schema.names])
        for first in range(0, batch.num_rows, rows):
            yield Chunk(batch.slice(first, rows), min(1.0, read / size), first, lines)


def write_file(path: Path, suffix: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Writes record batches of scores to `path`. The suffix gives the format: `.parquet`, or `.jsonl`, a row a line."""
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
