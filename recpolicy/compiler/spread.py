"""Compiles measures of a slate as a whole: distance, distinct, entropy, calibration.

An item without a value contributes, by `on missing`: `mean`, what an item of the catalog contributes on average;
`zero`, nothing; `fail`, the end of the slate's value. "On average" is the mean over 1,024 random slates (for
`distance`: pairs) of items that have the value, drawn once with a fixed seed; for `calibration` it is the mean
distribution of the catalog. An empty list is a value: it holds nothing, and differs from every other list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from recpolicy.compiler.calibration import CalibrationMeasure
from recpolicy.compiler.candidate_batch import CandidateBatch, bare
from recpolicy.compiler.catalog import NOTHING
from recpolicy.compiler.distance import Distances, distances, lagged, summed
from recpolicy.compiler.encoded_column import Columns, CountingMeasure
from recpolicy.compiler.measures import CompiledMeasure, FailOnMissing, MeasureState, increments, picked, running
from recpolicy.compiler.value_weights import add, entries, grown, xlogx
from recpolicy.dataset.columns import Bools, Floats, Ints, Ragged
from recpolicy.language.policy import Missing, Spread

DRAWS = 1024


class DistanceState:
    """Sum of distances to the items already chosen, over K (K - 1) / 2 pairs."""

    def __init__(self, measure: DistanceMeasure, batch: CandidateBatch) -> None:
        self._measure, self._batch = measure, batch
        self._missing, self._held = measure.missing(batch), batch.held
        self._sums = np.zeros(batch.shape)

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        sums = self._sums[:, over]
        return sums / self._measure.pairs if self._measure.pairs else np.zeros_like(sums)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        unknown = self._missing | picked(self._missing, at)[:, None]
        distance = np.where(unknown, self._measure.typical, self._measure.distances.to(self._batch, at))
        self._sums += distance * (self._held & picked(self._held, at)[:, None])


@dataclass(frozen=True, eq=False)
class DistanceMeasure:
    """Intra-list distance (Ziegler et al., WWW 2005): the mean over the pairs of a full slate."""

    distances: Distances
    k: int
    typical: float

    @property
    def pairs(self) -> float:
        """Pairs of places of a full slate."""
        return self.k * (self.k - 1) / 2

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        if self.k < 2:
            return np.zeros(batch.shape)
        pairs = self.distances.pairs(batch)
        if self.distances.unknown_in(batch):
            unknown = lagged(np.logical_or, self.missing(batch)) & lagged(np.logical_and, batch.held)
            pairs = np.where(unknown, self.typical, pairs)
        out = summed(pairs, self.k)
        out /= self.pairs
        return out

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return DistanceState(self, batch)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""
        return self.distances.missing_at(batch)


class DistinctState:
    """New values over the most there can be; typical items add the same each, and the whole stops at 1."""

    def __init__(self, measure: DistinctMeasure, batch: CandidateBatch) -> None:
        column = measure.column
        self._codes, self._missing = column.codes_at(batch), column.missing_at(batch)
        self._seen = np.zeros((len(self._codes), column.size + 1), np.bool_)
        self._seen[:, column.size] = True  # past a list's end stands nothing new
        self._most, self._typical = measure.most, measure.typical
        self._value = np.zeros(len(self._codes))

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        return np.minimum(self._value[:, None] + self._added(over), 1.0) - np.minimum(self._value[:, None], 1.0)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._value += picked(self._added(slice(None)), at)
        self._seen[np.arange(len(at))[:, None], picked(self._codes, at)] = True

    def _added(self, over: slice) -> Floats:
        new = (~entries(self._seen, self._codes[:, over])).sum(2)
        return np.where(self._missing[:, over], self._typical, new / max(self._most, 1))


@dataclass(frozen=True, eq=False)
class DistinctMeasure(CountingMeasure):
    """Different values over min(values in the catalog, K x longest list)."""

    typical: float

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        value = self.column.different_at(batch) / np.float64(max(self.most, 1))
        if self.column.unknown_in(batch):
            value = np.minimum(value + self.typical * running(self.missing(batch)), 1.0)
        return increments(value)

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return DistinctState(self, batch)


class EntropyState:
    """(T / K) x the entropy of the T items with a value, that is (T log T - sum of n log n) / K: it only ever grows."""

    def __init__(self, measure: EntropyMeasure, batch: CandidateBatch) -> None:
        column = measure.column
        self._codes, self._shares = column.codes_at(batch), column.shares_at(batch)
        self._missing, self._size = column.missing_at(batch), column.size
        self._mass = np.zeros((len(self._codes), column.size + 1))  # n of every value; the last is past a list's end
        self._total = np.zeros(len(self._codes))  # T
        self._scale, self._typical = measure.scale, measure.typical

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        codes, shares = self._codes[:, over], self._shares[:, over]
        before = entries(self._mass, codes)
        grown = np.where(codes < self._size, xlogx(before + shares[..., None]) - xlogx(before), 0.0).sum(2)
        total = (xlogx(self._total + 1.0) - xlogx(self._total))[:, None]
        gains = np.where(shares > 0, np.maximum(total - grown, 0.0), 0.0) * self._scale
        return np.where(self._missing[:, over], self._typical, gains)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        add(self._mass, picked(self._codes, at), picked(self._shares, at))
        self._total += picked(self._shares, at) > 0


@dataclass(frozen=True, eq=False)
class EntropyMeasure(CountingMeasure):
    """Shannon entropy of the slate's values over log min(values in the catalog, K x longest list).

    Each item weighs 1, shared equally among its values. A slate of T < K items with a value is worth T / K of its
    entropy, which makes the empty slate 0, the full slate the standard definition and no marginal negative.
    """

    typical: float
    steps: Floats = field(init=False)
    """How much T log T grows to T, [K + 1]."""

    @property
    def scale(self) -> float:
        """One over the largest value of the unscaled sum."""
        return float(1.0 / (self.k * np.log2(self.most))) if self.most > 1 else 0.0

    def __post_init__(self) -> None:
        total = xlogx(np.arange(self.k + 1.0))
        object.__setattr__(self, "steps", np.append(0.0, total[1:] - total[:-1]))

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        (slots, n), shares = self.column.slots_at(batch), self.column.shares_at(batch)
        each = shares.T[:, None] * (slots < n)  # [K, L, B]
        before, after = xlogx(grown(slots, n, each))
        counts = shares > 0
        gains = self.steps[running(counts)]
        gains -= np.subtract(after, before, out=after).sum(1).T
        np.maximum(gains, 0.0, out=gains)
        gains *= counts * self.scale
        return np.where(self.missing(batch), self.typical, gains) if self.column.unknown_in(batch) else gains

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return EntropyState(self, batch)


def spread(node: Spread, columns: Columns, k: int) -> CompiledMeasure:
    """Compiles a spread measure."""
    name, mean = node.column.name, node.missing is Missing.MEAN
    measure: CompiledMeasure
    match node.measure:
        case "distance":
            pairs = distances(name, columns)
            measure = DistanceMeasure(pairs, k, typical_distance(pairs) if mean else 0.0)
        case "distinct" | "entropy" as word:
            column, kind = columns.encoded(name), DistinctMeasure if word == "distinct" else EntropyMeasure
            typical = _typical(lambda size: kind(column, size, 0.0), column.known, k) / k if mean else 0.0
            measure = kind(column, k, typical)
        case "calibration":
            column = columns.encoded(name)
            known = column.known
            fill = column.mass(Ragged(np.array([0, len(known)]), known.astype(np.int32)))[0]
            measure = CalibrationMeasure(column, k, fill if mean and fill.any() else None)
    return FailOnMissing(measure) if node.missing is Missing.FAIL else measure


def typical_distance(distances: Distances) -> float:
    """Computes the mean distance of `DRAWS` random pairs of items that have a value; 0 where there are none."""
    if len(distances.known) < 2:
        return 0.0  # one item makes no pair
    return _typical(lambda _: DistanceMeasure(distances, 2, 0.0), distances.known, 2)


def _typical(measure: Callable[[int], CompiledMeasure], known: Ints, k: int) -> float:
    """Mean value over `DRAWS` random slates of min(K, number known) items that have a value; 0 where there are none."""
    size = min(k, len(known))
    if size == 0:
        return 0.0
    drawn = known[random_slates(len(known), size)].astype(np.int32, "F")
    batch = CandidateBatch(NOTHING, bare(np.zeros(DRAWS, np.int64)), drawn)
    return float(measure(size).marginals(batch).sum(1).mean())


def random_slates(items: int, size: int) -> Ints:
    """Samples `size` of `items` without replacement, uniformly, `DRAWS` times, [DRAWS, size], the same each time.

    Floyd's algorithm (Bentley and Floyd, CACM 1987), all samples at once.
    """
    rng = np.random.default_rng(0)
    out = np.full((DRAWS, size), -1, np.int64)
    for i, last in enumerate(range(items - size, items)):
        drawn = rng.integers(0, last + 1, DRAWS)
        again = (out == drawn[:, None]).any(1)
        out[:, i] = np.where(again, last, drawn)
    return out
