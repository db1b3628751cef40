"""Slates and the items users really took next in, accuracy per rank out.

An item that was taken twice counts once: n below is the number of different next items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.compiler.pool import Pool
from recpolicy.compiler.scan import discount
from recpolicy.table import Bools, Codes, Floats, Ints

SOME = 16
"""Next items that places are compared with at once: bounds the [next items, K, B] table, which can be long."""


@dataclass(frozen=True)
class Labelled:
    """A measure against the next items: known only for whole slates, and only where there are next items."""

    metric: Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]

    def marginals(self, pool: Pool) -> Floats:
        """[B, K]; every measure by its standard definition at cut-off K.

        `ndcg` (binary gains): ideal over min(K, n). `recall`: hits / n. `precision`: hits / K. `mrr`: 1 / rank of the
        first hit. `lcs`: longest common subsequence with the next items over min(K, n).
        """
        _, k = pool.shape
        hits, n = next_hits(pool), next_different(pool)[:, None]
        match self.metric:
            case "ndcg":
                w = discount(k)
                out = hits * w
                out /= w.cumsum().take(n - 1, mode="clip")
            case "hit":
                out = hits & (hits.cumsum(1) == 1)
            case "recall":
                out = hits / np.maximum(n, 1)
            case "precision":
                out = hits / np.float64(k)
            case "mrr":
                out = (hits & (hits.cumsum(1) == 1)) / np.arange(1, k + 1)
            case "lcs":
                assert pool.items is not None
                out = _lcs(pool.items, _padded_next(pool)) / np.clip(n, 1, k)
        return np.asarray(out, np.float64)

    def applicable(self, pool: Pool) -> Bools:
        """Rows with next items, [B]."""
        return np.greater(pool.rows.next_items.lengths, 0)

    def missing(self, pool: Pool) -> Bools:
        """No item is without a value, [B, K]."""
        return np.zeros(pool.shape, np.bool_)


def next_hits(pool: Pool) -> Bools:
    """Places that hold one of the next items, [B, K]."""
    return pool.once("hits", lambda: _hits(pool, _padded_next(pool)))


def next_different(pool: Pool) -> Ints:
    """How many different next items there are, [B]."""
    return pool.once("next items, different", lambda: _different(_padded_next(pool)))


def _padded_next(pool: Pool) -> Codes:
    """[B, longest], -2 past a row's end: no item and no hole."""

    def pad() -> Codes:
        lists, lengths = pool.rows.next_items, pool.rows.next_items.lengths
        longest = max(1, int(lengths.max(initial=0)))
        if len(lengths) and lengths.min() == longest:  # as many for everybody, as a split holds out
            return np.asfortranarray(lists.values[lists.offsets[0] : lists.offsets[-1]].reshape(-1, longest))
        place = np.arange(longest)[:, None]
        values = np.append(lists.values, np.int32(-2))
        at = np.where(place < lengths, lists.offsets[:-1] + place, len(lists.values))  # [longest, B]
        return values.take(at).T

    return pool.once("next items", pad)


def _hits(pool: Pool, future: Codes) -> Bools:
    assert pool.items is not None
    items, taken = pool.items.T, future.T[:, None]  # [K, B], [longest, 1, B]
    hits = np.zeros(items.shape, np.bool_)
    for first in range(0, len(taken), SOME):
        hits |= np.bitwise_or.reduce(items == taken[first : first + SOME], 0)
    return hits.T


def _different(future: Codes) -> Ints:
    ordered = np.sort(future, 1)
    again = ordered[:, 1:] == ordered[:, :-1]
    different = future.shape[1] - (ordered[:, 0] < 0).astype(np.int64)  # what is past a row's end is no item
    return np.asarray(different - again.sum(1) if again.any() else different, np.int64)


def _lcs(items: Codes, future: Codes) -> Floats:
    """How much each place adds to the longest common subsequence, [B, K] of 0 and 1.

    Row r of the usual table from row r - 1: best[j] = max over i <= j of (previous[i], previous[i - 1] + match[i]).
    """
    b, k = items.shape
    best = np.zeros((b, future.shape[1] + 1), np.int64)
    out = np.zeros((b, k))
    for r in range(k):
        longer = np.where(items[:, r, None] == future, best[:, :-1] + 1, 0)
        grown = np.maximum.accumulate(np.maximum(best[:, 1:], longer), 1)
        out[:, r] = grown[:, -1] - best[:, -1]
        best[:, 1:] = grown
    return out
