"""Converts ids of users, items and histories to the rows and slates that a compiled policy reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeAlias

import numpy as np

from recpolicy.api.results import RowProblem
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, events_until
from recpolicy.errors import UsageError
from recpolicy.tables.values.dates import iso_seconds, time_seconds, unix_seconds

Id: TypeAlias = str | int
Time: TypeAlias = float | int | str | date | datetime
Times: TypeAlias = Time | Sequence[Time | None] | Floats | None
"""One time for all rows, or one for each."""
Lists: TypeAlias = Sequence[Sequence[Id]]
Histories: TypeAlias = Sequence[Sequence[Id] | None]

SHOWN = 3
"""Unknown ids that a problem names."""


@dataclass
class Reader:
    """The ids of a data set, prepared for look-ups; the problems of the rows that are read."""

    dataset: Dataset
    items: Mapping[str, int] = field(init=False)
    users: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.items = {id: row for row, id in enumerate(self.dataset.item_ids)}
        self.users = {id: row for row, id in enumerate(self.dataset.user_ids)}

    def item(self, id: object) -> int:
        """Returns the row of an item; -1 for an unknown one."""
        return _row(self.items, id)

    def slates(self, lists: Lists, k: int, problems: list[RowProblem]) -> Codes:
        """Returns item rows [B, K]: -1 where an item is unknown, stands twice, or the list ends."""
        listed = self._ragged([ids[:k] if len(ids) > k else ids for ids in lists], "items", problems, keep=True)
        out = np.full((len(lists), k), -1, np.int32)
        row = np.repeat(np.arange(len(lists)), listed.lengths)
        out[row, np.arange(len(row)) - listed.offsets[row]] = listed.values
        for lag in range(1, k):
            again = out[:, lag:] == out[:, :-lag]
            if again.any():
                out[:, lag:][again & (out[:, lag:] >= 0)] = np.int32(-1)
        return out

    def candidates(self, lists: Lists, scores: Sequence[Any], problems: list[RowProblem]) -> tuple[Codes, Floats]:
        """Returns candidates [B, C], -1 past a row's end, and their scores, -inf there and for unknown ones."""
        width = max((len(ids) for ids in lists), default=0)
        out = np.full((len(lists), width), -1, np.int32)
        values = np.full((len(lists), width), -np.inf)
        if len(scores) != len(lists):
            raise UsageError(f"scores of {len(scores)} rows for {len(lists)} rows of candidates")
        for row, (ids, own) in enumerate(zip(lists, scores, strict=True)):
            if len(own) != len(ids):
                raise UsageError(f"{len(own)} scores for {len(ids)} candidates", where=f"row {row + 1}")
            found = np.fromiter((self.item(id) for id in ids), np.int32, len(ids))
            out[row, : len(found)], values[row, : len(found)] = found, np.asarray(own, np.float64)
            again = np.ones(len(found), np.bool_)
            again[np.unique(found, return_index=True)[1]] = False
            out[row, : len(found)][again] = -1
            _unknown(row, [ids[at] for at in np.flatnonzero(found < 0).tolist()], "candidates", problems)
        values[(out < 0) | np.isnan(values)] = -np.inf
        return out, values

    def rows(
        self,
        count: int,
        user: Id | Sequence[Id | None] | None,
        history: Histories | None,
        next_items: Lists | None,
        now: Times,
        problems: list[RowProblem],
    ) -> tuple[Rows, Bools]:
        """Returns `count` rows, and which of them have an unknown user; those have the columns of no user.

        A row without a history of its own has the events of its user up to `now`.
        """
        at = np.array([-1 if id is None else _row(self.users, id) for id in _each(user, count)], np.int64)
        unknown = np.array(
            [id is not None and row < 0 for id, row in zip(_each(user, count), at, strict=True)], np.bool_
        )
        problems += [RowProblem(r, f"unknown user {_each(user, count)[r]!r}") for r in np.flatnonzero(unknown).tolist()]
        times = np.array([_time(moment) for moment in _each(now, count)], np.float64)
        past = self._events(at, times) if history is None else self._histories(history, at, times, problems)
        after = self._ragged(next_items, "next items", problems, apart=True) if next_items else _empty(count)
        repeatable = self.dataset.schema.interactions.repeatable
        return Rows(at, self._now(at, times), past, after, repeatable=repeatable), unknown

    def _histories(self, histories: Histories, user: Ints, now: Floats, problems: list[RowProblem]) -> Ragged:
        """The given histories, and the events of its user for a row with None."""
        given = self._ragged([[] if past is None else past for past in histories], "history", problems)
        absent = np.flatnonzero([past is None for past in histories])
        if not len(absent):
            return given
        events = self._events(user[absent], now[absent])
        begin, end = given.offsets[:-1].copy(), given.offsets[1:].copy()
        begin[absent], end[absent] = (
            offsets + len(given.values) for offsets in (events.offsets[:-1], events.offsets[1:])
        )
        return Ragged.slices(np.concatenate([given.values, events.values]), begin, end)

    def _events(self, user: Ints, now: Floats) -> Ragged:
        known = np.where(user < 0, len(self.dataset.start) - 2, user)  # nobody, the last user, has no event
        end = events_until(self.dataset.start, self.dataset.time, known, now)
        return Ragged.slices(self.dataset.item, self.dataset.start[known], end)

    def _ragged(
        self, lists: Lists, what: str, problems: list[RowProblem], *, keep: bool = False, apart: bool = False
    ) -> Ragged:
        """Lists of items as rows. Unknown ones are left out; with `keep` they are -1, with `apart` past the catalog."""
        get: Callable[[Any, int], int] = self.items.get  # an id that is no text is looked up again below
        flat = [get(id, -1) for ids in lists for id in ids]
        offsets = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        values = np.asarray(flat, np.int32)
        missed = np.flatnonzero(values < 0)
        if not len(missed):
            return Ragged(offsets, values)
        lost: dict[int, list[object]] = {}
        numbers: dict[str, int] = {}
        for at, row in zip(missed.tolist(), (np.searchsorted(offsets, missed, "right") - 1).tolist(), strict=True):
            id = lists[row][at - int(offsets[row])]
            values[at] = self.item(id)
            if values[at] < 0:
                lost.setdefault(row, []).append(id)
                if apart:
                    values[at] = numbers.setdefault(str(id), len(self.items) + len(numbers))
        for row, unknown in lost.items():
            _unknown(row, unknown, what, problems)
        if keep or apart or not lost:
            return Ragged(offsets, values)
        return Ragged(np.append(0, np.cumsum(values >= 0))[offsets], values[values >= 0])

    def _now(self, user: Ints, given: Floats) -> Floats:
        """The time of each row: as given, else of the user's last event, else the schema's, else the present."""
        start, time = self.dataset.start, self.dataset.time
        fallback = self.dataset.schema.now
        default = datetime.now().timestamp() if fallback is None else fallback
        out = given.copy()
        open_ = np.isnan(given)
        u = np.where(user < 0, len(start) - 2, user)[open_]
        has = start[u + 1] > start[u]
        last = np.full(len(u), np.nan)
        last[has] = time[start[u + 1][has] - 1]
        out[open_] = np.where(np.isnan(last), default, last)
        return out


def _each(value: Any, count: int) -> Sequence[Any]:
    """One value for each row: the given ones, or the same for all."""
    if value is None or isinstance(value, str | int | float | date):
        return [value] * count
    if len(value) != count:
        raise UsageError(f"{len(value)} values for {count} lists", help="give one for all lists, or one for each")
    return value  # type: ignore[no-any-return]


def _row(rows: Mapping[str, int], id: object) -> int:
    name = str(int(id)) if isinstance(id, float) and id.is_integer() else str(id)
    row = rows.get(name, -1)
    return rows.get(name[:-2], -1) if row < 0 and name.endswith(".0") else row


def _unknown(row: int, ids: Sequence[object], what: str, problems: list[RowProblem]) -> None:
    if ids:
        named = ", ".join(repr(id) for id in ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
        problems.append(RowProblem(row, f"{len(ids)} {what} are not in the catalog: {named}"))


def _time(value: Time | None) -> float:
    if value is None:
        return math.nan
    if isinstance(value, datetime | date):
        return iso_seconds(value.isoformat())
    if isinstance(value, str):
        seconds = time_seconds(value)
        if math.isnan(seconds):
            raise UsageError(f"{value!r} is no time", where="now", help="write 2024-05-01T12:30:00Z or Unix seconds")
        return seconds
    return float(unix_seconds(np.array([float(value)]))[0])


def _empty(count: int) -> Ragged:
    return Ragged(np.zeros(count + 1, np.int64), np.zeros(0, np.int32))


def ids(values: Iterable[int], names: Sequence[str]) -> list[str]:
    """Returns the ids of item rows, without holes."""
    return [names[row] for row in values if row >= 0]
