"""Turns an item column into small codes and bit sets: the values that spread measures and quotas count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.catalog import padded
from recpolicy.compiler.measures import union
from recpolicy.dataset.columns import (
    Bools,
    ColumnData,
    Floats,
    Ints,
    ListColumn,
    NumberColumn,
    Ragged,
    TruthColumn,
    WordColumn,
)
from recpolicy.dataset.rows import Dataset

WORD = 64
WIDE = 2
"""Most words of a bit set of the whole catalog's values: 16 bytes an item."""

Sets: TypeAlias = tuple[NDArray[Any], ...]
"""Bit sets of values, a word of at most 64 bits in each array."""


@dataclass(frozen=True, eq=False)
class EncodedColumn:
    """The values of each item as codes below `size`; one value for a plain column, any number for a list.

    Every array has one row more than there are items: the last is a hole, which is what -1 gathers.
    """

    name: str
    size: int
    """Different values in the catalog."""
    codes: NDArray[Any]
    """[items + 1, longest], `size` past an item's last value; of the smallest type that holds it."""
    missing: Bools  # [items + 1]
    lengths: NDArray[Any] = field(init=False)  # [items + 1]
    portions: Floats = field(init=False)
    """[longest + 1], what each value of an item of that length weighs so that the item weighs 1."""
    complete: bool = field(init=False)
    """Whether no item is missing the column."""
    bits: Sets = field(init=False)
    """[items + 1] each, the set of an item's codes; no words where there are too many values."""

    def __post_init__(self) -> None:
        lengths = np.zeros(len(self.codes), np.min_scalar_type(self.longest))
        words = max(1, -(-self.size // WORD))
        kind = np.min_scalar_type((1 << min(self.size, WORD)) - 1)
        bits = [np.zeros(len(self.codes), kind) for _ in range(words if words <= WIDE else 0)]
        for place in range(self.longest):
            codes = self.codes[:, place]
            lengths += codes < self.size
            for i, word in enumerate(bits):
                word |= _bit(codes, self.size, i, word.dtype)
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "portions", np.append(0.0, 1.0 / np.arange(1, self.longest + 1)))
        object.__setattr__(self, "complete", not self.missing.any())
        object.__setattr__(self, "bits", tuple(bits))

    @property
    def longest(self) -> int:
        """The largest number of values one item has."""
        return int(self.codes.shape[1])

    @property
    def known(self) -> Ints:
        """The items that are not missing the column."""
        return np.flatnonzero(~self.missing[:-1])

    def codes_at(self, batch: CandidateBatch) -> NDArray[Any]:
        """Returns the codes of the candidates, [B, C, longest]."""
        return batch.once(("codes", self.name), lambda: batch.of_items(self.codes))

    def lengths_at(self, batch: CandidateBatch) -> NDArray[np.int16]:
        """Returns how many values each candidate has, [B, C]."""
        return batch.once(("lengths", self.name), lambda: self._lengths(batch))

    def shares_at(self, batch: CandidateBatch) -> Floats:
        """Returns what each value of a candidate weighs so that the candidate weighs 1, [B, C]."""
        return batch.once(("shares", self.name), lambda: self.portions[self.lengths_at(batch)])

    def shares_of(self, items: NDArray[Any]) -> Floats:
        """Returns the same for items by number."""
        return np.asarray(self.portions[self.lengths[items]], np.float64)

    def missing_at(self, batch: CandidateBatch) -> Bools:
        """Finds the candidates without a value, [B, C]; a hole is not one of them."""
        return batch.once(("missing", self.name), lambda: batch.of_items(self.missing))

    # ---- of whole slates: their batch's items lie place by place

    def sets_at(self, batch: CandidateBatch) -> Sets:
        """Returns the values of each place as bit sets, [B, K] each: equal values of one slate have the same bit."""
        return batch.once(("sets", self.name), lambda: self._sets(batch))

    def slots_at(self, batch: CandidateBatch) -> tuple[Ints, int]:
        """Returns the values of each place as numbers below n, [K, longest, B], n for none, and n.

        Equal values of one slate have the same number; n is at most K x longest.
        """
        return batch.once(("slots", self.name), lambda: self._slots(batch))

    def different_at(self, batch: CandidateBatch) -> NDArray[np.int16]:
        """Counts how many different values the places so far have, [B, K]."""
        return batch.once(("different", self.name), lambda: size(tuple(map(union, self.sets_at(batch)))))

    def unknown_in(self, batch: CandidateBatch) -> bool:
        """Checks whether some place holds an item without a value."""
        return not self.complete and batch.once(("unknown", self.name), lambda: bool(self.missing_at(batch).any()))

    def words_at(self, batch: CandidateBatch) -> Sets:
        """Returns the values of each candidate as bit sets, [B, C] each; no words where there are too many values."""
        return batch.once(("words", self.name), lambda: tuple(batch.of_items(word) for word in self.bits))

    def _sets(self, batch: CandidateBatch) -> Sets:
        if self.bits:
            return self.words_at(batch)
        slots, n = self.slots_at(batch)
        out = [np.zeros((slots.shape[0], slots.shape[2]), np.uint64) for _ in range(-(-n // WORD))]
        for place in range(self.longest):
            for i, word in enumerate(out):
                word |= _bit(slots[:, place], n, i, word.dtype)
        return tuple(word.T for word in out)

    def _lengths(self, batch: CandidateBatch) -> NDArray[np.int16]:
        return size(self.words_at(batch)) if self.bits else batch.of_items(self.lengths).astype(np.int16)

    def _slots(self, batch: CandidateBatch) -> tuple[Ints, int]:
        codes = self.codes_at(batch).transpose(1, 2, 0)  # [K, longest, B]
        n, b = codes.shape[0] * codes.shape[1], codes.shape[2]
        if self.size <= n:
            return np.ascontiguousarray(codes, np.int64), self.size
        flat = np.ascontiguousarray(codes).reshape(n, b)
        ahead = np.zeros((n, b), np.int16)  # how far before each value its first equal stands
        for lag in range(1, n):
            equal = flat[lag:] == flat[:-lag]
            np.maximum(ahead[lag:], np.multiply(equal, lag, dtype=np.int16), out=ahead[lag:])
        slots = np.where(flat < self.size, np.arange(n)[:, None] - ahead, n)
        return slots.reshape(codes.shape), n

    def mass(self, lists: Ragged) -> Floats:
        """Computes the distribution of each row's items over the values, [rows, size]; zero for a row without a value.

        Every item with a value weighs the same and shares that weight equally among its values.
        """
        row = np.repeat(np.arange(len(lists)), lists.lengths)
        codes, shares = self.codes[lists.values], self.shares_of(lists.values)  # [values, longest], [values]
        at = row[:, None] * (self.size + 1) + codes
        mass = np.bincount(at.ravel(), np.repeat(shares, self.longest), len(lists) * (self.size + 1))
        mass = mass.reshape(len(lists), self.size + 1)[:, : self.size]
        total = mass.sum(1, keepdims=True)
        return np.asarray(mass / np.where(total > 0, total, 1.0), np.float64)


@dataclass(frozen=True, eq=False)
class CountingMeasure:
    """A measure that counts the values of a column in slates of `k` places."""

    column: EncodedColumn
    k: int

    @property
    def most(self) -> int:
        """The most different values a slate can have."""
        return min(self.column.size, self.k * self.column.longest)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""
        return self.column.missing_at(batch)


def size(sets: Sets, kind: DTypeLike = np.int16) -> NDArray[Any]:
    """Counts the values that bit sets hold, in their shape and as this type."""
    out = np.bitwise_count(sets[0]).astype(kind, copy=False)
    for word in sets[1:]:
        out += np.bitwise_count(word)
    return out


class Columns:
    """The item columns of a data set, each coded once however many rules count its values."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._encoded: dict[str, EncodedColumn] = {}

    def data(self, name: str) -> ColumnData:
        """Returns an item column."""
        return self.dataset.items.columns[name]

    def encoded(self, name: str) -> EncodedColumn:
        """Returns an item column as codes."""
        if name not in self._encoded:
            self._encoded[name] = encode(name, self.data(name))
        return self._encoded[name]


def encode(name: str, column: ColumnData) -> EncodedColumn:
    """Codes a column's values; only those that occur get a code."""
    match column:
        case WordColumn():
            codes, different = _dense(column.values, len(column.words))
            return _encoded(name, codes[:, None], different, column.values < 0)
        case TruthColumn():
            codes, different = _dense(np.where(column.values == 1, -1, column.values), 3)
            return _encoded(name, codes[:, None], different, column.values == 1)
        case NumberColumn():
            unknown = np.isnan(column.values)
            values, inverse = np.unique(column.values[~unknown], return_inverse=True)
            codes = np.full(len(unknown), len(values), np.min_scalar_type(len(values)))
            codes[~unknown] = inverse
            return _encoded(name, codes[:, None], len(values), unknown)
        case ListColumn():
            codes, different = _dense(padded(column, -1), len(column.words))
            return _encoded(name, codes, different, column.missing)
        case _:
            assert_never(column)


def _dense(codes: NDArray[np.integer[Any]], words: int) -> tuple[NDArray[Any], int]:
    """Codes below `words` (-1 none) as codes of those that occur, in the same order, and how many there are."""
    occurs = np.zeros(words + 1, np.bool_)
    occurs[codes] = True  # -1 is the last
    different = int(occurs[:-1].sum())
    return np.append(np.cumsum(occurs[:-1]) - 1, different).astype(np.min_scalar_type(different))[codes], different


def _encoded(name: str, codes: NDArray[Any], different: int, missing: Bools) -> EncodedColumn:
    hole = np.full((1, codes.shape[1]), different, codes.dtype)
    return EncodedColumn(name, different, np.concatenate([codes, hole]), np.append(missing, False))


def _bit(codes: NDArray[Any], size: int, word: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """The bit of each code below `size` in the word of that number; 0 for codes of other words."""
    first = word * WORD
    inside = (codes >= first) & (codes < min(first + WORD, size))
    return np.asarray(inside.astype(kind) << (codes % WORD).astype(kind))
