"""Defines what a compiled measure is: the marginals of whole slates, and the gains of candidates as slates grow.

Both are the same numbers (a slate's marginals are what each place added as it grew) computed in two ways: whole slates
at once, or one place after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.candidate_batch import A, CandidateBatch
from recpolicy.dataset.columns import Bools, Floats, Ints


class MeasureState(Protocol):
    """One measure over the slates of a batch as they grow; starts with empty slates."""

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add to the value at the next place, [B, C']."""

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate; a hole advances the rank and nothing else."""


class CompiledMeasure(Protocol):
    """A compiled measure: no state, ready for any batch."""

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K], candidate r being at place r. The caller may write to the result."""

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value for this measure, [B, C]."""


def running(matches: Bools) -> NDArray[np.int16]:
    """Counts how many of the places so far match, [B, K]."""
    return _over_places(np.add, matches.astype(np.int16))


def union(sets: A) -> A:
    """Joins all that the places so far hold, as bit sets [B, K]."""
    return _over_places(np.bitwise_or, sets.copy("K"))


def _over_places(join: np.ufunc, out: A) -> A:
    """`out` [B, K] accumulated in place; a place at a time, where `accumulate` would go slate by slate."""
    for before, own in pairwise(out.T):
        join(before, own, out=own)
    return out


def increments(values: A) -> A:
    """Computes what each place adds to the values [B, K] of the prefixes; the empty prefix is worth 0."""
    out = values.copy("K")
    out[:, 1:] -= values[:, :-1]
    return out


def fail_on_missing(marginals: Floats, missing: Bools) -> Floats:
    """Applies `on missing fail`, [B, K]: the first item without a value takes back the value; later ones add 0."""
    rows = np.flatnonzero(missing.any(1))
    if rows.size:
        first = missing[rows].argmax(1)
        before = np.where(np.arange(missing.shape[1]) < first[:, None], marginals[rows], 0.0)
        before[np.arange(len(rows)), first] = -before.sum(1)
        marginals[rows] = before
    return marginals


def stepwise_marginals(state: MeasureState, batch: CandidateBatch) -> Floats:
    """Computes the marginals [B, K] of slates given as a batch as they grow: place r after the places before it."""
    b, k = batch.shape
    out = np.zeros((b, k))
    for r in range(k):
        out[:, r] = state.gains(slice(r, r + 1))[:, 0]
        state.take(np.full(b, r))
    return out


def discount(k: int) -> Floats:
    """Computes w(r) = 1 / log2(r + 1) for ranks 1 to k (Järvelin and Kekäläinen 2002, as commonly used)."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)), np.float64)


def picked(values: A, at: Ints, rows: Ints | None = None) -> A:
    """Returns each row's entry `values[b, at[b]]`, or only those of `rows`; `values` may be one row for all."""
    own = np.arange(len(at)) if rows is None else rows
    return values[np.minimum(own, len(values) - 1), at]  # type: ignore[return-value]


class FailOnMissingState:
    """`on missing fail` as slates grow."""

    def __init__(self, inner: MeasureState, missing: Bools) -> None:
        self._inner, self._missing = inner, missing  # missing: [B, C]
        self._value = np.zeros(len(missing))
        self._failed = np.zeros(len(missing), np.bool_)

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add or take back at the next place, [B, C']."""
        lost = np.where(self._missing[:, over], -self._value[:, None], self._inner.gains(over))
        return np.where(self._failed[:, None], 0.0, lost)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._value += picked(self.gains(slice(None)), at)
        self._failed |= picked(self._missing, at)
        self._inner.take(at)


@dataclass(frozen=True, eq=False)
class FailOnMissing:
    """A measure under `on missing fail`."""

    measure: CompiledMeasure

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds or takes back, [B, K]."""
        return fail_on_missing(self.measure.marginals(batch), self.measure.missing(batch))

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return FailOnMissingState(self.measure.start(batch), self.measure.missing(batch))

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""
        return self.measure.missing(batch)
