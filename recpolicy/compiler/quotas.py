"""A quota in, its graded value per rank and whether it is satisfied out.

A place is in excess of an at-most when it takes the count past the bound. What is unknown counts against the slate:
it is no part of an at-least; for an at-most it matches, is a value of its own where different values are counted, and
is one and the same value where each value is counted by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from recpolicy.compiler.coded import Coded, coded
from recpolicy.compiler.counters import Counter, MatchCounter, ValueCounter
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.scan import QuotaScan, picked
from recpolicy.dataset import Dataset
from recpolicy.policy import Bound, Different, Expr, Per, Quota, Where
from recpolicy.table import Bools, Floats, Ints


class AtLeastScan:
    """min(1, count / n); for n = 0 every item adds 1 / K."""

    def __init__(self, counter: Counter, n: int, pool: Pool, k: int) -> None:
        self._counter, self._n, self._held, self._k = counter, n, pool.held, k
        self._count = np.zeros(len(self._held), np.int64)

    def gains(self, over: slice) -> Floats:
        if self._n <= 0:
            return np.where(self._held[:, over], 1.0 / self._k, 0.0)
        before = self._count[:, None]
        after = before + self._counter.raised(over)
        gains = np.minimum(after, self._n) - np.minimum(before, self._n)
        return np.asarray(gains / self._n, np.float64)

    def take(self, at: Ints) -> None:
        self._count += picked(self._counter.raised(slice(None)), at)
        self._counter.take(at)

    def met(self) -> Bools:
        return self._count >= self._n


class AtMostScan:
    """1 / K for every item that does not take the count past n."""

    def __init__(self, counter: Counter, n: int, pool: Pool, k: int) -> None:
        self._counter, self._n, self._held, self._k = counter, n, pool.held, k
        self._count = np.zeros(len(self._held), np.int64)

    def gains(self, over: slice) -> Floats:
        raised = self._counter.raised(over)
        within = (raised == 0) | (self._count[:, None] + raised <= self._n)
        return np.where(within & self._held[:, over], 1.0 / self._k, 0.0)

    def take(self, at: Ints) -> None:
        self._count += picked(self._counter.raised(slice(None)), at)
        self._counter.take(at)

    def met(self) -> Bools:
        return self._count <= self._n


class PerScan:
    """1 / K for every item none of whose values stands more than n times in the slate up to it."""

    def __init__(self, column: Coded, n: int, pool: Pool, k: int) -> None:
        codes = column.codes_at(pool).astype(np.int64)
        codes = np.where(codes == column.size, column.size + 1, codes)
        codes[..., 0] = np.where(column.missing_at(pool), column.size, codes[..., 0])
        self._codes = codes  # [B, C, L]: `size` is the value of all unknown ones, `size + 1` is no value
        self._counts = np.zeros((len(codes), column.size + 2), np.int64)
        self._nothing, self._n, self._held, self._k = column.size + 1, n, pool.held, k

    def gains(self, over: slice) -> Floats:
        codes = self._codes[:, over]
        count = self._counts[np.arange(len(codes))[:, None, None], codes]
        within = ((count < self._n) | (codes == self._nothing)).all(2)
        return np.where(within & self._held[:, over], 1.0 / self._k, 0.0)

    def take(self, at: Ints) -> None:
        self._counts[np.arange(len(at))[:, None], picked(self._codes, at)] += 1  # an item has no value twice
        self._counts[:, self._nothing] = 0

    def met(self) -> Bools:
        return np.asarray((self._counts <= self._n).all(1), np.bool_)


class BetweenScan:
    """The mean of an at-least and an at-most."""

    def __init__(self, low: QuotaScan, high: QuotaScan) -> None:
        self._low, self._high = low, high

    def gains(self, over: slice) -> Floats:
        return 0.5 * (self._low.gains(over) + self._high.gains(over))

    def take(self, at: Ints) -> None:
        self._low.take(at)
        self._high.take(at)

    def met(self) -> Bools:
        return self._low.met() & self._high.met()


@dataclass(frozen=True, eq=False)
class Demand:
    """A compiled quota: bounds as numbers of places, a missing bound as None."""

    counted: Expr | Coded
    per: bool
    at_least: int | None
    at_most: int | None
    k: int

    def scan(self, pool: Pool) -> QuotaScan:
        """Start with empty slates."""
        scans: list[QuotaScan] = []
        if self.at_least is not None:
            scans.append(AtLeastScan(self._counter(pool, unknown=False), self.at_least, pool, self.k))
        if self.at_most is not None and self.per:
            assert isinstance(self.counted, Coded)
            scans.append(PerScan(self.counted, self.at_most, pool, self.k))
        elif self.at_most is not None:
            scans.append(AtMostScan(self._counter(pool, unknown=True), self.at_most, pool, self.k))
        return scans[0] if len(scans) == 1 else BetweenScan(*scans)

    def missing(self, pool: Pool) -> Bools:
        """Places whose item cannot be told to count or not, [B, C]."""
        if isinstance(self.counted, Coded):
            return self.counted.missing_at(pool)
        return pool.unknown(self.counted)

    def _counter(self, pool: Pool, *, unknown: bool) -> Counter:
        if isinstance(self.counted, Coded):
            return ValueCounter(self.counted, pool, unknown=unknown)
        return MatchCounter(pool.matches(self.counted, unknown=unknown))


def demand(quota: Quota, dataset: Dataset, k: int) -> Demand:
    """Compile a quota; a share p of K places is at least ceil(p K), at most floor(p K)."""
    at_least = None if quota.at_least is None else math.ceil(_places(quota.at_least, k) - 1e-9)
    at_most = None if quota.at_most is None else math.floor(_places(quota.at_most, k) + 1e-9)
    match quota.counted:
        case Where(predicate=predicate):
            return Demand(predicate, False, at_least, at_most, k)
        case Per(column=column) | Different(column=column):
            values = coded(column.name, dataset.items.columns[column.name])
            return Demand(values, isinstance(quota.counted, Per), at_least, at_most, k)
        case _:
            assert_never(quota.counted)


def _places(bound: Bound, k: int) -> float:
    return bound.amount * k if bound.percent else bound.amount
