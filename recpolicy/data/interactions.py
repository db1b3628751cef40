"""Orders the raw interactions: the items that each user took, in time order, and those shown and not taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from recpolicy.data.counting import condition, quantity
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Events
from recpolicy.schema import InteractionColumns
from recpolicy.tables.problems import Problems, shown
from recpolicy.tables.reading import Array, RawTable
from recpolicy.tables.source import RawData
from recpolicy.tables.values.dates import moments
from recpolicy.tables.values.numbers import floats
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import keys, look_up, words

TIME_NAMES = ("timestamp", "time", "datetime", "date")
ORDER_NAMES = ("order", "global_order")


@dataclass(frozen=True)
class Log:
    """Interactions by user, oldest first."""

    taken: Events
    shown: Events
    """Items that the user was shown and did not take: rows that do not meet `positive`."""
    notes: tuple[str, ...]


def read_log(
    raw: RawData, names: InteractionColumns, user_ids: Array, item_ids: Array, seed: int, problems: Problems
) -> Log:
    """Reads the interactions, ordered by time and, at equal times or without any, by the order column.

    Further ties are random, from `seed`. Rows that repeat another count once. Of items that a user takes again only
    the first time counts, unless the schema calls them repeatable.
    """
    table = raw.interactions
    user = _rows(table, names.user, user_ids, "user", raw.users, problems)
    item = _rows(table, names.item, item_ids, "item", raw.items, problems)
    time, key, order = _order(table, names, problems)
    counts = condition(table, names.positive, problems) if names.positive else np.ones(table.rows, np.bool_)
    weight = quantity(table, names.weight, counts, problems) if names.weight else None
    kind = _kinds(table, names.event, problems)
    notes = [*_unread(table, names), *_counted(counts, names.positive), *_kind_notes(kind, counts)]
    # The order of a file among ties is no time order: in ML-100K it would leak item ids into the test part.
    tie = np.random.default_rng(seed).permutation(table.rows)
    by_tie = np.argsort(tie)
    by_time = by_tie[np.lexsort((order[by_tie], key[by_tie], user[by_tie]))]  # lexsort is stable
    by_time = by_time[user[by_time] >= 0]  # what is unknown is a problem that is reported already
    again = _repeats((user, item, np.nan_to_num(time, nan=-np.inf), key, order, _codes(kind, table.rows)))
    by_time = by_time[~again[by_time]]
    if copies := int(again.sum()):
        notes.append(f"{copies:,} interactions repeat another one exactly; each counts once.")
    taken, seen = by_time[counts[by_time]], by_time[~counts[by_time]]
    if not names.repeatable:
        first = _first_of_pair(user[taken], item[taken])
        if later := int((~first).sum()):
            notes.append(
                f"{later:,} interactions are of items that the user had taken before: they do not count, since nobody "
                "is shown a taken item again; [interactions] repeatable = true in schema.toml keeps them."
            )
        taken = taken[first]
    users = len(user_ids)
    events = Events.by_user(users, user[taken], item[taken], time[taken], None if weight is None else weight[taken])
    notes += _ties(events, key[taken], order[taken])
    if idle := int((np.diff(events.start) == 0).sum()):
        notes.append(f"Users without an interaction: {idle:,}.")
    return Log(events, Events.by_user(users, user[seen], item[seen], time[seen]), tuple(notes))


# ---- columns --------------------------------------------------------------------------------------------------------


def _rows(table: RawTable, name: str, ids: Array, what: str, of: RawTable, problems: Problems) -> Codes:
    """The row of each interaction's user or item in its own table, [interactions]; -1 where unknown."""
    if name not in table.columns:
        help = f'say which in schema.toml: [interactions] {what} = "..."; columns: ' + ", ".join(table.names)
        reason = f": {table.unreadable[name]}" if name in table.unreadable else ""
        problems.add(f"no column `{name}` that says which {what}{reason}", str(table.path), help)
        return np.full(table.rows, -1, np.int32)
    strings = keys(table, name, problems)
    known = ids.drop_null()
    if not len(known):  # the table of ids has no id column, which is reported already
        return np.full(table.rows, -1, np.int32)
    rows = look_up(strings, known)
    unknown = np.flatnonzero((rows < 0) & np.asarray(strings.is_valid()))
    Reporter(table, name, problems).wrong(
        unknown, lambda row: f"unknown {what} {shown(strings[row].as_py())}", f"add it to {of.path.name}"
    )
    return rows


def _order(table: RawTable, names: InteractionColumns, problems: Problems) -> tuple[Floats, Floats, Floats]:
    """The times, what orders the rows, and what orders ties of that; [interactions] each, the last 0 without a column.

    Times order the rows where each row has one, else the order column does.
    """
    time_name = _find(table, names.time, TIME_NAMES, problems)
    order_name = _find(table, names.order, ORDER_NAMES, problems)
    time, order = np.full(table.rows, np.nan), np.zeros(table.rows)
    if time_name:
        stamps = Reporter(table, time_name, problems)
        time = moments(table.columns[time_name], names.unit, stamps)
    if order_name:
        report = Reporter(table, order_name, problems)
        order = floats(table.columns[order_name], None, report)
    if not np.isnan(time).any():
        return time, time, np.nan_to_num(order)
    if order_name:
        report.absent(np.isnan(order), "order", "every row needs one")
    elif time_name:
        help = "give every row a time stamp, or number each user's rows in a column `order`"
        stamps.absent(np.isnan(time), "time", help)
    else:
        message = f"no column orders the interactions; columns: {', '.join(table.names)}"
        help = "name the column that orders them in schema.toml, for instance [interactions] time = ..."
        problems.add(message, str(table.path), help)
    return time, order, np.zeros(table.rows)


def _find(table: RawTable, name: str | None, usual: tuple[str, ...], problems: Problems) -> str | None:
    if name is None:
        return next((n for n in usual if n in table.columns), None)
    if name not in table.columns:
        problems.add(f"no column `{name}`", str(table.path), "columns: " + ", ".join(table.names))
        return None
    return name


def _kinds(table: RawTable, name: str | None, problems: Problems) -> Array | None:
    """The kind of each event as a word, where the schema names a column of kinds."""
    name = _find(table, name, (), problems)
    return words(table.columns[name], Reporter(table, name, problems)) if name else None


# ---- what counts ----------------------------------------------------------------------------------------------------


def _repeats(keys: Sequence[NDArray[np.generic]]) -> Bools:
    """Finds the rows that are equal to an earlier one in all keys, [interactions] each; the first two are codes."""
    first, second = (np.asarray(codes, np.int64) for codes in keys[:2])
    pair = first * (int(second.max(initial=0)) + 2) + second
    ordered = np.sort(pair)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    rows = np.flatnonzero(np.isin(pair, again)) if len(again) else again  # all others differ from each other
    by = rows[np.lexsort([values[rows] for values in keys])]
    same = np.ones(max(len(by) - 1, 0), np.bool_)
    for values in keys:
        same &= values[by[1:]] == values[by[:-1]]
    out = np.zeros(len(pair), np.bool_)
    out[by[1:]] = same  # lexsort is stable: of equal rows the first in the file stays
    return out


def _codes(kind: Array | None, rows: int) -> Codes:
    """A number for each kind of event, [interactions]."""
    if kind is None:
        return np.zeros(rows, np.int32)
    return np.asarray(pc.dictionary_encode(kind).indices.fill_null(-1))


def _first_of_pair(user: Codes, item: Codes) -> Bools:
    """Finds the first event of each user with each item, [events] in time order."""
    pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item.astype(np.int64)
    out = np.zeros(len(pair), np.bool_)
    out[np.unique(pair, return_index=True)[1]] = True
    return out


# ---- notes ----------------------------------------------------------------------------------------------------------


def _unread(table: RawTable, names: InteractionColumns) -> list[str]:
    """A note on columns that might say which rows count, where the schema does not."""
    known = {names.user, names.item, names.time, names.order, names.event, *TIME_NAMES, *ORDER_NAMES}
    rules = f"{names.positive} {names.weight}"
    unread = [name for name in table.names if name not in known and name not in rules]
    if not unread:
        return []
    columns = ", ".join(f"`{name}`" for name in unread)
    text = f"{table.path.name}: not read: {columns}"
    if names.positive is None:
        text += '; every row counts as taken. [interactions] positive = "rating >= 4" in schema.toml says which count'
    return [text + "."]


def _counted(counts: Bools, positive: str | None) -> list[str]:
    if positive is None:
        return []
    return [f"{int(counts.sum()):,} of {len(counts):,} interactions count as taken (`{positive}`)."]


def _kind_notes(kind: Array | None, counts: Bools) -> list[str]:
    if kind is None:
        return []
    parts = []
    for entry in sorted(pc.value_counts(kind).to_pylist(), key=lambda e: -e["counts"])[:10]:
        name = entry["values"]
        of = np.asarray(pc.is_null(kind) if name is None else pc.equal(kind, name).fill_null(False))
        parts.append(f"{name or 'no kind'} {int((counts & of).sum()):,} of {entry['counts']:,}")
    return [f"Interactions that count as taken, by kind: {', '.join(parts)}."]


def _ties(taken: Events, key: Floats, order: Floats) -> list[str]:
    """A note on events that neither time nor order tell apart."""
    user = np.repeat(np.arange(len(taken.start) - 1), np.diff(taken.start))
    tied = (user[1:] == user[:-1]) & (key[1:] == key[:-1]) & (order[1:] == order[:-1])
    if in_tie := int((np.append(tied, False) | np.append(False, tied)).sum()):
        by = "order" if np.isnan(taken.time).any() else "time"
        return [f"{in_tie:,} interactions share their {by} with another of the same user; ties are at random."]
    return []
