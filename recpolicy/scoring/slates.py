"""Converts record batches of logged slates to the rows and slates that a compiled policy scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.data import rows_at_end
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, Ragged, none
from recpolicy.dataset.rows import Dataset, Rows, Slates, events_until
from recpolicy.scoring.columns import check_columns
from recpolicy.scoring.ids import Index, Taken
from recpolicy.scoring.needs import Needs
from recpolicy.tables.reading.arrow import plain
from recpolicy.tables.values.dates import times

PART = 2048
"""Slates scored at once, so that their arrays stay in the processor's cache and few histories are copied at a time."""
MOST_PROBLEMS = 20
"""Number of rows that cannot be scored after which reading stops."""

Problem: TypeAlias = tuple[int, str]
"""A row of a table (from 0) that cannot be scored, and why."""


@dataclass(frozen=True)
class Logged:
    """Slates ready to be scored; the counts are per slate, [B]."""

    rows: Rows
    slates: Slates
    seen: Ints
    """Items of the user's history; holes where it is known to lie before the list, and items are not repeatable."""
    unknown: Ints
    """Items that are not in the catalog; their places are holes."""
    repeated: Ints
    """Items that are in the slate already; their places are holes."""
    beyond: Ints
    """Items after the last place, which do not count."""
    unknown_next: Ints
    """Next items that are not in the catalog: they count as taken, and no place can hold them."""


@dataclass(frozen=True)
class Batch:
    """The columns of a record batch with ids as rows, -1 where unknown."""

    user: Codes  # [B]
    items: Ragged
    history: Ragged  # [B], unknown items left out
    given: Bools  # [B], whether the row has a history; else it is the events in the data up to `now`
    next_items: Ragged  # an unknown item has a number past the catalog
    now: Floats  # [B], NaN where it is not stated
    problems: tuple[Problem, ...]
    """The first rows that cannot be scored. Where there is one, the rest of the batch is not valid."""


class Reader:
    """The ids and users of a data set, prepared for reading slates of K places. Picklable."""

    def __init__(self, dataset: Dataset, needs: Needs, k: int) -> None:
        users = np.arange(dataset.users.rows)
        event_user = np.repeat(users, np.diff(dataset.start))
        self.needs, self.k = needs, k
        self.users, self.items = Index(dataset.user_ids), Index(dataset.item_ids)
        self._now = rows_at_end(dataset, users).now  # [users]
        self._taken = Taken(event_user, dataset.item, dataset.items.rows)
        self._start, self._item, self._time = dataset.start, dataset.item, dataset.time
        self._repeatable = dataset.schema.interactions.repeatable

    def read(self, batch: pa.RecordBatch) -> Batch:
        """Looks up the ids of a record batch. Raises UsageError for a column that is absent or of a wrong type."""
        check_columns(batch.schema)
        names = batch.schema.names
        user = self.users.rows(batch.column("user_id"))
        items, missing = self._lists(batch.column("items"))
        problems = [*_unknown(user, batch.column("user_id")), *((int(row), "no `items`") for row in missing)]
        history, given = none(len(user)), np.zeros(len(user), np.bool_)
        if "history" in names:
            history, absent = self._lists(batch.column("history"))
            history, given[:] = _stated(history), True
            given[absent] = False
        next_items, now = none(len(user)), np.full(len(user), np.nan)
        if self.needs.next_items and "next_items" in names:
            next_items = _stated(self._lists(batch.column("next_items"), apart=True)[0])
        if "now" in names:
            now = times(plain(batch.column("now")))
            problems += _no_times(now, batch.column("now"))
        return Batch(user, items, history, given, next_items, now, tuple(sorted(problems)[:MOST_PROBLEMS]))

    def parts(self, batch: Batch) -> Iterator[Logged]:
        """Yields the slates of a batch without problems, at most `PART` at a time, cut or filled to K places."""
        for first in range(0, max(1, len(batch.user)), PART):
            yield self._part(batch, slice(first, min(first + PART, len(batch.user))))

    def _part(self, batch: Batch, part: slice) -> Logged:
        user = batch.user[part].astype(np.int64)
        begin, end = batch.items.offsets[:-1][part], batch.items.offsets[1:][part]
        lengths = end - begin
        place = np.arange(self.k)[:, None]
        filled = place < lengths  # [K, B], as all that follows: a place is contiguous in memory
        slates = np.where(filled, batch.items.values.take(begin + place, mode="clip"), -1)
        unknown = (filled & (slates < 0)).sum(0)
        repeated = _repeated(slates)
        slates[repeated] = -1
        at = np.arange(part.start, part.stop)
        own, given = batch.history.take(at), batch.given[part]
        until = np.where(given, self._start[user], events_until(self._start, self._time, user, batch.now[part]))
        seen = self._taken.holds(*np.broadcast_arrays(user, slates, until)) | _among(slates, own, len(self.items))
        history = _joined(own, Ragged.slices(self._item, self._start[user], until)) if self.needs.history else own
        before = given | ~np.isnan(batch.now[part])  # else the data may hold what was taken from this very list
        if not self._repeatable:
            slates[seen & before] = -1
        now = np.where(np.isnan(batch.now[part]), self._now[user], batch.now[part])
        next_items = batch.next_items.take(at)
        return Logged(
            Rows(user, now, history, next_items, repeatable=self._repeatable),
            Slates(slates.T),
            seen=seen.sum(0),
            unknown=unknown,
            repeated=repeated.sum(0),
            beyond=np.maximum(lengths - self.k, 0),
            unknown_next=np.add.reduceat(np.append(next_items.values >= len(self.items), 0), next_items.offsets[:-1])
            * (next_items.lengths > 0),
        )

    def _lists(self, lists: pa.Array, *, apart: bool = False) -> tuple[Ragged, Ints]:
        """A column of lists of items, and the rows without a list."""
        lengths = np.asarray(pc.list_value_length(lists).fill_null(-1))
        offsets = np.append(0, np.cumsum(np.maximum(lengths, 0), dtype=np.int64))
        values = self.items.rows(lists.flatten(), apart=apart)
        return Ragged(offsets, np.append(values, np.int32(-1))), np.flatnonzero(lengths < 0)


def _unknown(user: Codes, ids: pa.Array) -> list[Problem]:
    """A problem for each of the first rows whose user is not known."""
    rows = np.flatnonzero(user < 0)[:MOST_PROBLEMS].tolist()
    names = [ids[row].as_py() for row in rows]
    reasons = ["no `user_id`" if name is None else f'unknown user "{name}"' for name in names]
    return list(zip(rows, reasons, strict=True))


def _repeated(slates: Codes) -> Bools:
    """Places whose item is at an earlier place of the same slate, [K, B] both."""
    out = np.zeros(slates.shape, np.bool_)
    for lag in range(1, len(slates)):
        out[lag:] |= slates[lag:] == slates[:-lag]
    return out & (slates >= 0)


def _among(slates: Codes, history: Ragged, items: int) -> Bools:
    """Places whose item is in the row's own history, [K, B]."""
    row = np.repeat(np.arange(len(history)), history.lengths)
    return np.isin(np.arange(slates.shape[1]) * items + slates, row * items + history.values) & (slates >= 0)


def _joined(one: Ragged, other: Ragged) -> Ragged:
    """Each row of two sets of lists of which one is empty in that row."""
    lengths, split = one.lengths + other.lengths, one.offsets[-1]
    begin = np.where(one.lengths > 0, one.offsets[:-1], split + other.offsets[:-1])
    return Ragged.slices(np.concatenate([one.values, other.values]), begin, begin + lengths)


def _stated(lists: Ragged) -> Ragged:
    """Lists without missing ids."""
    stated = lists.values >= 0
    return Ragged(np.append(0, np.cumsum(stated))[lists.offsets], lists.values[stated])


def _no_times(now: Floats, column: pa.Array) -> list[Problem]:
    """A problem for each of the first rows whose time cannot be read."""
    rows = np.flatnonzero(np.isnan(now) & np.asarray(column.is_valid()))[:MOST_PROBLEMS].tolist()
    return [(row, f"`now` is {column[row].as_py()!r}, which is no time") for row in rows]
