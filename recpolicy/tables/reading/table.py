"""Holds one table as it was read: plain Arrow arrays, and what to call a row in a message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa

Format: TypeAlias = Literal["parquet", "csv", "jsonl", "atomic"]
Array: TypeAlias = pa.Array


def _row_number(row: int) -> str:
    return f"row {row + 1}"


@dataclass(frozen=True)
class RawTable:
    """One table as read, without conversion to the types of a schema.

    `columns` hold the plain types of `arrow.plain`. `hints` are the types in a RecBole header (`token`, `token_seq`,
    `float`, `float_seq`).
    """

    path: Path
    format: Format
    rows: int
    columns: Mapping[str, Array]
    hints: Mapping[str, str]
    row_name: Callable[[int], str] = _row_number
    """Names a row (from 0) for a message: a line of a text file, else a row number from 1."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Columns that hold no values that can be read, each with the reason; they matter only where they are needed."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, readable or not."""
        return (*self.columns, *self.unreadable)

    def place(self, row: int, column: str) -> str:
        """Describes file, row (from 0) and column for a message."""
        return f"{self.path}, {self.row_name(row)}, column {column}"


def is_text(kind: pa.DataType) -> bool:
    """Checks for a type of strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Checks for a type of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
