"""Measures of a slate as a whole: distance, distinct, entropy, calibration.

An item without a value contributes, by `on missing`: `mean`, what an item of the catalog contributes on average;
`zero`, nothing; `fail`, the end of the slate's value. "On average" is the mean over 1,024 random slates (for
`distance`: pairs) of items that have the value, drawn once with a fixed seed; for `calibration` it is the mean
distribution of the catalog. An empty list is a value: it holds nothing, and differs from every other list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recpolicy.compiler.catalog import NOTHING
from recpolicy.compiler.coded import Coded, coded
from recpolicy.compiler.distance import Distances, distances
from recpolicy.compiler.pool import Pool, bare
from recpolicy.compiler.scan import A, FailScan, Plan, Scan, ledger, picked
from recpolicy.dataset import Dataset
from recpolicy.policy import Missing, Spread
from recpolicy.table import Bools, Codes, Floats, Ints, Ragged

DRAWS = 1024


class DistanceScan:
    """Sum of distances to the items already chosen, over K (K - 1) / 2 pairs."""

    def __init__(self, distances: Distances, pool: Pool, pairs: float, typical: float) -> None:
        self._distances, self._pool, self._pairs, self._typical = distances, pool, pairs, typical
        self._missing, self._held = distances.missing_at(pool), pool.held
        self._sums = np.zeros(pool.shape)

    def gains(self, over: slice) -> Floats:
        return self._sums[:, over] / self._pairs if self._pairs else np.zeros_like(self._sums[:, over])

    def take(self, at: Ints) -> None:
        unknown = self._missing | picked(self._missing, at)[:, None]
        distance = np.where(unknown, self._typical, self._distances.to(self._pool, at))
        self._sums += distance * (self._held & picked(self._held, at)[:, None])


@dataclass(frozen=True, eq=False)
class Distance:
    """Intra-list distance (Ziegler et al., WWW 2005): the mean over the pairs of a full slate."""

    distances: Distances
    k: int
    typical: float

    def scan(self, pool: Pool) -> Scan:
        return DistanceScan(self.distances, pool, self.k * (self.k - 1) / 2, self.typical)

    def missing(self, pool: Pool) -> Bools:
        return self.distances.missing_at(pool)


class DistinctScan:
    """New values over the most there can be; typical items add the same each, and the whole stops at 1."""

    def __init__(self, column: Coded, pool: Pool, most: int, typical: float) -> None:
        self._codes, self._missing = column.codes_at(pool), column.missing_at(pool)
        self._seen = np.zeros((len(self._codes), column.size + 1), np.bool_)
        self._seen[:, column.size] = True  # past a list's end stands nothing new
        self._most, self._typical = most, typical
        self._value = np.zeros(len(self._codes))

    def gains(self, over: slice) -> Floats:
        return np.minimum(self._value[:, None] + self._added(over), 1.0) - np.minimum(self._value[:, None], 1.0)

    def take(self, at: Ints) -> None:
        self._value += picked(self._added(slice(None)), at)
        self._seen[np.arange(len(at))[:, None], picked(self._codes, at)] = True

    def _added(self, over: slice) -> Floats:
        new = (~_at(self._seen, self._codes[:, over])).sum(2)
        return np.where(self._missing[:, over], self._typical, new / max(self._most, 1))


@dataclass(frozen=True, eq=False)
class Distinct:
    """Different values over min(values in the catalog, K x longest list)."""

    column: Coded
    k: int
    typical: float

    def scan(self, pool: Pool) -> Scan:
        return DistinctScan(self.column, pool, min(self.column.size, self.k * self.column.longest), self.typical)

    def missing(self, pool: Pool) -> Bools:
        return self.column.missing_at(pool)


class EntropyScan:
    """(T / K) x the entropy of the T items with a value, that is (T log T - sum of n log n) / K: it only ever grows."""

    def __init__(self, column: Coded, pool: Pool, scale: float, typical: float) -> None:
        self._codes, self._shares = column.codes_at(pool), column.shares_at(pool)
        self._missing, self._size = column.missing_at(pool), column.size
        self._mass = np.zeros((len(self._codes), column.size + 1))  # n of every value; the last is past a list's end
        self._total = np.zeros(len(self._codes))  # T
        self._scale, self._typical = scale, typical

    def gains(self, over: slice) -> Floats:
        codes, shares = self._codes[:, over], self._shares[:, over]
        before = _at(self._mass, codes)
        grown = np.where(codes < self._size, _xlogx(before + shares[..., None]) - _xlogx(before), 0.0).sum(2)
        total = (_xlogx(self._total + 1.0) - _xlogx(self._total))[:, None]
        gains = np.where(shares > 0, np.maximum(total - grown, 0.0), 0.0) * self._scale
        return np.where(self._missing[:, over], self._typical, gains)

    def take(self, at: Ints) -> None:
        _add(self._mass, picked(self._codes, at), picked(self._shares, at))
        self._total += picked(self._shares, at) > 0


@dataclass(frozen=True, eq=False)
class Entropy:
    """Shannon entropy of the slate's values over log min(values in the catalog, K x longest list).

    Each item weighs 1, shared equally among its values. A slate of T < K items with a value is worth T / K of its
    entropy, which makes the empty slate 0, the full slate the standard definition and no marginal negative.
    """

    column: Coded
    k: int
    typical: float

    def scan(self, pool: Pool) -> Scan:
        most = min(self.column.size, self.k * self.column.longest)
        scale = 1.0 / (self.k * np.log2(most)) if most > 1 else 0.0
        return EntropyScan(self.column, pool, scale, self.typical)

    def missing(self, pool: Pool) -> Bools:
        return self.column.missing_at(pool)


class CalibrationScan:
    """(T / K) x (1 - divergence of the history P from Q, the T items so far that have a value).

    The divergence is a sum over values (`_jensen_terms`). Where Q is 0 a term is P / 2, so only the slate's own values
    need to be looked at, unless an item without a value has brought in the whole catalog's.
    """

    def __init__(self, column: Coded, pool: Pool, k: int, fill: Floats | None) -> None:
        self._codes, self._shares = column.codes_at(pool), column.shares_at(pool)
        self._missing, self._size, self._k = column.missing_at(pool), column.size, k
        self._fill = None if fill is None else np.append(fill, 0.0)
        history = pool.once(("history", column.name), lambda: column.mass(pool.rows.history))
        rows = len(history)
        self._history = np.concatenate([history, np.zeros((rows, 1))], 1)  # P: [B, size + 1], the last for no value
        self._mass = np.zeros((rows, column.size + 1))  # T Q of the items with a value
        self._filled = np.zeros(rows)  # items without one, which stand for the catalog
        self._total = np.zeros(rows)  # T
        self._value = np.zeros(rows)
        self._support = np.full((rows, 0), column.size)  # each of the slate's values once, else `size`

    def gains(self, over: slice) -> Floats:
        return self._grown(self._codes[:, over], self._shares[:, over], self._missing[:, over]) - self._value[:, None]

    def take(self, at: Ints) -> None:
        codes, shares, missing = picked(self._codes, at), picked(self._shares, at), picked(self._missing, at)
        self._value = self._grown(codes[:, None], shares[:, None], missing[:, None])[:, 0]
        new = np.where(_at(self._mass, codes[:, None])[:, 0] > 0, self._size, codes)
        self._support = np.concatenate([self._support, new], 1)
        _add(self._mass, codes, shares)
        self._total += shares > 0
        if self._fill is not None:
            self._filled += missing
            self._total += missing

    def _grown(self, codes: Codes, shares: Floats, missing: Bools) -> Floats:
        """Value of each slate with one more item, of codes [B, C, L], shares and missing [B, C]."""
        total = self._total[:, None] + 1.0
        base = self._base(total)
        p, before = _at(self._history, codes), _at(self._mass, codes)
        counts = shares > 0
        if self._fill is not None:
            before = before + self._filled[:, None, None] * self._fill[codes]
            counts = counts | missing
        before = before / total[..., None]
        change = _jensen_terms(p, before + (shares / total)[..., None]) - _jensen_terms(p, before)
        divergence = base[:, None] + np.where(codes < self._size, change, 0.0).sum(2)
        if self._fill is not None and (rows := np.flatnonzero(missing.any(1))).size:
            dense = self._dense(rows, self._filled[rows] + 1.0, total[rows])
            divergence[rows] = np.where(missing[rows], dense[:, None], divergence[rows])
        value = total / self._k * (1.0 - np.clip(divergence, 0.0, 1.0))
        return np.where(counts, value, self._value[:, None])

    def _base(self, total: Floats) -> Floats:
        """The divergence were the items so far spread over `total` [B, 1] of them, [B]."""
        support = self._support[:, None]
        p, mass = _at(self._history, support)[:, 0], _at(self._mass, support)[:, 0]
        base = _jensen_terms(p, mass / total).sum(1) + 0.5 * (self._history.sum(1) - p.sum(1))
        rows = np.flatnonzero(self._filled)
        if rows.size:
            base[rows] = self._dense(rows, self._filled[rows], total[rows])
        return np.asarray(base, np.float64)

    def _dense(self, rows: Ints, filled: Floats, total: Floats) -> Floats:
        """The same with every value of the catalog in the slate, for some of the rows."""
        assert self._fill is not None
        mass = self._mass[rows] + filled[:, None] * self._fill
        return np.asarray(_jensen_terms(self._history[rows], mass / total).sum(1), np.float64)


@dataclass(frozen=True, eq=False)
class Calibration:
    """1 - Jensen-Shannon divergence (base 2; Lin 1991) between the user's history and the slate.

    Both are distributions over the column's values in which each item weighs the same (Steck, RecSys 2018, without
    smoothing). Scaled by T / K as `Entropy` is; the divergence is convex, so no marginal is negative.
    """

    column: Coded
    k: int
    fill: Floats | None
    """[size], the catalog's mean distribution; None where a missing item contributes nothing."""

    def scan(self, pool: Pool) -> Scan:
        return CalibrationScan(self.column, pool, self.k, self.fill)

    def missing(self, pool: Pool) -> Bools:
        return self.column.missing_at(pool)

    def applicable(self, pool: Pool) -> Bools:
        """Users whose history has a value, [B]."""
        history = pool.rows.history
        row = np.repeat(np.arange(len(history)), history.lengths)
        return np.bincount(row, self.column.shares[history.values], len(history)) > 0


@dataclass(frozen=True, eq=False)
class Failing:
    """A plan under `on missing fail`."""

    plan: Plan

    def scan(self, pool: Pool) -> Scan:
        return FailScan(self.plan.scan(pool), self.plan.missing(pool))

    def missing(self, pool: Pool) -> Bools:
        return self.plan.missing(pool)


def spread(node: Spread, dataset: Dataset, k: int) -> Plan:
    """Compile a spread measure."""
    name, data = node.column.name, dataset.items.columns[node.column.name]
    column, mean = coded(name, data), node.missing is Missing.MEAN
    plan: Plan
    match node.measure:
        case "distance":
            pairs = distances(name, data, column)
            plan = Distance(pairs, k, typical_distance(pairs) if mean else 0.0)
        case "distinct":
            typical = _typical(lambda size: Distinct(column, size, 0.0), column.known, k) / k if mean else 0.0
            plan = Distinct(column, k, typical)
        case "entropy":
            typical = _typical(lambda size: Entropy(column, size, 0.0), column.known, k) / k if mean else 0.0
            plan = Entropy(column, k, typical)
        case "calibration":
            fill = column.mass(Ragged.of([column.known.tolist()]))[0]
            plan = Calibration(column, k, fill if mean and fill.any() else None)
    return Failing(plan) if node.missing is Missing.FAIL else plan


def typical_distance(distances: Distances) -> float:
    """Mean distance of `DRAWS` random pairs of items that have a value; 0 where there are none."""
    return _typical(lambda _: Distance(distances, 2, 0.0), distances.known, 2)


def _typical(plan: Callable[[int], Plan], known: Ints, k: int) -> float:
    """Mean value over `DRAWS` random slates of min(K, number known) items that have a value; 0 where there are none."""
    size = min(k, len(known))
    if size == 0:
        return 0.0
    drawn = known[random_slates(len(known), size)].astype(np.int32)
    pool = Pool(NOTHING, bare(np.zeros(DRAWS, np.int64)), drawn)
    return float(ledger(plan(size).scan(pool), pool).sum(1).mean())


def random_slates(items: int, size: int) -> Ints:
    """`DRAWS` uniform samples of `size` of `items` without replacement, [DRAWS, size], the same each time.

    Floyd's algorithm (Bentley and Floyd, CACM 1987), all samples at once.
    """
    rng = np.random.default_rng(0)
    out = np.full((DRAWS, size), -1, np.int64)
    for i, last in enumerate(range(items - size, items)):
        drawn = rng.integers(0, last + 1, DRAWS)
        again = (out == drawn[:, None]).any(1)
        out[:, i] = np.where(again, last, drawn)
    return out


def _at(table: A, codes: Codes) -> A:
    """Each row's own entries: table [B, V], codes [B, C, L] -> [B, C, L]."""
    return table[np.arange(len(codes))[:, None, None], codes]  # type: ignore[return-value]


def _add(mass: Floats, codes: Codes, shares: Floats) -> None:
    """Add one item's shares to each row (mass [B, V + 1], codes [B, L], shares [B]), nothing past a list's end."""
    mass[np.arange(len(codes))[:, None], codes] += shares[:, None]  # an item has no value twice
    mass[:, -1] = 0.0


def _xlogx(x: Floats) -> Floats:
    """x log2 x, 0 at 0."""
    return np.asarray(x * np.log2(np.where(x > 0, x, 1.0)), np.float64)


def _jensen_terms(p: Floats, q: Floats) -> Floats:
    """The terms of the Jensen-Shannon divergence, value by value."""
    return np.asarray(0.5 * _xlogx(p) + 0.5 * _xlogx(q) - _xlogx(0.5 * (p + q)), np.float64)
