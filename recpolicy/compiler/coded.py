"""An item column in, its values as small codes out: what spread measures and quotas count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.catalog import padded
from recpolicy.compiler.pool import Pool
from recpolicy.table import (
    Bools,
    Codes,
    ColumnData,
    Floats,
    Ints,
    ListColumn,
    NumberColumn,
    Ragged,
    TruthColumn,
    WordColumn,
)


@dataclass(frozen=True, eq=False)
class Coded:
    """The values of each item as codes below `size`; one value for a plain column, any number for a list.

    Every array has one row more than there are items: the last is a hole, which is what -1 gathers.
    """

    name: str
    size: int
    """Different values in the catalog."""
    codes: Codes  # [items + 1, longest], `size` past an item's last value
    missing: Bools  # [items + 1]
    shares: Floats = field(init=False)  # [items + 1], 1 / number of values; 0 without any

    def __post_init__(self) -> None:
        lengths = (self.codes < self.size).sum(1)
        object.__setattr__(self, "shares", np.where(lengths > 0, 1.0 / np.maximum(lengths, 1), 0.0))

    @property
    def longest(self) -> int:
        """The largest number of values one item has."""
        return int(self.codes.shape[1])

    @property
    def known(self) -> Ints:
        """The items that are not missing the column."""
        return np.flatnonzero(~self.missing[:-1])

    def codes_at(self, pool: Pool) -> Codes:
        """Codes of the candidates, [B, C, longest]."""
        return pool.once(("codes", self.name), lambda: pool.of_items(self.codes))

    def shares_at(self, pool: Pool) -> Floats:
        """What each value of a candidate weighs so that the candidate weighs 1, [B, C]."""
        return pool.once(("shares", self.name), lambda: pool.of_items(self.shares))

    def missing_at(self, pool: Pool) -> Bools:
        """Candidates without a value, [B, C]; a hole is not one of them."""
        return pool.once(("missing", self.name), lambda: pool.of_items(self.missing))

    def mass(self, lists: Ragged) -> Floats:
        """Each row's items as a distribution over the values, [rows, size]; zero for a row without a value.

        Every item with a value weighs the same and shares that weight equally among its values.
        """
        row = np.repeat(np.arange(len(lists)), lists.lengths)
        codes, shares = self.codes[lists.values], self.shares[lists.values]  # [values, longest], [values]
        at = row[:, None] * (self.size + 1) + codes
        mass = np.bincount(at.ravel(), np.repeat(shares, self.longest), len(lists) * (self.size + 1))
        mass = mass.reshape(len(lists), self.size + 1)[:, : self.size]
        total = mass.sum(1, keepdims=True)
        return np.asarray(mass / np.where(total > 0, total, 1.0), np.float64)


def coded(name: str, column: ColumnData) -> Coded:
    """Code a column's values; only those that occur get a code."""
    match column:
        case WordColumn():
            return _coded(name, column.values[:, None], (column.values >= 0)[:, None], column.values < 0)
        case TruthColumn():
            return _coded(name, column.values[:, None], (column.values != 1)[:, None], column.values == 1)
        case NumberColumn():
            known = ~np.isnan(column.values)
            return _coded(name, column.values[:, None], known[:, None], ~known)
        case ListColumn():
            codes = padded(column, -1)
            return _coded(name, codes, codes >= 0, column.missing)
        case _:
            assert_never(column)


def _coded(name: str, values: Codes | Floats | NDArray[np.int8], present: Bools, missing: Bools) -> Coded:
    different, inverse = np.unique(values[present], return_inverse=True)
    codes = np.full((len(values) + 1, values.shape[1]), len(different), np.int32)
    codes[:-1][present] = inverse
    return Coded(name, len(different), codes, np.append(missing, False))
