"""Orders the raw interactions: the items of each user in time order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from recpolicy.data.columns import Reporter, floats, keys, moments
from recpolicy.data.files import Array, RawTable
from recpolicy.data.problems import Problems, shown
from recpolicy.data.source import RawData
from recpolicy.dataset.columns import Codes, Floats, Ints
from recpolicy.schema import InteractionColumns

TIME_NAMES = ("timestamp", "time", "datetime", "date")
ORDER_NAMES = ("order", "global_order")


@dataclass(frozen=True)
class Log:
    """Interactions grouped by user, oldest first, as in `Dataset`."""

    start: Ints  # [users + 1]
    item: Codes  # [interactions]
    time: Floats  # [interactions], NaN where not known
    notes: tuple[str, ...]


def read_log(
    raw: RawData, names: InteractionColumns, user_ids: Array, item_ids: Array, seed: int, problems: Problems
) -> Log:
    """Orders the interactions by time where all have one, else by the order column; ties are random, from `seed`."""
    table = raw.interactions
    user = _rows(table, names.user, user_ids, "user", raw.users, problems)
    item = _rows(table, names.item, item_ids, "item", raw.items, problems)
    time_name = _find(table, names.time, TIME_NAMES, problems)
    order_name = _find(table, names.order, ORDER_NAMES, problems)
    key = time = np.full(table.rows, np.nan)
    if time_name:
        stamps = Reporter(table, time_name, problems)
        key = time = moments(table.columns[time_name], stamps)
    unstamped = np.isnan(time)
    if unstamped.any():
        if order_name:
            report = Reporter(table, order_name, problems)
            key = floats(table.columns[order_name], None, report)
            report.absent(np.isnan(key), "order", "every row needs one")
        elif time_name:
            help = "give every row a time stamp, or number each user's rows in a column `order`"
            stamps.absent(unstamped, "time", help)
        else:
            message = f"no column orders the interactions; columns: {', '.join(table.columns)}"
            help = "name the column that orders them in schema.toml, for instance [interactions] time = ..."
            problems.add(message, str(table.path), help)
    # The order of a file among ties is no time order: in ML-100K it would leak item ids into the test part.
    tie = np.random.default_rng(seed).permutation(table.rows)
    by_time = np.lexsort((tie, key, user))
    start = np.append(0, np.cumsum(np.bincount(user[user >= 0], minlength=len(user_ids))))
    notes = _notes(start, user[by_time], key[by_time], by_user="time" if key is time else "order")
    return Log(start, item[by_time], time[by_time], notes)


def _rows(table: RawTable, name: str, ids: Array, what: str, of: RawTable, problems: Problems) -> Codes:
    """The row of each interaction's user or item in its own table, [interactions]; -1 where unknown."""
    if name not in table.columns:
        help = f'say which in schema.toml: [interactions] {what} = "..."; columns: ' + ", ".join(table.columns)
        problems.add(f"no column `{name}` that says which {what}", str(table.path), help)
        return np.full(table.rows, -1, np.int32)
    strings = keys(table, name, problems)
    known = ids.drop_null()
    if not len(known):  # the table of ids has no id column, which is reported already
        return np.full(table.rows, -1, np.int32)
    rows = np.asarray(pc.index_in(strings, value_set=known).fill_null(-1)).astype(np.int32)
    unknown = np.flatnonzero((rows < 0) & np.asarray(strings.is_valid()))
    Reporter(table, name, problems).wrong(
        unknown, lambda row: f"unknown {what} {shown(strings[row].as_py())}", f"add it to {of.path.name}"
    )
    return rows


def _find(table: RawTable, name: str | None, usual: tuple[str, ...], problems: Problems) -> str | None:
    if name is None:
        return next((n for n in usual if n in table.columns), None)
    if name not in table.columns:
        problems.add(f"no column `{name}`", str(table.path), "columns: " + ", ".join(table.columns))
        return None
    return name


def _notes(start: Ints, user: Codes, key: Floats, by_user: str) -> tuple[str, ...]:
    """Notes on ties in the order and on users without interactions."""
    notes = []
    tied = (user[1:] == user[:-1]) & (key[1:] == key[:-1])
    if in_tie := int((np.append(tied, False) | np.append(False, tied)).sum()):
        of = f"share their {by_user} with another of the same user"
        notes.append(f"{in_tie:,} interactions {of}; ties are at random.")
    if idle := int((np.diff(start) == 0).sum()):
        notes.append(f"Users without an interaction: {idle:,}.")
    return tuple(notes)
