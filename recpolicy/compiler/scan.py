"""What a compiled measure is: the marginals of whole slates, and the gains of candidates as slates grow.

Both are the same numbers (a slate's marginals are what each place added as it grew) computed in two ways: whole slates
at once, or one place after another.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.pool import Pool
from recpolicy.dataset.columns import Bools, Floats, Ints

A = TypeVar("A", bound=NDArray[Any])


class Scan(Protocol):
    """One measure over the slates of a pool as they grow; starts with empty slates."""

    def gains(self, over: slice) -> Floats:
        """What each of the candidates `over` would add to the value if it stood at the next place, [B, C']."""

    def take(self, at: Ints) -> None:
        """Put candidate `at[b]` at the next place of row b's slate; a hole advances the rank and nothing else."""


class Plan(Protocol):
    """A compiled measure: no state, ready for any pool."""

    def marginals(self, pool: Pool) -> Floats:
        """What each place adds to its slate, where candidate r stands at place r, [B, K]: the caller's to write to."""

    def scan(self, pool: Pool) -> Scan:
        """Start with empty slates."""

    def missing(self, pool: Pool) -> Bools:
        """Places whose item has no value for this measure, [B, C]."""


def running(matches: Bools) -> NDArray[np.int16]:
    """How many of the places so far match, [B, K]."""
    return _over_places(np.add, matches.astype(np.int16))


def union(sets: A) -> A:
    """All that the places so far hold, as bit sets [B, K]."""
    return _over_places(np.bitwise_or, sets.copy("K"))


def _over_places(join: np.ufunc, out: A) -> A:
    """`out` [B, K] accumulated in place; a place at a time, where `accumulate` would go slate by slate."""
    for before, own in pairwise(out.T):
        join(before, own, out=own)
    return out


def growth(values: A) -> A:
    """What each place adds to the values [B, K] of the prefixes; nothing is worth 0."""
    out = values.copy("K")
    out[:, 1:] -= values[:, :-1]
    return out


def failing(marginals: Floats, missing: Bools) -> Floats:
    """`on missing fail`, [B, K]: the first item without a value takes the whole value back, and nothing adds again."""
    rows = np.flatnonzero(missing.any(1))
    if rows.size:
        first = missing[rows].argmax(1)
        kept = np.where(np.arange(missing.shape[1]) < first[:, None], marginals[rows], 0.0)
        kept[np.arange(len(rows)), first] = -kept.sum(1)
        marginals[rows] = kept
    return marginals


def ledger(scan: Scan, pool: Pool) -> Floats:
    """The marginals [B, K] of slates given as a pool, as they grow: place r is taken after the places before it."""
    b, k = pool.shape
    out = np.zeros((b, k))
    for r in range(k):
        out[:, r] = scan.gains(slice(r, r + 1))[:, 0]
        scan.take(np.full(b, r))
    return out


def discount(k: int) -> Floats:
    """w(r) = 1 / log2(r + 1) for ranks 1 to k (Järvelin and Kekäläinen 2002, as commonly used)."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)), np.float64)


def picked(values: A, at: Ints, rows: Ints | None = None) -> A:
    """Each row's own entry: `values[b, at[b]]`, or of the named `rows` alone; `values` may be one row for all."""
    own = np.arange(len(at)) if rows is None else rows
    return values[np.minimum(own, len(values) - 1), at]  # type: ignore[return-value]


class FailScan:
    """`on missing fail`: the first item without a value takes the whole value back, and nothing adds to it again."""

    def __init__(self, inner: Scan, missing: Bools) -> None:
        self._inner, self._missing = inner, missing  # missing: [B, C]
        self._value = np.zeros(len(missing))
        self._failed = np.zeros(len(missing), np.bool_)

    def gains(self, over: slice) -> Floats:
        lost = np.where(self._missing[:, over], -self._value[:, None], self._inner.gains(over))
        return np.where(self._failed[:, None], 0.0, lost)

    def take(self, at: Ints) -> None:
        self._value += picked(self.gains(slice(None)), at)
        self._failed |= picked(self._missing, at)
        self._inner.take(at)
