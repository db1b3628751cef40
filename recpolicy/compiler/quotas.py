"""Compiles a quota: its graded value per rank and whether it is satisfied.

A quota looks at windows: the first N places, or every N neighbours; without a window, at all K places. A place is in
excess of an at-most when the last N places, itself included, hold more than the bound allows, where of the places
before it those in excess do not count. What is unknown counts against the slate: it is no part of an at-least; for an
at-most it matches, is a value of its own where different values are counted, and is one and the same value where each
value is counted by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.catalog import Catalog, Term
from recpolicy.compiler.distance import lagged, summed
from recpolicy.compiler.encoded_column import Columns, EncodedColumn, Sets, size
from recpolicy.compiler.measures import increments, running, union
from recpolicy.compiler.windows import AtLeastState, AtMostState, BetweenState, Bounded, Windows
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.language.policy import Bound, Different, Per, Quota, Where


@dataclass(frozen=True, eq=False)
class CompiledQuota:
    """A compiled quota: bounds as numbers of places, a missing bound as None."""

    counted: Term | EncodedColumn
    per: bool
    at_least: int | None
    at_most: int | None
    windows: Windows
    hard: bool

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]: to an at-least, to an at-most, or to the mean of the two."""
        if self.at_least is None:
            return self._at_most(batch)
        if self.at_most is None:
            return self._at_least(batch)
        return 0.5 * (self._at_least(batch) + self._at_most(batch))

    def met(self, batch: CandidateBatch) -> Bools:
        """Checks which whole slates satisfy the quota, [B]."""
        out = np.ones(len(batch.rows), np.bool_)
        if self.at_least is not None:
            for start in range(self.windows.count):
                out &= self._counts(batch, start)[:, -1] >= self.at_least
        return out if self.at_most is None else out & self._within(batch).all(1)

    def start(self, batch: CandidateBatch) -> Bounded:
        """Starts with empty slates."""
        low, high = self.low(batch), self.high(batch)
        if low is not None and high is not None:
            return BetweenState(low, high)
        state = low or high
        assert state is not None, "a quota has a bound"
        return state

    def low(self, batch: CandidateBatch) -> AtLeastState | None:
        """Starts the at-least by itself with empty slates; None without one."""
        if self.at_least is None:
            return None
        if isinstance(self.counted, EncodedColumn):
            codes, size, repeats = self.counted.codes_at(batch), self.counted.size, False
        else:
            codes, size, repeats = _marked(batch.matches(self.counted, unknown=False), 1), 1, True
        return AtLeastState(codes, size, self.at_least, self.windows, batch, repeats=repeats)

    def high(self, batch: CandidateBatch) -> AtMostState | None:
        """Starts the at-most by itself with empty slates; None without one.

        An at-most of a condition is one per value, where all items that match have the same value.
        """
        if self.at_most is None:
            return None
        if isinstance(self.counted, EncodedColumn):
            codes, size, different = _with_unknown(self.counted, batch), self.counted.size, not self.per
        else:
            codes, size, different = _marked(batch.matches(self.counted, unknown=True), 2), 1, False
        return AtMostState(codes, size, self.at_most, self.windows, batch, different=different)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places for whose item it is unknown whether it counts, [B, C]."""
        if isinstance(self.counted, EncodedColumn):
            return self.counted.missing_at(batch)
        return batch.unknown(self.counted)

    # ---- whole slates -----------------------------------------------------------------------------------------------

    def _at_least(self, batch: CandidateBatch) -> Floats:
        """Mean over the windows of min(1, count / n), as it grows; for n = 0 every item of a window adds 1 / N."""
        n, windows = self.at_least, self.windows
        assert n is not None
        out = np.zeros(batch.shape, np.int16, "F")
        for start in range(windows.count):
            inside = slice(start, start + windows.length)
            out[:, inside] += increments(np.minimum(self._counts(batch, start), n)) if n > 0 else batch.held[:, inside]
        return np.asarray(out / (windows.count * (n if n > 0 else windows.length)), np.float64)

    def _counts(self, batch: CandidateBatch, start: int) -> NDArray[np.int16]:
        """Matches or different values that the places of the window at `start` have had, [B, N]."""
        inside = slice(start, start + self.windows.length)
        if isinstance(self.counted, EncodedColumn):
            if start == 0:
                return self.counted.different_at(batch)[:, inside]
            return size(tuple(union(word[:, inside]) for word in self.counted.sets_at(batch)))
        return running(batch.matches(self.counted, unknown=False)[:, inside])

    def _at_most(self, batch: CandidateBatch) -> Floats:
        """1 / K (of the first N places 1 / N) for every item that is not in excess."""
        looked_at = self.windows.k if self.windows.sliding else self.windows.length
        values = np.asarray((self._within(batch) & batch.held[:, :looked_at]) * (1.0 / looked_at), np.float64)
        if looked_at == self.windows.k:
            return values
        out = np.zeros(batch.shape, np.float64, "F")
        out[:, :looked_at] = values
        return out

    def _within(self, batch: CandidateBatch) -> Bools:
        """Places that lie in a window and are not in excess, [B, K] (of the first N places [B, N])."""
        return batch.once(self, lambda: self._find_within(batch))

    def _find_within(self, batch: CandidateBatch) -> Bools:
        n, windows = self.at_most, self.windows
        assert n is not None
        inside, sliding = slice(windows.k if windows.sliding else windows.length), windows.sliding
        if isinstance(self.counted, Term):
            matches = batch.matches(self.counted, unknown=True)[:, inside]
            if not sliding:
                return ~matches | (running(matches) <= n)  # the first n are those that are not in excess
            return _matches_within(matches, n, windows.length)
        if self.per and self.counted.longest == 1 and not sliding:
            some = self.counted.unknown_in(batch)
            codes = _with_unknown(self.counted, batch) if some else self.counted.codes_at(batch)
            return _once_within(codes[:, inside, 0], self.counted.size + some, n)
        sets = tuple(word[:, inside] for word in self.counted.sets_at(batch))
        unknown = self.counted.missing_at(batch)[:, inside]
        if not self.per:
            return _different_within(sets, unknown, n, windows.length)
        if self.counted.unknown_in(batch):
            sets = (*sets, unknown.astype(np.uint64))
        return _each_within(sets, n, windows.length)


def _matches_within(matches: Bools, n: int, length: int) -> Bools:
    """Places that do not match or with which at most `n` of the last `length` match, those in excess left out."""
    counted = matches.astype(np.min_scalar_type(matches.shape[1]))
    places = list(counted.T)
    counts = np.zeros(len(counted), counted.dtype)  # of the places before in the window
    for r, own in enumerate(places):
        own &= counts < n
        counts += own
        if r + 1 >= length:
            counts -= places[r + 1 - length]
    return np.asarray(counted >= matches, np.bool_)


def _once_within(codes: Codes, nothing: int, n: int) -> Bools:
    """Places of a value that fewer than `n` places before hold: the first `n` of each value are not in excess."""
    k = codes.shape[1]
    before = summed(lagged(np.equal, codes).astype(np.min_scalar_type(k)), k)
    return np.asarray((before < n) | (codes == nothing), np.bool_)


def _each_within(sets: Sets, n: int, length: int) -> Bools:
    """Places of no value that more than `n` of the last `length` places hold, those in excess left out, [B, K].

    Counts are kept as bit sets: the i-th holds the values that i + 1 places have had.
    """
    b, k = sets[0].shape
    within, counted = np.ones((b, k), np.bool_, "F"), [np.zeros_like(word) for word in sets]
    counts = [[np.zeros(b, word.dtype) for word in sets] for _ in range(min(n, length))]

    def count(place: int) -> None:
        for i, word in enumerate(counted):
            for more, fewer in zip(counts[::-1], counts[-2::-1], strict=False):
                more[i] |= fewer[i] & word[:, place]
            if counts:
                counts[0][i] |= word[:, place]

    for r in range(k):
        if r >= length:  # a place has left the window: count the rest anew
            counts = [[np.zeros(b, word.dtype) for word in sets] for _ in range(min(n, length))]
            for place in range(r - length + 1, r):
                count(place)
        for i, word in enumerate(sets):
            full = word[:, r] & counts[-1][i] if counts else word[:, r]
            within[:, r] &= full == 0
        for i, word in enumerate(sets):
            np.multiply(word[:, r], within[:, r], out=counted[i][:, r])
        count(r)
    return within


def _different_within(sets: Sets, unknown: Bools, n: int, length: int) -> Bools:
    """Places with which the last `length` hold at most `n` different values, those in excess left out, [B, K]."""
    b, k = sets[0].shape
    within, counted = np.ones((b, k), np.bool_, "F"), [np.zeros_like(word) for word in sets]
    alone = np.zeros((b, k), np.int16, "F")  # unknown values of places not in excess: each is a value of its own
    for r in range(k):
        before = slice(max(0, r - length + 1), r)
        held = [np.bitwise_or.reduce(word[:, before], 1) for word in counted]
        own = [word[:, r] for word in sets]
        grown = size(tuple(a | b for a, b in zip(held, own, strict=True))) + unknown[:, r]
        adds = grown > size(tuple(held))
        within[:, r] = ~adds | (grown + alone[:, before].sum(1) <= n)
        for word, mine in zip(counted, own, strict=True):
            np.multiply(mine, within[:, r], out=word[:, r])
        alone[:, r] = unknown[:, r] & within[:, r]
    return within


def compile_quota(quota: Quota, catalog: Catalog, columns: Columns, k: int) -> CompiledQuota:
    """Compiles a quota; a share p of N places is at least ceil(p N), at most floor(p N).

    N is the length of the quota's window, or K. A window longer than the slate is the slate.
    """
    windows = Windows(k, False, k)
    if quota.window is not None:
        windows = Windows(min(quota.window.length, k), quota.window.sliding, k)
    n = windows.length
    at_least = None if quota.at_least is None else math.ceil(_places(quota.at_least, n) - 1e-9)
    at_most = None if quota.at_most is None else math.floor(_places(quota.at_most, n) + 1e-9)
    match quota.counted:
        case Where(predicate=predicate):
            return CompiledQuota(catalog.term(predicate), False, at_least, at_most, windows, quota.hard)
        case Per(column=column) | Different(column=column):
            values, per = columns.encoded(column.name), isinstance(quota.counted, Per)
            return CompiledQuota(values, per, at_least, at_most, windows, quota.hard)
        case _:
            assert_never(quota.counted)


def _places(bound: Bound, n: int) -> float:
    return bound.amount * n if bound.percent else bound.amount


def _marked(matches: Bools, nothing: int) -> Codes:
    """0 for what matches, `nothing` for the rest, as codes [B, C, 1]."""
    return np.where(matches, np.int32(0), np.int32(nothing))[..., None]


def _with_unknown(column: EncodedColumn, batch: CandidateBatch) -> Codes:
    """The codes of the candidates with `size` for an unknown value and `size + 1` for none, [B, C, L]."""

    def compute() -> Codes:
        known = column.codes_at(batch)
        codes = np.where(known == column.size, np.int32(column.size + 1), known)
        codes[..., 0] = np.where(column.missing_at(batch), np.int32(column.size), codes[..., 0])
        return codes

    return batch.once(("codes and unknown", column.name), compute)
