"""Splits a data set into training, validation and test parts, and builds the rows of each part.

A split by user holds out the last events of each user. A split by time has two moments for all users: what is known
of the world ends at the first in training, and at the second in the test.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import replace

import numpy as np

from recpolicy.data.digest import with_digest
from recpolicy.dataset.columns import Codes, Floats, Ints, NumberColumn, Ragged, Table, none
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.errors import UsageError
from recpolicy.schema import Role
from recpolicy.types import DAY, Type

FORMS = '"user", "leave-one-out", a date or time such as "2024-05-01", or a share such as "last 10%"'
"""What the setting `split` may be."""
_LAST = re.compile(r"last (\d+(?:\.\d+)?)%")


def split(dataset: Dataset, by: str = "user", *, holdout: int = 10) -> Split:
    """Splits the interactions into training, validation and test, in the way that the setting `split` says.

    `by` is one of FORMS; "leave-one-out" does not read `holdout`. Raises UsageError for another text, and for data of
    which that part would be empty.
    """
    if holdout < 1:
        raise UsageError(f"holdout is {holdout}", help="it is the number of events held out, at least 1")
    if reason := why_not(by):
        raise UsageError(f"no way to split is `{by}`", help=reason)
    if by == "user":
        return _by_user(dataset, holdout)
    if by == "leave-one-out":
        return _leave_one_out(dataset)
    if unstamped := int(np.isnan(dataset.time).sum()):
        raise UsageError(
            f'`split = "{by}"` needs the time of every event; {unstamped:,} of {len(dataset.time):,} have none',
            where=dataset.name,
            help='write `split = "user"`, or give every event its time and name that column in schema.toml: '
            '[interactions] time = "..."',
        )
    if not len(dataset.time):
        raise UsageError("there are no interactions to split", where=dataset.name, help="give it some events")
    if last := _LAST.fullmatch(by):
        return _by_last(dataset, by, float(last[1]) / 100, holdout)
    return _by_time(dataset, by, _seconds(by), holdout)


def why_not(by: str) -> str:
    """Returns what to write where a text is none of FORMS; empty where it is one of them."""
    if last := _LAST.fullmatch(by):
        within = 0 < float(last[1]) < 50
        return "" if within else "the validation part is as large: write more than 0% and less than 50%"
    known = by in ("user", "leave-one-out") or not math.isnan(_seconds(by))
    return "" if known else f"write {FORMS}"


def _by_user(dataset: Dataset, holdout: int) -> Split:
    """Splits the interactions of every user by position: train | validation (H) | test (H).

    H is `holdout` for users with at least 3H interactions and 1 for those with at least 3. The others are train-only
    and have no row in `validation` and `test`.
    """
    count = np.diff(dataset.start)
    held = np.where(count >= 3 * holdout, holdout, np.where(count >= 3, 1, 0))  # [users]
    tested = np.flatnonzero(held)
    if not len(tested):
        help = 'there is nothing to hold out of one user\'s events; `split = "last 10%"` holds out by time'
        raise UsageError("no user has 3 interactions", where=dataset.name, help=help)
    end = dataset.start[1:]
    train_end, validation_end = end - 2 * held, end - held
    short = int((held[tested] < holdout).sum())
    notes = [f"Users tested on their last {holdout} and validated on the {holdout} before: {len(tested) - short:,}."]
    if short:
        notes.append(f"Users with fewer than {3 * holdout} interactions, tested and validated on 1 each: {short:,}.")
    if alone := len(held) - len(tested):
        notes.append(f"Users with fewer than 3 interactions, for training only: {alone:,}.")
    test = rows_between(dataset, tested, validation_end[tested], end[tested])
    return Split(
        "user",
        holdout,
        train_end,
        rows_between(dataset, tested, train_end[tested], validation_end[tested]),
        test,
        _unanswered(test),
        np.maximum(held, 1),
        tuple(notes),
    )


def _leave_one_out(dataset: Dataset) -> Split:
    """Splits off the last event of every user for the test and the one before it for validation: by user with H = 1."""
    return replace(_by_user(dataset, 1), by="leave-one-out")


def _by_last(dataset: Dataset, by: str, share: float, holdout: int) -> Split:
    """Splits off the last `share` of all events for the test; events at the time of the first of them belong to it."""
    count = max(1, round(share * len(dataset.time)))
    return _by_time(dataset, by, float(np.sort(dataset.time)[-count]), holdout)


def _by_time(dataset: Dataset, by: str, test_from: float, holdout: int) -> Split:
    """Splits at two moments: all events from `test_from` on are the test, as many before it the validation.

    Events of one time are never parted: where the first validation event has others at its time, they are validation,
    too. A user has a row in a part if they have an event in it and one before it; its next items are the first H there.
    """
    time = np.sort(dataset.time)
    before = int(np.searchsorted(time, test_from))
    tested = len(time) - before
    if not tested:
        seen = f"the events are from {_moment(time[0])} to {_moment(time[-1])}"
        help = f'{seen}: write a time within them, or `split = "last 10%"`'
        raise UsageError(f"no event is from {_moment(test_from)} on", where=dataset.name, help=help)
    at = before - tested
    if at <= 0 or time[at] == time[0]:
        raise UsageError(
            f"{tested:,} events are from {_moment(test_from)} on and {before:,} before, so none is left for training",
            where=dataset.name,
            help=f"the validation part is as large as the test: write a time well after {_moment(np.median(time))}, or "
            '`split = "user"`',
        )
    validation_from = float(time[at])
    end, (train_end, validation_end) = dataset.start[1:], (_before(dataset, at) for at in (validation_from, test_from))
    validation = _rows_from(dataset, validation_from, train_end, validation_end, holdout)
    test = _rows_from(dataset, test_from, validation_end, end, holdout)
    known = np.flatnonzero(validation_end > dataset.start[:-1])
    typical = max(1, round(float(validation.next_items.lengths.mean())))
    return Split(
        by,
        holdout,
        train_end,
        validation,
        test,
        _at(rows_between(dataset, known, validation_end[known], validation_end[known]), test_from),
        np.full(len(end), typical),
        _notes(dataset, holdout, train_end, validation_end, test, (validation_from, test_from)),
        validation_from,
        test_from,
    )


def _before(dataset: Dataset, moment: float) -> Ints:
    """The end of each user's events before a moment, [users], as an index into `Dataset.item`."""
    before: Ints = np.append(0, np.cumsum(dataset.time < moment))
    return dataset.start[:-1] + before[dataset.start[1:]] - before[dataset.start[:-1]]


def _rows_from(dataset: Dataset, moment: float, cut: Ints, stop: Ints, holdout: int) -> Rows:
    """The rows of the part that begins at a moment: `cut` and `stop` [users] are where each user's part lies."""
    user = np.flatnonzero((cut > dataset.start[:-1]) & (stop > cut))
    if not len(user):
        help = 'a split by time measures users who are known before it: write another time, or `split = "user"`'
        message = f"nobody has an event in the part from {_moment(moment)} on and one before it"
        raise UsageError(message, where=dataset.name, help=help)
    return _at(rows_between(dataset, user, cut[user], np.minimum(cut + holdout, stop)[user]), moment)


def _at(rows: Rows, moment: float) -> Rows:
    return replace(rows, now=np.full(len(rows), moment))


def _unanswered(rows: Rows) -> Rows:
    return replace(rows, next_items=none(len(rows)))


def _notes(
    dataset: Dataset, holdout: int, train_end: Ints, validation_end: Ints, test: Rows, cuts: tuple[float, float]
) -> tuple[str, ...]:
    """Notes on a split by time: the events of each part, then the users and items of whom training knows nothing."""
    start, end = dataset.start[:-1], dataset.start[1:]
    events = [int((b - a).sum()) for a, b in ((start, train_end), (train_end, validation_end), (validation_end, end))]
    first, second = map(_moment, cuts)
    short = int((test.next_items.lengths < holdout).sum())
    new = int(((validation_end == start) & (end > start)).sum())
    untrained = int(((train_end == start) & (end > start)).sum())
    taken = np.zeros(dataset.items.rows, np.bool_)
    taken[Ragged.slices(dataset.item, start, train_end).values] = True
    unseen = len(np.unique(dataset.item[~taken[dataset.item]]))
    notes = [
        f"Test: the {events[2]:,} events from {second} on. Validation: {events[1]:,} events from {first} on, before "
        f"the test. Training: the {events[0]:,} events before.",
        f"Users tested on their first {holdout} events of the test part: {len(test) - short:,}.",
    ]
    if short:
        notes.append(f"Users tested on fewer than {holdout}, all they have there: {short:,}.")
    if new:
        notes.append(f"Users whose first event is in the test part, not tested: {new:,}.")
    if untrained:
        notes.append(f"Users without an event in the training part: {untrained:,}.")
    if unseen:
        notes.append(f"Items first taken after the training part, in the catalog all the same: {unseen:,}.")
    return tuple(notes)


def _seconds(text: str) -> float:
    """Seconds since 1970 of a date or time in ISO 8601, UTC without a zone; NaN for any other text."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _moment(seconds: float) -> str:
    """A time in words that the setting `split` takes: the day, with the time of day where it is not midnight."""
    moment = np.datetime64(math.floor(seconds), "s")
    return str(moment.astype("datetime64[D]") if seconds % DAY == 0 else moment)


def rows_at(dataset: Dataset, user: Ints, cut: Ints, horizon: int, end: Ints) -> Rows:
    """Returns rows for any place in a history: the history before `cut`, and the next `horizon` items before `end`.

    user, cut, end [B]: users by row, and absolute indexes into `Dataset.item` with start[user] <= cut <= end. For
    training pass `end = split.train_end[user]`. `now` is the time of the last history event that has one, else the
    schema's `now`. In data where every event has a time, a row without history takes the time of its first next item.
    """
    return rows_between(dataset, user, cut, np.minimum(cut + horizon, end))


def rows_at_end(dataset: Dataset, user: Ints) -> Rows:
    """Returns rows [B] of users as they are now: with their whole histories, and no next items."""
    end = dataset.start[user + 1]
    return rows_between(dataset, user, end, end)


def rows_between(dataset: Dataset, user: Ints, cut: Ints, stop: Ints) -> Rows:
    """Returns rows with history `start[user]:cut` and next items `cut:stop`, all [B]."""
    user = user.astype(np.int64)
    begin = dataset.start[user]
    history = Ragged.slices(dataset.item, begin, cut)
    coming = Ragged.slices(dataset.item, cut, stop)
    repeatable = dataset.schema.interactions.repeatable
    if repeatable:
        coming = coming.different()  # no answer names an item twice
    return Rows(user, _now(dataset, begin, cut), history, coming, repeatable=repeatable)


def _now(dataset: Dataset, begin: Ints, cut: Ints) -> Floats:
    time, fallback = dataset.time, dataset.schema.now
    if fallback is None:  # every event has its time
        return time[np.where(cut > begin, cut - 1, np.minimum(cut, len(time) - 1))]
    stamped = np.where(np.isnan(time), -1, np.arange(len(time)))
    latest = np.maximum.accumulate(stamped)  # [interactions], the last stamped event up to here, of any user
    last = np.where(cut > begin, latest[cut - 1], -1)
    return np.where(last >= begin, time[last], fallback)


def training_view(dataset: Dataset, split: Split) -> Dataset:
    """Returns the data set with popularity and takers counted on the training part only; no interaction changes."""
    spec = dataset.schema.with_role(Role.POPULARITY)
    if spec is None:
        return dataset
    lengths = split.train_end - dataset.start[:-1]
    user = np.repeat(np.arange(len(lengths)), lengths)
    item = Ragged.slices(dataset.item, dataset.start[:-1], split.train_end).values
    columns = {**dataset.items.columns, spec.name: popularity(user, item, dataset.items.rows)}
    takers = int(np.count_nonzero(lengths))
    return with_digest(replace(dataset, items=Table(dataset.items.rows, columns), takers=takers))


def popularity(user: Ints, item: Codes, items: int) -> NumberColumn:
    """Counts the different users who took each item, [items], from one entry of `user` and `item` per interaction."""
    pairs = np.sort(user.astype(np.int64) * items + item)  # several times as fast as np.unique, which hashes
    different = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
    return NumberColumn(Type.INT, np.bincount(different % items, minlength=items).astype(np.float64))
