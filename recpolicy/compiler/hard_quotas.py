"""Finds which candidates may stand at the next place of a slate under the hard quotas of a policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.compiler.windows import EVERYTHING
from recpolicy.dataset.columns import Bools, Ints


class HardQuotaMask:
    """Keeps hard quotas while slates are filled place by place.

    A candidate may stand at the next place where it is `free` and not yet taken, breaks no at-most in any window, and
    leaves enough places for what the at-leasts still lack. Where no candidate does the last, those that come nearest
    may stand. Where none is left the place is a hole.

    Every match or value that an at-least lacks counts as one place, and no item is expected to serve two at-leasts, so
    that a place is forced early rather than late. An at-least by itself is met wherever it can be, where it counts
    items that match, or different single values in one window. For different values in sliding windows only the windows
    that have started are looked at. For values in lists the items with most new ones are taken as soon as they must be
    (the best order is NP-hard to find: maximum coverage).
    """

    def __init__(self, batch: CandidateBatch, quotas: Sequence[tuple[CompiledQuota, Bools]], free: Bools) -> None:
        """`quotas` with the rows each holds for, [B]; `free` [B, C] candidates that may be shown at all."""
        lows = [(demand.low(batch), holds) for demand, holds in quotas]
        highs = [(demand.high(batch), holds) for demand, holds in quotas]
        self._lows = [(low, holds) for low, holds in lows if low is not None]
        self._highs = [(high, holds) for high, holds in highs if high is not None]
        self._free = free.copy()

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]."""
        out = self._free.copy()
        for high, holds in self._highs:
            out &= high.within(EVERYTHING) | ~holds[:, None]
        if self._lows:
            missed = self._missed()
            most = np.iinfo(np.int64).max
            out &= missed <= np.where(out, missed, most).min(1, initial=most)[:, None]
        return out

    def take(self, at: Ints, rows: Ints | None = None) -> None:
        """Puts candidate `at[i]`, -1 a hole, at the next place of the slate of `rows[i]`; all rows if not given.

        Rows may be at different places; no row is named twice.
        """
        rows = np.arange(len(self._free)) if rows is None else rows
        self._free[rows, at] &= at < 0
        for low, _ in self._lows:
            low.take(at, rows)
        for high, _ in self._highs:
            high.take(at, rows)

    def _missed(self) -> Ints:
        """How many places or matches will be too few for the at-leasts after each candidate, [B, C].

        At the end of each window, all that is to be placed by then must fit into the places left: the condition for
        jobs of unit length with deadlines.
        """
        places = np.zeros(self._free.shape, np.int64)
        windows = [
            [(np.where(holds[:, None], lacking, 0), left) for lacking, left in low.short()] for low, holds in self._lows
        ]
        for i, own in enumerate(windows):
            others = windows[:i] + windows[i + 1 :]
            for lacking, left in own:
                due = lacking
                for other in others:
                    due = due + np.max([np.where((end <= left)[:, None], also, 0) for also, end in other], axis=0)
                places = np.maximum(places, due - left[:, None])
        matches = np.zeros_like(places)
        for low, holds in self._lows:
            matches += np.where(holds[:, None], np.maximum(low.reserve(self._free), 0), 0)
        return places + matches
