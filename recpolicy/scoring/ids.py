"""Looks up ids of logged slates as rows of a table, and items in the histories of users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from recpolicy.dataset.columns import Bools, Codes, Ints
from recpolicy.errors import UsageError
from recpolicy.tables.reading.arrow import plain
from recpolicy.tables.values.words import texts

_SPREADING = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd: it spreads keys that are close to each other (Knuth, TAOCP 3, section 6.4)."""


class Index:
    """The row of every id. The cost of a look-up depends on the distinct ids of a batch, not on all ids."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rows = {name: row for row, name in enumerate(ids)}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: pa.Array, *, apart: bool = False) -> Codes:
        """Finds the row of each id, text or number; -1 for an unknown or missing one.

        With `apart` every different unknown id has a number of its own, past the last row.
        Raises UsageError for texts that are not UTF-8.
        """
        encoded = ids if pa.types.is_dictionary(ids.type) else _encoded(ids)
        try:
            distinct = texts(plain(encoded.dictionary)).to_pylist()
        except (UnicodeDecodeError, ValueError):
            raise UsageError("ids that are not UTF-8 text", where="the slates", help="write them as UTF-8") from None
        rows = np.full(len(distinct) + 1, -1, np.int32)  # the last is the row of a missing id
        rows[:-1] = [self._row(name) for name in distinct]
        if apart:
            unknown = [at for at, name in enumerate(distinct) if name is not None and rows[at] < 0]
            rows[unknown] = len(self) + np.arange(len(unknown))
        at = encoded.indices.fill_null(len(distinct)) if encoded.null_count else encoded.indices
        return rows.take(np.asarray(at))

    def _row(self, name: str | None) -> int:
        if name is None:
            return -1
        row = self._rows.get(name, -1)
        return self._rows.get(name[:-2], -1) if row < 0 and name.endswith(".0") else row


def _encoded(ids: pa.Array) -> pa.DictionaryArray:
    try:
        return ids.dictionary_encode()
    except pa.ArrowNotImplementedError:  # types of which Arrow makes no dictionary, such as views
        return plain(ids).dictionary_encode()


class Taken:
    """When each user took each item first: a hash table of pairs with linear probing, whole arrays at a time.

    A look-up reads memory once or twice; a binary search of millions of events would miss the cache twenty times.
    """

    def __init__(self, user: Ints, item: Codes, items: int) -> None:
        """`user` and `item` have one entry per event, in time order; `items` is the number of items in the catalog."""
        self._items = items
        bits = max(1, (2 * len(item)).bit_length())  # at most half of the places are filled, so that every search ends
        self._shift, self._last = np.uint64(64 - bits), (1 << bits) - 1
        self._table = np.full(1 << bits, -1, np.int64)
        self._event = np.zeros(1 << bits, np.int64)
        pairs, event = np.unique(user * items + item, return_index=True)
        at = self._place(pairs)
        while len(pairs):
            free = self._table[at] < 0
            self._table[at[free]] = pairs[free]  # where several pairs have one place, one of them stays
            remaining = self._table[at] != pairs
            self._event[at[~remaining]] = event[~remaining]
            pairs, event, at = pairs[remaining], event[remaining], (at[remaining] + 1) & self._last

    def holds(self, user: Ints, items: Codes, end: Ints) -> Bools:
        """Checks whether each item is among its user's events before event `end`; False for -1. All have one shape."""
        pairs = (user * self._items + items).ravel()
        at = self._place(pairs)
        entries = self._table.take(at)
        out: Bools = entries == pairs
        pending = np.flatnonzero((entries >= 0) & ~out)  # another pair has the place: try the next one
        while len(pending):
            at[pending] = (at[pending] + 1) & self._last
            entries = self._table[at[pending]]
            out[pending] = entries == pairs[pending]
            pending = pending[(entries >= 0) & ~out[pending]]
        out &= self._event.take(at) < end.ravel()
        out &= items.ravel() >= 0
        return out.reshape(items.shape)

    def _place(self, pairs: Ints) -> Ints:
        return ((pairs.view(np.uint64) * _SPREADING) >> self._shift).view(np.int64)
