"""An item column in, distances in [0, 1] between the candidates of a pool out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.coded import Coded
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.scan import picked
from recpolicy.table import Bools, ColumnData, Floats, Ints, NumberColumn

WORD = 64


class Distances(Protocol):
    """How far apart two items are; what either side's missing value means is for the reader to decide."""

    @property
    def known(self) -> Ints:
        """The items that have a value."""

    def missing_at(self, pool: Pool) -> Bools:
        """Candidates without a value, [B, C]."""

    def to(self, pool: Pool, at: Ints) -> Floats:
        """Distance of every candidate from candidate `at[b]`, [B, C]."""


@dataclass(frozen=True, eq=False)
class Scaled:
    """Absolute difference over the range of the catalog."""

    name: str
    values: Floats  # [items + 1], in [0, 1], NaN missing; the last is a hole

    @property
    def known(self) -> Ints:
        return np.flatnonzero(~np.isnan(self.values[:-1]))

    def missing_at(self, pool: Pool) -> Bools:
        return np.isnan(pool.once(("scaled", self.name), lambda: pool.of_items(self.values)))

    def to(self, pool: Pool, at: Ints) -> Floats:
        values = pool.once(("scaled", self.name), lambda: pool.of_items(self.values))
        return np.abs(values - picked(values, at)[:, None])


@dataclass(frozen=True, eq=False)
class Jaccard:
    """1 - |A and B| / |A or B|; of single values that is 0 or 1. Two empty lists are equal."""

    column: Coded
    bits: NDArray[np.uint64] = field(init=False)
    """[items + 1, words], the set of an item's codes; no words where comparing the codes themselves is cheaper."""

    def __post_init__(self) -> None:
        words, codes = self.column.size // WORD + 1, self.column.codes.astype(np.int64)
        bits = np.zeros((len(codes), words if self.column.longest**2 > words else 0), np.uint64)
        if bits.size:
            rows, places = np.nonzero(codes < self.column.size)
            own = codes[rows, places]
            np.bitwise_or.at(bits, (rows, own // WORD), np.uint64(1) << (own % WORD).astype(np.uint64))
        object.__setattr__(self, "bits", bits)

    @property
    def known(self) -> Ints:
        return self.column.known

    def missing_at(self, pool: Pool) -> Bools:
        return self.column.missing_at(pool)

    def to(self, pool: Pool, at: Ints) -> Floats:
        codes = self.column.codes_at(pool)  # [B, C, L]
        lengths = pool.once(("lengths", self.column.name), lambda: (codes < self.column.size).sum(2))
        if self.bits.size:
            bits = pool.once(("bits", self.column.name), lambda: pool.of_items(self.bits))
            common = np.bitwise_count(bits & picked(bits, at)[:, None]).sum(2, dtype=np.int64)
        else:
            own = picked(codes, at)[:, None]  # [B, 1, L]
            common = np.zeros(codes.shape[:2], np.int64)
            for place in range(codes.shape[2]):
                code = codes[:, :, place, None]
                common += ((code == own) & (code < self.column.size)).any(2)
        union = lengths + picked(lengths, at)[:, None] - common
        return np.where(union > 0, 1.0 - common / np.maximum(union, 1), 0.0)


def distances(name: str, data: ColumnData, column: Coded) -> Distances:
    """Range-scaled for measured columns, Jaccard for all others."""
    if not isinstance(data, NumberColumn):
        return Jaccard(column)
    known = data.values[~np.isnan(data.values)]
    low, width = (known.min(), np.ptp(known)) if len(known) else (0.0, 0.0)
    scaled = (data.values - low) / width if width > 0 else data.values * 0.0
    return Scaled(name, np.append(scaled, 0.0))
