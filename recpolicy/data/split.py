"""Splits a data set into training, validation and test parts, and builds the rows of each part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recpolicy.data.digest import with_digest
from recpolicy.dataset.columns import Codes, Floats, Ints, NumberColumn, Ragged, Table
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.errors import UsageError
from recpolicy.schema import Role
from recpolicy.types import Type


def split(dataset: Dataset, *, holdout: int = 10) -> Split:
    """Splits the interactions of every user by position: train | validation (H) | test (H).

    H is `holdout` for users with at least 3H interactions and 1 for those with at least 3. The others are train-only
    and have no row in `validation` and `test`. Raises UsageError where no user can be tested.
    """
    if holdout < 1:
        raise UsageError(f"--holdout is {holdout}", help="it is the number of events held out, at least 1")
    count = np.diff(dataset.start)
    held = np.where(count >= 3 * holdout, holdout, np.where(count >= 3, 1, 0))  # [users]
    tested = np.flatnonzero(held)
    if not len(tested):
        raise UsageError("no user has 3 interactions", where=dataset.name, help="there is nothing to hold out")
    end = dataset.start[1:]
    train_end, validation_end = end - 2 * held, end - held
    short = int((held[tested] < holdout).sum())
    notes = [f"Users tested on their last {holdout} and validated on the {holdout} before: {len(tested) - short:,}."]
    if short:
        notes.append(f"Users with fewer than {3 * holdout} interactions, tested and validated on 1 each: {short:,}.")
    if alone := len(held) - len(tested):
        notes.append(f"Users with fewer than 3 interactions, for training only: {alone:,}.")
    return Split(
        holdout,
        train_end,
        rows_between(dataset, tested, train_end[tested], validation_end[tested]),
        rows_between(dataset, tested, validation_end[tested], end[tested]),
        tuple(notes),
    )


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
    return Rows(user, _now(dataset, begin, cut), history, Ragged.slices(dataset.item, cut, stop))


def _now(dataset: Dataset, begin: Ints, cut: Ints) -> Floats:
    time, fallback = dataset.time, dataset.schema.now
    if fallback is None:  # every event has its time
        return time[np.where(cut > begin, cut - 1, np.minimum(cut, len(time) - 1))]
    stamped = np.where(np.isnan(time), -1, np.arange(len(time)))
    latest = np.maximum.accumulate(stamped)  # [interactions], the last stamped event up to here, of any user
    last = np.where(cut > begin, latest[cut - 1], -1)
    return np.where(last >= begin, time[last], fallback)


def training_view(dataset: Dataset, split: Split) -> Dataset:
    """Returns the data set with popularity counted on the training part only; interactions stay as they are."""
    spec = dataset.schema.with_role(Role.POPULARITY)
    if spec is None:
        return dataset
    lengths = split.train_end - dataset.start[:-1]
    user = np.repeat(np.arange(len(lengths)), lengths)
    item = Ragged.slices(dataset.item, dataset.start[:-1], split.train_end).values
    columns = {**dataset.items.columns, spec.name: popularity(user, item, dataset.items.rows)}
    return with_digest(replace(dataset, items=Table(dataset.items.rows, columns)))


def popularity(user: Ints, item: Codes, items: int) -> NumberColumn:
    """Counts the different users who took each item, [items], from one entry of `user` and `item` per interaction."""
    pairs = np.unique(user.astype(np.int64) * items + item)
    return NumberColumn(Type.INT, np.bincount(pairs % items, minlength=items).astype(np.float64))
