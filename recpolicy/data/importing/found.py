"""Holds what was found in a source, before it is cleaned."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.errors import UsageError
from recpolicy.schema import Schema
from recpolicy.tables.reading import COMPRESSED, Array, RawTable


@dataclass(frozen=True)
class Found:
    """The tables of a source. One that is None is made from the interactions.

    `notes` say what was left out so far, and `origins` where a column comes from, by table and column:
    `"items.title"`. `schema` and its text are those that lie with the source.
    """

    kind: str
    items: RawTable | None
    users: RawTable | None
    interactions: RawTable
    notes: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    schema: Schema | None = None
    schema_text: str | None = None


def file(folder: Path, name: str) -> Path | None:
    """Returns the file of a name in a folder, compressed or not; None where there is none."""
    return next((p for end in ("", *COMPRESSED) if (p := folder / (name + end)).is_file()), None)


@contextmanager
def lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[Iterator[tuple[int, str]]]:
    """Yields the numbered lines of a text file, compressed or not. Raises UsageError where it cannot be read."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            yield enumerate(io.TextIOWrapper(stream, encoding=encoding), 1)
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", where=str(path), help="save the file as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"cannot be read: {_first(error)}", where=str(path)) from None


def content(path: Path) -> bytes:
    """Returns the bytes of a file, decompressed. Raises UsageError where it cannot be read."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            return bytes(stream.read())
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"cannot be read: {_first(error)}", where=str(path)) from None


def numbers(texts: Array) -> Array:
    """Converts texts to numbers; null for what is none."""
    trimmed = pc.utf8_trim_whitespace(texts)
    right = pc.match_substring_regex(trimmed, r"^[-+]?\d+(\.\d*)?([eE][-+]?\d+)?$")
    return pc.if_else(right, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())


def moments(values: Array, unit: str = "s") -> Array:
    """Converts Unix times, in seconds or in milliseconds (`ms`), to time stamps."""
    scale = 1000.0 if unit == "s" else 1.0
    return pc.round(pc.multiply(values.cast(pa.float64()), scale)).cast(pa.int64()).cast(pa.timestamp("ms", "UTC"))


def _first(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0]
