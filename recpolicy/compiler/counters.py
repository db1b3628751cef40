"""A pool in, numbers that grow as items are chosen out: items that match, different values."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from recpolicy.compiler.coded import Coded
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.scan import picked
from recpolicy.table import Bools, Ints


class Counter(Protocol):
    """What a bound bounds: a number that each further item raises or leaves."""

    def raised(self, over: slice) -> Ints:
        """By how much each of the candidates `over` would raise the count, [B, C']; a hole never does."""

    def take(self, at: Ints) -> None:
        """Count candidate `at[b]` of each row."""


class MatchCounter:
    """Items that match."""

    def __init__(self, matches: Bools) -> None:
        self._matches = matches.astype(np.int64)  # [B, C]

    def raised(self, over: slice) -> Ints:
        return self._matches[:, over]

    def take(self, at: Ints) -> None:
        pass


class ValueCounter:
    """Different values; with `unknown` each item without one counts as a value nothing else has."""

    def __init__(self, column: Coded, pool: Pool, *, unknown: bool) -> None:
        self._codes, self._missing = column.codes_at(pool), column.missing_at(pool) & unknown
        self._seen = np.zeros((len(self._codes), column.size + 1), np.bool_)
        self._seen[:, column.size] = True  # past a list's end stands nothing new

    def raised(self, over: slice) -> Ints:
        codes = self._codes[:, over]
        seen = self._seen[np.arange(len(codes))[:, None, None], codes]
        return np.asarray((~seen).sum(2) + self._missing[:, over], np.int64)

    def take(self, at: Ints) -> None:
        self._seen[np.arange(len(at))[:, None], picked(self._codes, at)] = True
