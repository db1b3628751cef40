"""A table of logged slates in, the rows and slates that a compiled policy scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.data import rows_at
from recpolicy.dataset import Dataset, Rows, Slates
from recpolicy.scoring.columns import check_columns
from recpolicy.table import Bools, Codes, Floats, Ints, Ragged

Problem: TypeAlias = tuple[int, str]
"""A row of a table (from 0) that cannot be scored, and why."""


@dataclass(frozen=True)
class Logged:
    """Slates as they were read, ready to be scored; the counts are per slate, [B]."""

    rows: Rows
    slates: Slates
    seen: Ints
    """Items that are in the user's history."""
    unknown: Ints
    """Items the catalog does not hold: holes."""
    repeated: Ints
    """Items that stand in the slate already: holes."""
    beyond: Ints
    """Items behind the last place, which do not count."""
    problems: tuple[Problem, ...]
    """Rows that cannot be scored: where there is one, the rest is not to be used."""


def read_batch(dataset: Dataset, table: pa.Table, k: int) -> Logged:
    """The slates of `table` over the catalog and the users of `dataset`, cut and filled up to K places.

    Raises UsageError for a column that is absent or of another type.
    """
    check_columns(table.schema)
    problems: list[Problem] = []
    user, unknown_users = _users(dataset, table.column("user_id"))
    problems += unknown_users
    items, lengths = _lists(table.column("items"))
    problems += [(int(row), "no `items`") for row in np.flatnonzero(lengths < 0)]
    codes = _codes(items, dataset.item_ids)
    offsets = np.append(0, np.cumsum(np.maximum(lengths, 0)))
    slates, repeated, unknown = _slates(Ragged(offsets, codes), k)
    next_items = Ragged.of([[]] * table.num_rows)
    if "next_items" in table.column_names:
        taken, counts = _lists(table.column("next_items"))
        next_items = _known(_codes(taken, dataset.item_ids), np.maximum(counts, 0))
    everything = dataset.start[np.maximum(user, 0) + 1]
    rows = rows_at(dataset, np.maximum(user, 0), everything, 0, everything)
    now = rows.now
    if "now" in table.column_names:
        stated = _moments(table.column("now"))
        now = np.where(np.isnan(stated), now, stated)
    rows = Rows(rows.user, now, rows.history, next_items)
    return Logged(
        rows,
        Slates(slates),
        seen=_seen(dataset, rows, slates),
        unknown=unknown,
        repeated=repeated,
        beyond=np.maximum(lengths - k, 0),
        problems=tuple(sorted(problems)),
    )


def _users(dataset: Dataset, column: pa.ChunkedArray) -> tuple[Ints, list[Problem]]:
    """Each row's user, -1 where unknown, and a problem for each of those."""
    ids = column.cast(pa.string())
    user = _codes(ids, dataset.user_ids).astype(np.int64)
    missing = "no `user_id`"
    rows = np.flatnonzero(user < 0)
    names = ids.take(pa.array(rows)).to_pylist()
    return user, [
        (int(row), missing if name is None else f'unknown user "{name}"') for row, name in zip(rows, names, strict=True)
    ]


def _lists(column: pa.ChunkedArray) -> tuple[pa.Array, Ints]:
    """The values of a column of lists as strings, and the length of each list, -1 where it is missing."""
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.array([], column.type)
    lengths = np.asarray(pc.list_value_length(lists).fill_null(-1)).astype(np.int64)
    return pc.list_flatten(lists).cast(pa.string()), lengths


def _codes(ids: pa.Array | pa.ChunkedArray, known: tuple[str, ...]) -> Codes:
    """The row of each id, -1 where it is none; missing ids are none."""
    found = pc.index_in(ids, value_set=pa.array(known, pa.string()))
    return np.asarray(found.fill_null(-1)).astype(np.int32)


def _slates(items: Ragged, k: int) -> tuple[Codes, Ints, Ints]:
    """[B, K] with a hole for what is unknown, stands there already, or is not there; repeated and unknown, [B]."""
    place = np.arange(k)
    there = place < items.lengths[:, None]  # [B, K]
    slates = np.full(there.shape, -1, np.int32)
    if len(items.values):
        at = np.minimum(items.offsets[:-1, None] + place, len(items.values) - 1)
        slates[there] = items.values[at][there]
    unknown = (there & (slates < 0)).sum(1)
    again = _again(slates)
    slates[again] = -1
    return slates, again.sum(1), unknown


def _again(slates: Codes) -> Bools:
    """Places whose item stands at an earlier place of the same slate, [B, K]."""
    order = np.argsort(slates, axis=1, kind="stable")
    ranked = np.take_along_axis(slates, order, 1)
    equal = np.zeros(slates.shape, np.bool_)
    equal[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    out = np.zeros(slates.shape, np.bool_)
    np.put_along_axis(out, order, equal, 1)
    return out


def _known(codes: Codes, lengths: Ints) -> Ragged:
    """Lists without what is unknown."""
    row = np.repeat(np.arange(len(lengths)), lengths)[codes >= 0]
    offsets = np.append(0, np.cumsum(np.bincount(row, minlength=len(lengths))))
    return Ragged(offsets.astype(np.int64), codes[codes >= 0])


def _moments(column: pa.ChunkedArray) -> Floats:
    """Seconds since 1970 UTC, NaN where missing."""
    kind = column.type
    if pa.types.is_temporal(kind):
        micro = column.cast(pa.timestamp("us", tz=getattr(kind, "tz", None))).cast(pa.int64())
        return np.asarray(micro.cast(pa.float64(), safe=False).fill_null(np.nan)) / 1e6
    return np.asarray(column.cast(pa.float64(), safe=False).fill_null(np.nan))


def _seen(dataset: Dataset, rows: Rows, slates: Codes) -> Ints:
    """Items of each slate that are in the history of its user, [B]."""
    key = np.arange(len(rows), dtype=np.int64) * dataset.items.rows
    history = np.repeat(key, rows.history.lengths) + rows.history.values
    seen: Ints = ((slates >= 0) & np.isin(key[:, None] + slates, history)).sum(1)
    return seen
