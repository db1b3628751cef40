"""Follows quotas as slates grow: what each candidate would add, and whether the bound holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.measures import MeasureState, picked
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints

EVERYTHING = slice(None)


@dataclass(frozen=True)
class Windows:
    """The runs of `length` places a quota looks at, in a slate of `k`: the first `length`, or if `sliding` all."""

    length: int
    sliding: bool
    k: int

    @property
    def count(self) -> int:
        """How many there are; number s starts at place s (from 0)."""
        return self.k - self.length + 1 if self.sliding else 1

    def over(self, rank: Ints) -> Iterator[tuple[Ints, Bools]]:
        """Yields the windows that place `rank[b]` lies in, one after another, the last to close first.

        Gives each row's window, [B], and whether there is one, [B].
        """
        for before in range(self.length if self.sliding else 1):
            start = rank - before if self.sliding else np.zeros_like(rank)
            inside = (start >= 0) & (start < self.count) & (rank < start + self.length)
            yield np.clip(start, 0, self.count - 1), inside


class Bounded(MeasureState, Protocol):
    """A state that also knows whether the demand holds, and whose rows may be at different places."""

    def take(self, at: Ints, rows: Ints | None = None) -> None:
        """Puts candidate `at[i]`, -1 a hole, at the next place of the slate of `rows[i]`; all rows if not given."""

    def met(self) -> Bools:
        """Checks which slates satisfy the bound so far, [B]."""


class AtLeastState:
    """Mean over the windows of min(1, count / n); for n = 0 every item of a window adds 1 / N."""

    def __init__(
        self, codes: Codes, size: int, n: int, windows: Windows, batch: CandidateBatch, *, repeats: bool
    ) -> None:
        b = len(batch.rows)
        self._codes, self._held = codes, batch.held  # [B or 1, C, L], `size` is no value; [B or 1, C]
        self._size = size
        self._n, self._windows, self._repeats = n, windows, repeats
        self._rank = np.zeros(b, np.int64)
        self._counts = np.zeros((b, windows.count), np.int64)
        self._last = np.full((b, size + 1), -1, np.int16)
        """The last place of every value: it is new to the windows that start after it. Where `repeats`, always -1."""
        self._last[:, size] = windows.k

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        last, held = self._last_of(over), self._held[:, over]
        out = np.zeros(last.shape[:2])
        for start, inside in self._windows.over(self._rank):
            if self._n <= 0:
                out += np.where(held & inside[:, None], 1.0 / self._windows.length, 0.0)
            else:
                before = picked(self._counts, start)[:, None]
                after = before + _new(last, start)
                out += (np.minimum(after, self._n) - np.minimum(before, self._n)) * inside[:, None] / self._n
        return out / self._windows.count

    def take(self, at: Ints, rows: Ints | None = None) -> None:
        """Puts candidate `at[i]`, -1 a hole, at the next place of the slate of `rows[i]`; all rows if not given."""
        rows = np.arange(len(self._rank)) if rows is None else rows
        codes, rank = np.where(at[:, None] < 0, self._size, picked(self._codes, at, rows)), self._rank[rows]
        last = self._last[rows[:, None], codes][:, None]  # [rows, 1, L]
        for start, inside in self._windows.over(rank):
            self._counts[rows, start] += _new(last, start)[:, 0] * inside
        if not self._repeats:
            self._last[rows[:, None], codes] = rank[:, None]
            self._last[:, self._size] = self._windows.k
        self._rank[rows] += 1

    def met(self) -> Bools:
        """Checks which slates have enough in every window, [B]."""
        return np.asarray((self._counts >= self._n).all(1), np.bool_)

    def short(self) -> Iterator[tuple[Ints, Ints]]:
        """Yields for each window over the next place what it lacks after each candidate, [B, C], and places left, [B].

        Where a row has no such window, 0 and K.
        """
        last = self._last_of(EVERYTHING)
        for start, inside in self._windows.over(self._rank):
            lacking = self._n - picked(self._counts, start)[:, None] - _new(last, start)
            left = start + self._windows.length - 1 - self._rank
            yield np.where(inside[:, None], np.maximum(lacking, 0), 0), np.where(inside, left, self._windows.k)

    def reserve(self, free: Bools) -> Ints:
        """Counts how many more matches the places after each candidate need than are `free` [B, C], [B, C].

        They need fewest when every match stands as late as its window allows. This matters only for matches in sliding
        windows, where a match that is too early is lost; elsewhere it is 0.
        """
        if not (self._repeats and self._windows.sliding):
            return np.zeros((len(self._rank), 1), np.int64)
        matches = self._codes[..., 0] == 0
        supply = (matches & free).sum(1)
        without, having = self._needed(match=False) - supply, self._needed(match=True) - (supply - 1)
        return np.asarray(np.where(matches, having[:, None], without[:, None]), np.int64)

    def _needed(self, *, match: bool) -> Ints:
        """Matches that the places after the next one need at least, if the next one is a match or is none, [B]."""
        counts, needed = self._counts.copy(), np.zeros_like(self._rank)
        starts = np.arange(self._windows.count)
        for place in range(self._windows.k):
            over = (starts <= place) & (place < starts + self._windows.length)  # [windows]
            due = (self._n - counts >= starts + self._windows.length - place)[:, over].any(1)
            placed = np.where(place == self._rank, match, (place > self._rank) & due)  # [B]
            counts[:, over] += placed[:, None]
            needed += placed & (place > self._rank)
        return needed

    def _last_of(self, over: slice) -> NDArray[np.int16]:
        """The last place of every value of the candidates, [B, C', L]."""
        return self._last[np.arange(len(self._last))[:, None, None], self._codes[:, over]]


class AtMostState:
    """1 / K (of the first N places 1 / N) for every item that is not in excess."""

    def __init__(
        self, codes: Codes, size: int, n: int, windows: Windows, batch: CandidateBatch, *, different: bool
    ) -> None:
        b = len(batch.rows)
        self._codes, self._held = codes, batch.held  # [B or 1, C, L], `size` unknown, `size + 1` no value; [B or 1, C]
        self._size, self._nothing = size, size + 1
        self._n, self._windows, self._different = n, windows, different
        self._rank = np.zeros(b, np.int64)
        self._placed = np.full((b, windows.k, codes.shape[2]), size + 1, np.int32)  # values of places not in excess
        self._counts = np.zeros((b, size + 2), np.int16)  # of each value, in the last N - 1 of these places
        self._number = np.zeros(b, np.int64)  # of different values there
        self._met = np.ones(b, np.bool_)

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        worth = 1.0 / (self._windows.k if self._windows.sliding else self._windows.length)
        return np.where(self.within(over) & self._held[:, over] & self._looked_at()[:, None], worth, 0.0)

    def within(self, over: slice) -> Bools:
        """Finds the candidates that would not be in excess at the next place, [B, C']."""
        return self._fits(self._codes[:, over], np.arange(len(self._rank)))

    def take(self, at: Ints, rows: Ints | None = None) -> None:
        """Puts candidate `at[i]`, -1 a hole, at the next place of the slate of `rows[i]`; all rows if not given."""
        rows = np.arange(len(self._rank)) if rows is None else rows
        nothing, rank = self._nothing, self._rank[rows]
        codes = np.where(at[:, None] < 0, nothing, picked(self._codes, at, rows))
        fits = self._fits(codes[:, None], rows)[:, 0]
        codes = np.where((fits & self._looked_at()[rows])[:, None], codes, nothing)
        self._met[rows] &= fits
        self._placed[rows, rank] = codes
        self._number[rows] += self._new(codes[:, None], rows)[:, 0]
        self._counts[rows[:, None], codes] += 1  # an item has no value twice
        self._rank[rows] += 1
        if self._windows.sliding:
            past = rank + 1 - self._windows.length  # the place that leaves the windows to come
            gone = np.where((past >= 0)[:, None], self._placed[rows, np.maximum(past, 0)], nothing)
            self._counts[rows[:, None], gone] -= 1
            self._number[rows] -= self._new(gone[:, None], rows)[:, 0]

    def met(self) -> Bools:
        """Checks which slates have no place in excess, [B]."""
        return self._met

    def _fits(self, codes: Codes, rows: Ints) -> Bools:
        """The same for items of these codes, [rows or 1, C', L], after the slates of the `rows`: [rows, C']."""
        if self._different:
            fits = self._number[rows, None] + self._new(codes, rows) <= self._n
        else:
            fits = ((self._counts[rows[:, None, None], codes] < self._n) | (codes == self._nothing)).all(2)
        return np.asarray(fits | ~self._looked_at()[rows, None], np.bool_)

    def _new(self, codes: Codes, rows: Ints) -> Ints:
        """Values that the places counted do not hold, [rows, C']; an unknown one is always new."""
        new = (codes < self._size) & (self._counts[rows[:, None, None], codes] == 0)
        return np.asarray((new | (codes == self._size)).sum(2), np.int64)

    def _looked_at(self) -> Bools:
        """Whether the next place lies in a window, [B]."""
        return np.less(self._rank, self._windows.k if self._windows.sliding else self._windows.length)


class BetweenState:
    """The mean of an at-least and an at-most."""

    def __init__(self, low: Bounded, high: Bounded) -> None:
        self._low, self._high = low, high

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        return 0.5 * (self._low.gains(over) + self._high.gains(over))

    def take(self, at: Ints, rows: Ints | None = None) -> None:
        """Puts candidate `at[i]`, -1 a hole, at the next place of the slate of `rows[i]`; all rows if not given."""
        self._low.take(at, rows)
        self._high.take(at, rows)

    def met(self) -> Bools:
        """Checks which slates satisfy both bounds so far, [B]."""
        return self._low.met() & self._high.met()


def _new(last: NDArray[np.int16], start: Ints) -> Ints:
    """How many values are new to each row's window: last [B, C', L], start [B] -> [B, C']."""
    return np.asarray((last < start[:, None, None]).sum(2), np.int64)
