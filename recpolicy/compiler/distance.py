"""Computes distances in [0, 1] between the candidates of a batch by an item column."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.candidate_batch import A, CandidateBatch
from recpolicy.compiler.encoded_column import Columns, EncodedColumn, size
from recpolicy.compiler.measures import picked
from recpolicy.dataset.columns import Bools, Floats, Ints, NumberColumn


class Distances(Protocol):
    """Distances between two items; the caller decides what a missing value of either means."""

    @property
    def known(self) -> Ints:
        """The items that have a value."""

    def missing_at(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""

    def unknown_in(self, batch: CandidateBatch) -> bool:
        """Checks whether some candidate has no value."""

    def to(self, batch: CandidateBatch, at: Ints) -> Floats:
        """Computes the distance of every candidate from candidate `at[b]`, [B, C]."""

    def pairs(self, batch: CandidateBatch) -> Floats:
        """Computes distances between places of whole slates, [pairs, B] in the order of `lagged`; 0 from a hole."""


@cache
def _pairs(k: int) -> tuple[Ints, Ints]:
    """The later and the earlier place of every pair: first all neighbours, then all pairs two apart, and so on."""
    later, earlier = np.tril_indices(k, -1)
    order = np.argsort(later - earlier, kind="stable")
    return later[order], earlier[order]


def lagged(join: np.ufunc, values: A) -> A:
    """Joins the values of every pair of places in the order of `_pairs`, [B, K] -> [K (K - 1) / 2, B]."""
    later, earlier = _pairs(values.shape[1])
    return join(values.T.take(later, 0), values.T.take(earlier, 0))  # type: ignore[no-any-return]


def summed(pairs: A, k: int) -> A:
    """Sums for each place the pairs with an earlier one, [pairs, B] as `lagged` lays them out -> [B, K]."""
    out, first = np.zeros((k, pairs.shape[1]), pairs.dtype), 0
    for lag in range(1, k):
        out[lag:] += pairs[first : first + k - lag]
        first += k - lag
    return out.T  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Scaled:
    """Absolute difference over the range of the catalog."""

    name: str
    values: Floats  # [items + 1], in [0, 1], NaN missing; the last is a hole

    @property
    def known(self) -> Ints:
        """The items that have a value."""
        return np.flatnonzero(~np.isnan(self.values[:-1]))

    def missing_at(self, batch: CandidateBatch) -> Bools:
        """Finds the candidates without a value, [B, C]."""
        return batch.once(("missing", self.name), lambda: np.isnan(self._at(batch)))

    def unknown_in(self, batch: CandidateBatch) -> bool:
        """Checks whether some candidate has no value."""
        return bool(self.missing_at(batch).any())

    def to(self, batch: CandidateBatch, at: Ints) -> Floats:
        """Computes the distance of every candidate from candidate `at[b]`, [B, C]."""
        values = self._at(batch)
        return np.abs(values - picked(values, at)[:, None])

    def pairs(self, batch: CandidateBatch) -> Floats:
        """Computes the distances between places, [pairs, B] in the order of `lagged`."""
        pairs = np.abs(lagged(np.subtract, self._at(batch)))
        return pairs if batch.full else np.where(lagged(np.logical_and, batch.held), pairs, 0.0)

    def _at(self, batch: CandidateBatch) -> Floats:
        return batch.once(("scaled", self.name), lambda: batch.of_items(self.values))


@dataclass(frozen=True, eq=False)
class Jaccard:
    """1 - |A and B| / |A or B|; of single values that is 0 or 1. Two empty lists are equal."""

    column: EncodedColumn

    @property
    def known(self) -> Ints:
        """The items that have a value."""
        return self.column.known

    def missing_at(self, batch: CandidateBatch) -> Bools:
        """Finds the candidates without a value, [B, C]."""
        return self.column.missing_at(batch)

    def unknown_in(self, batch: CandidateBatch) -> bool:
        """Checks whether some candidate has no value."""
        return self.column.unknown_in(batch)

    def to(self, batch: CandidateBatch, at: Ints) -> Floats:
        """Computes the distance of every candidate from candidate `at[b]`, [B, C]."""
        codes = self.column.codes_at(batch)  # [B, C, L]
        lengths = self.column.lengths_at(batch)
        common = np.zeros(codes.shape[:2], np.int64)
        if self.column.bits and self.column.longest > 1:
            for word in self.column.words_at(batch):
                common += np.bitwise_count(word & picked(word, at)[:, None])
        else:
            own = picked(codes, at)[:, None]  # [B, 1, L]
            for place in range(codes.shape[2]):
                code = codes[:, :, place, None]
                common += ((code == own) & (code < self.column.size)).any(2)
        return _jaccard(common, lengths + picked(lengths, at)[:, None])

    def pairs(self, batch: CandidateBatch) -> Floats:
        """Computes the distances between places, [pairs, B] in the order of `lagged`."""
        small = np.min_scalar_type(2 * self.column.longest)  # the fewer bytes, the less to wait for
        common = size(tuple(lagged(np.bitwise_and, word) for word in self.column.sets_at(batch)), small)
        together = lagged(np.add, self.column.lengths_at(batch).astype(small))
        return _jaccard(common, together if batch.full else together * lagged(np.logical_and, batch.held))


def _jaccard(common: NDArray[np.integer[Any]], together: NDArray[np.integer[Any]]) -> Floats:
    """From how many values two sets share and how many they have, those counted twice."""
    either = together - common
    return np.asarray((either - common) / np.maximum(either, 1), np.float64)


def distances(name: str, columns: Columns) -> Distances:
    """Builds the distances of a column: range-scaled for measured columns, Jaccard for all others."""
    data = columns.data(name)
    if not isinstance(data, NumberColumn):
        return Jaccard(columns.encoded(name))
    known = data.values[~np.isnan(data.values)]
    low, width = (known.min(), np.ptp(known)) if len(known) else (0.0, 0.0)
    scaled = (data.values - low) / width if width > 0 else data.values * 0.0
    return Scaled(name, np.append(scaled, 0.0))
