"""Computes the accuracy of slates, rank by rank, against the next items or how likely each item is to be one.

An item that was taken twice counts once: n below is the number of different next items. Where rows have `chances` a
measure is its expected value: in the place of a hit stands the chance that the item is among the next n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.compiler.pool import Pool
from recpolicy.compiler.scan import Scan, discount, picked
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints

SOME = 16
"""Next items that places are compared with at once: bounds the [next items, K, B] table, which can be long."""


@dataclass(frozen=True)
class Labelled:
    """A measure against the next items: of whole slates, and only where there are next items, real or expected."""

    metric: Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]
    k: int
    """Places of a slate, for slates that grow."""

    def marginals(self, pool: Pool) -> Floats:
        """Computes what each place adds, [B, K], by the standard definition of the measure at cut-off K.

        `ndcg` (binary gains): ideal over min(K, n). `recall`: hits / n. `precision`: hits / K. `mrr`: 1 / rank of the
        first hit. `lcs`: longest common subsequence with the next items over min(K, n). In expectation the hits of
        `hit` and `mrr` are taken as independent of each other, and `lcs` is its mean over drawn lists.
        """
        if self.metric == "lcs":
            return self._lcs(pool)
        chances, (_, k) = pool.rows.chances, pool.shape
        hits = next_hits(pool) if chances is None else chances.of(pool.items)
        if self.first_hit_only:
            missed = np.cumprod(1.0 - hits, 1)
            hits = np.concatenate([hits[:, :1], hits[:, 1:] * missed[:, :-1]], 1)
        out = hits * self.weights(k)
        out /= self.ideal(next_different(pool), k)[:, None]
        return np.asarray(out, np.float64)

    @property
    def first_hit_only(self) -> bool:
        """Whether hits after the first are worth nothing."""
        return self.metric in ("hit", "mrr")

    def weights(self, k: int) -> Floats:
        """Returns what a hit at each rank is worth, over `ideal`, [k]."""
        match self.metric:
            case "ndcg":
                return discount(k)
            case "mrr":
                return np.asarray(1.0 / np.arange(1, k + 1), np.float64)
            case _:
                return np.ones(k)

    def ideal(self, n: Ints, k: int) -> Floats:
        """Returns what the best k places are worth with n different next items, in the units of `weights`, [B]."""
        match self.metric:
            case "ndcg":
                return np.asarray(discount(k).cumsum().take(n - 1, mode="clip"), np.float64)
            case "recall":
                return np.maximum(n, 1).astype(np.float64)
            case "precision":
                return np.full(len(n), float(k))
            case "lcs":
                return np.clip(n, 1, k).astype(np.float64)
            case _:
                return np.ones(len(n))

    def applicable(self, pool: Pool) -> Bools:
        """Finds the rows with next items, real or expected, [B]."""
        chances = pool.rows.chances
        return np.greater(pool.rows.next_items.lengths if chances is None else chances.count[chances.at], 0)

    def missing(self, pool: Pool) -> Bools:
        """Returns False everywhere, [B, K]: every item has a value."""
        return np.zeros(pool.shape, np.bool_)

    def scan(self, pool: Pool) -> Scan:
        """Starts with empty slates, of rows with chances; `lcs` as if the order of hits did not matter."""
        return ExpectedScan(self, pool)

    def _lcs(self, pool: Pool) -> Floats:
        chances, ideal = pool.rows.chances, self.ideal(next_different(pool), pool.shape[1])[:, None]
        assert pool.items is not None
        if chances is None:
            return np.asarray(_lcs(pool.items, _padded_next(pool)) / ideal, np.float64)
        assert chances.draws is not None, "the order of next items was not drawn"
        drawn = [_lcs(pool.items, lists[chances.at]) for lists in chances.draws]
        return np.asarray(np.mean(drawn, 0) / ideal, np.float64)


class ExpectedScan:
    """What each further candidate adds to the expected accuracy."""

    def __init__(self, plan: Labelled, pool: Pool) -> None:
        assert pool.rows.chances is not None, "candidates are weighed by expected labels"
        self._plan, self._rank = plan, 0
        self._chance = pool.rows.chances.of(pool.items)  # [B, C]
        self._weights = plan.weights(plan.k)
        self._ideal = plan.ideal(next_different(pool), plan.k)
        self._missed = np.ones(len(self._chance))  # the chance that no place so far is a hit, [B]

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        worth = self._weights[self._rank] / self._ideal
        if self._plan.first_hit_only:
            worth = worth * self._missed
        return np.asarray(self._chance[:, over] * worth[:, None], np.float64)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._missed *= 1.0 - picked(self._chance, at)
        self._rank += 1


def next_hits(pool: Pool) -> Bools:
    """Finds the places that hold one of the next items, [B, K]."""
    return pool.once("hits", lambda: _hits(pool, _padded_next(pool)))


def next_different(pool: Pool) -> Ints:
    """Counts the different next items, real or expected, [B]."""
    if (chances := pool.rows.chances) is not None:
        return chances.count[chances.at]
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
