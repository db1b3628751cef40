"""Holds a loaded data set and the rows that training and evaluation read from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.candidates import Candidates
from recpolicy.dataset.columns import Codes, Floats, Ints, Ragged, Table
from recpolicy.schema import Schema


@dataclass(frozen=True)
class Events:
    """Events grouped by user and in time order within a user: user u's are rows `start[u]:start[u + 1]`."""

    start: Ints  # [users + 1]
    item: Codes  # [events]
    time: Floats  # [events], seconds since 1970; NaN where not known
    weight: Floats | None = None  # [events], how much each counts in training; None: all alike

    @staticmethod
    def by_user(users: int, user: Codes, item: Codes, time: Floats, weight: Floats | None = None) -> Events:
        """Packs events, [events] each, that are grouped by user already."""
        start = np.append(0, np.cumsum(np.bincount(user, minlength=users)))
        return Events(start, item, time, weight)


@dataclass(frozen=True)
class Dataset:
    """Items, users and interactions with ids as row numbers.

    Interactions are the items that users took, grouped by user and in time order within a user, ties broken at random
    with a fixed seed: user u's are rows `start[u]:start[u + 1]`. No user takes an item twice, unless the schema calls
    them repeatable.
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
    """SHA-256 over everything but `notes`."""
    weight: Floats | None = None  # [interactions], how much each counts in training; None: all alike
    shown: Events | None = None
    """Items that users were shown and did not take; None where the data does not tell."""
    takers: int | None = None
    """How many users took what `popularity` counts; None: all who have an interaction."""


def events_until(start: Ints, time: Floats, user: Ints, now: Floats) -> Ints:
    """Finds the end of each user's events up to `now`, both [B], by bisection; of all events where it is NaN.

    `start` [users + 1] and `time` [events] are those of a `Dataset`. An event without a time counts as earlier.
    """
    low, high = start[user], start[user + 1]
    while len(pending := np.flatnonzero(low < high)):
        middle = (low[pending] + high[pending]) // 2
        later = time[middle] > now[pending]
        high[pending[later]] = middle[later]
        low[pending[~later]] = middle[~later] + 1
    return low


@dataclass(frozen=True, eq=False)
class LabelProbabilities:
    """Expected labels: how likely each item is among what a user takes next.

    Rows that are copies of one, of the same user with the same history, share a line of the table; no others do.
    """

    table: NDArray[np.float32]  # [lines, items], or [lines, C] where lines have candidates; 0 to 1
    at: Ints  # [B], each row's line
    count: Ints  # [lines], how many different items are taken next
    draws: Codes | None = None  # [S, lines, longest], lists of next items as they may come, -2 past a line's count
    """Only where a measure depends on their order."""
    candidates: Candidates | None = None
    """The items of each line of the table, where it has not all; the others have probability 0."""

    def take(self, rows: Ints) -> LabelProbabilities:
        """Returns the label probabilities of the named rows, in that order."""
        return LabelProbabilities(self.table, self.at[rows], self.count, self.draws, self.candidates)

    def of(self, items: Codes | None) -> Floats:
        """Returns the probability of each candidate, [B, C] (None: every column); 0 for a hole (-1)."""
        if items is None:
            return self.table[self.at].astype(np.float64)
        if self.candidates is not None:
            line = np.broadcast_to(self.at[:, None], items.shape)
            column = self.candidates.find(line, items)
            return np.where(column >= 0, self.table[line, column], 0.0)
        return np.where(items >= 0, self.table[self.at[:, None], items], 0.0)


@dataclass(frozen=True)
class Rows:
    """One row for each slate: its user, what the user had taken before, and what the user took next."""

    user: Ints  # [B], row of the users table
    now: Floats  # [B], when the list is shown
    """The time of the last history event, or the schema's `now` for data without time stamps.

    Rows at a cut of a split by time all have the time of the cut.
    """
    history: Ragged  # [B] item rows, oldest first
    next_items: Ragged  # [B] item rows, in the order taken
    pool: Codes | None = None  # [B, N] item rows, -1 none
    """What each row's slate may be chosen from, no item twice; None is the whole catalog."""
    label_probabilities: LabelProbabilities | None = None
    """Expected labels: every measure that needs next items uses these instead."""
    repeatable: bool = False
    """Whether a slate may hold items of the history."""
    candidates: Candidates | None = None
    """The items that stand for a large catalog; None: every item.

    Arrays over rows and items have a column for each of a row's candidates, [B, C], or for each item, [B, items].
    """

    def __len__(self) -> int:
        return len(self.user)

    def take(self, at: Ints) -> Rows:
        """Returns the named rows, in that order (a row may be named again)."""
        return Rows(
            self.user[at],
            self.now[at],
            self.history.take(at),
            self.next_items.take(at),
            None if self.pool is None else self.pool[at],
            None if self.label_probabilities is None else self.label_probabilities.take(at),
            self.repeatable,
            None if self.candidates is None else self.candidates.take(at),
        )

    @property
    def columns(self) -> Codes | None:
        """The items that the columns of an array over rows and items stand for, [B, C]; None: every item."""
        return None if self.candidates is None else self.candidates.items

    def found(self, row: Ints, item: Codes) -> tuple[Ints, Ints]:
        """Finds the columns of items, both [N]: returns rows and columns of those that have one."""
        if self.candidates is None:
            return row, item.astype(np.int64)
        column = self.candidates.find(row, item)
        return row[column >= 0], column[column >= 0]

    def items_at(self, columns: Ints) -> Codes:
        """Returns the items at these columns, [B, ...]."""
        if self.candidates is None:
            return columns.astype(np.int32)
        return np.take_along_axis(self.candidates.items, columns, 1)

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
    """Each user's interactions cut in the order of time: train | validation | test.

    A split by user has its cuts at each user's own last events, a split by time at two moments for all users. Of either
    held-out part, a row has at most H next items.
    """

    by: str
    """As the setting `split` says it."""
    holdout: int
    """H."""
    train_end: Ints  # [users], end of the user's training part, as an index into `Dataset.item`
    validation: Rows  # history = training part
    test: Rows  # history = training and validation parts
    before_test: Rows
    """Users as the test part finds them, without next items: training may know these rows.

    They are the rows of `test`; of a split by time also those of users who take nothing in the test part.
    """
    expected: Ints  # [users]
    """How many next items each user is assumed to have, as far as training may know."""
    notes: tuple[str, ...]
    """Counts of users by kind, one sentence each."""
    validation_from: float | None = None
    """The time of the first cut, in seconds since 1970; None for a split by user."""
    test_from: float | None = None
    """The time of the second cut."""


@dataclass(frozen=True)
class Slates:
    """Ordered recommendations: item rows, -1 a hole. Within a slate no item stands twice."""

    items: Codes  # [B, K]

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.dtype != np.int32:
            raise ValueError(f"slates are an int32 array [B, K], not {self.items.dtype} {self.items.shape}")
