"""Holds columns of data as NumPy arrays, laid out as the compiler reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recpolicy.types import Type

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int32]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Ragged:
    """A list of lists of integers: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: Ints  # [rows + 1]
    values: Codes

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, i: int) -> Codes:
        """Returns the values of row `i`."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> Ints:
        """Number of values of each row, [rows]."""
        return self.offsets[1:] - self.offsets[:-1]

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Ragged:
        """Packs Python lists."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(r) for r in rows], out=offsets[1:])
        flat = [v for r in rows for v in r]
        return Ragged(offsets, np.asarray(flat, np.int32))

    @staticmethod
    def slices(values: Codes, begin: Ints, stop: Ints) -> Ragged:
        """Builds rows `values[begin[i]:stop[i]]`, empty where `stop` lies before `begin`; both [rows]."""
        lengths = np.maximum(stop - begin, 0)
        offsets = np.zeros(len(begin) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        at = np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], lengths)
        return Ragged(offsets, values[at])

    def take(self, rows: Ints) -> Ragged:
        """Returns the named rows, in that order."""
        return Ragged.slices(self.values, self.offsets[rows], self.offsets[rows + 1])

    def different(self) -> Ragged:
        """Returns the rows with each value once, where it stands first."""
        row = np.repeat(np.arange(len(self)), self.lengths)
        pair = row * (int(self.values.max(initial=0)) + 1) + self.values
        first = np.sort(np.unique(pair, return_index=True)[1])
        offsets = np.append(0, np.cumsum(np.bincount(row[first], minlength=len(self))))
        return Ragged(offsets, self.values[first])

    def last(self, count: int) -> Ragged:
        """Returns the last `count` values of each row, all where it has fewer."""
        return Ragged.slices(self.values, np.maximum(self.offsets[:-1], self.offsets[1:] - count), self.offsets[1:])


def none(rows: int) -> Ragged:
    """Returns so many empty rows."""
    return Ragged(np.zeros(rows + 1, np.int64), np.zeros(0, np.int32))


@dataclass(frozen=True)
class NumberColumn:
    """int, float, ratio, date (seconds since 1970), duration (seconds); NaN is missing."""

    type: Type
    values: Floats  # [rows]


@dataclass(frozen=True)
class TruthColumn:
    """bool in Kleene's order: 0 false, 1 missing, 2 true."""

    type: Type
    values: NDArray[np.int8]  # [rows]


@dataclass(frozen=True)
class WordColumn:
    """category and text: codes into `words`; -1 is missing."""

    type: Type
    values: Codes  # [rows]
    words: tuple[str, ...]


@dataclass(frozen=True)
class ListColumn:
    """list of category: codes into `words`, no code twice in a row.

    A row that is missing has `missing[row]` True and no codes; an empty list is not missing.
    """

    type: Type
    values: Ragged
    words: tuple[str, ...]
    missing: Bools  # [rows]


ColumnData: TypeAlias = NumberColumn | TruthColumn | WordColumn | ListColumn


@dataclass(frozen=True)
class Table:
    """The columns of one table by the name a policy uses; all have `rows` rows."""

    rows: int
    columns: Mapping[str, ColumnData]
