"""Holds a loaded data set and the rows that training and evaluation read from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import Codes, Floats, Ints, Ragged, Table
from recpolicy.schema import Schema


@dataclass(frozen=True)
class Dataset:
    """Items, users and interactions with ids as row numbers.

    Interactions are grouped by user and in time order within a user, ties broken at random with a fixed seed:
    user u's are rows `start[u]:start[u + 1]`.
    """

    name: str
    schema: Schema
    items: Table
    users: Table
    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    start: Ints  # [users + 1]
    item: Codes  # [interactions]
    time: Floats  # [interactions], seconds since 1970; NaN where the data has none
    notes: tuple[str, ...]
    """What reading it counted or left out, one sentence each."""
    digest: str
    """SHA-256 over everything above but `notes`."""


@dataclass(frozen=True, eq=False)
class Chances:
    """Expected labels: how likely each item is among what a user takes next.

    Rows that are copies of one, of the same user with the same history, share a line of the table; no others do.
    """

    table: NDArray[np.float32]  # [lines, items], 0 to 1
    at: Ints  # [B], each row's line
    count: Ints  # [lines], how many different items are taken next
    draws: Codes | None = None  # [S, lines, longest], lists of next items as they may come, -2 past a line's count
    """Only where a measure depends on their order."""

    def take(self, rows: Ints) -> Chances:
        """Returns the chances of the named rows, in that order."""
        return Chances(self.table, self.at[rows], self.count, self.draws)

    def of(self, items: Codes | None) -> Floats:
        """Returns the chance of each candidate, [B, C] (None: every item); 0 for a hole (-1)."""
        if items is None:
            return self.table[self.at].astype(np.float64)
        return np.where(items >= 0, self.table[self.at[:, None], items], 0.0)


@dataclass(frozen=True)
class Rows:
    """One row for each slate: its user, what the user had taken before, and what the user took next."""

    user: Ints  # [B], row of the users table
    now: Floats  # [B], time of the last history event; the schema's `now` for data without time stamps
    history: Ragged  # [B] item rows, oldest first
    next_items: Ragged  # [B] item rows, in the order taken
    pool: Codes | None = None  # [B, N] item rows, -1 none
    """What each row's slate may be chosen from, no item twice; None is the whole catalog."""
    chances: Chances | None = None
    """Expected labels: every measure that needs next items uses these instead."""

    def __len__(self) -> int:
        return len(self.user)

    def take(self, at: Ints) -> Rows:
        """Returns the named rows, in that order (a row may be named again)."""
        pool = None if self.pool is None else self.pool[at]
        chances = None if self.chances is None else self.chances.take(at)
        return Rows(self.user[at], self.now[at], self.history.take(at), self.next_items.take(at), pool, chances)

    def batches(self, size: int) -> Iterator[tuple[slice, Rows]]:
        """Yields the rows at most `size` at a time, with their place among all rows."""
        for first in range(0, len(self), size):
            part = slice(first, min(first + size, len(self)))
            yield part, self if len(self) <= size else self.take(np.arange(part.start, part.stop))

    def sample(self, most: int, seed: int) -> Rows:
        """Samples at most so many of the rows without replacement; they stay in order."""
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:most]))


@dataclass(frozen=True)
class Split:
    """Each user's interactions cut by time: train | validation (H) | test (H).

    Users with fewer than 3H interactions use H = 1; with fewer than 3 they are train-only.
    """

    holdout: int
    train_end: Ints  # [users], end of the user's training part, as an index into `Dataset.item`
    validation: Rows  # history = training part
    test: Rows  # history = training and validation parts
    notes: tuple[str, ...]
    """Counts of users by kind, one sentence each."""


@dataclass(frozen=True)
class Slates:
    """Ordered recommendations: item rows, -1 a hole. Within a slate no item stands twice."""

    items: Codes  # [B, K]

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.dtype != np.int32:
            raise ValueError(f"slates are an int32 array [B, K], not {self.items.dtype} {self.items.shape}")
