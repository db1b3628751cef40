"""The ids of a table and those of logged slates in, rows of the table out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from recpolicy.dataset.columns import Bools, Codes, Ints
from recpolicy.errors import UsageError

_SPREADING = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio, odd: multiplied by it, keys that lie close fall far apart (Knuth, TAOCP 3, 6.4)."""


class Index:
    """The row of every id. Built once: a look-up costs by the different ids of a batch, not by all ids there are."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._rows = {name: row for row, name in enumerate(ids)}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: pa.Array) -> Codes:
        """The row of each id, text or whole number; -1 where it is none; missing ids are none.

        Raises UsageError for texts that are not UTF-8.
        """
        encoded = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
        try:
            different = encoded.dictionary.cast(pa.string()).to_pylist()
        except UnicodeDecodeError:
            raise UsageError("ids that are not UTF-8 text", where="the slates", help="write them as UTF-8") from None
        rows = np.full(len(different) + 1, -1, np.int32)  # the last is what a missing id gathers
        rows[:-1] = [self._rows.get(name, -1) for name in different]
        at = encoded.indices.fill_null(len(different)) if encoded.null_count else encoded.indices
        return rows.take(np.asarray(at))


class Taken:
    """Which items each user has in the history: a hash table of pairs with linear probing, whole arrays at a time.

    A look-up reads memory once or twice, where a binary search of millions of events misses the cache twenty times.
    """

    def __init__(self, user: Ints, item: Codes, items: int) -> None:
        """One entry of `user` and `item` an event; `items` in the catalog."""
        self._items = items
        bits = max(1, (2 * len(item)).bit_length())  # at most half of the places are filled, so that every search ends
        self._shift, self._last = np.uint64(64 - bits), (1 << bits) - 1
        self._table = np.full(1 << bits, -1, np.int64)
        pairs = user * items + item
        at = self._place(pairs)
        while len(pairs):
            free = self._table[at] < 0
            self._table[at[free]] = pairs[free]  # of several for one place, one stays
            left = self._table[at] != pairs
            pairs, at = pairs[left], (at[left] + 1) & self._last

    def holds(self, user: Ints, items: Codes) -> Bools:
        """Whether each item, -1 none, is in the history of its user; both of one shape."""
        pairs = (user * self._items + items).ravel()
        at = self._place(pairs)
        found = self._table.take(at)
        out: Bools = found == pairs
        open = np.flatnonzero((found >= 0) & ~out)  # another pair stands there: look on
        while len(open):
            at[open] = (at[open] + 1) & self._last
            found = self._table[at[open]]
            out[open] = found == pairs[open]
            open = open[(found >= 0) & ~out[open]]
        out &= items.ravel() >= 0
        return out.reshape(items.shape)

    def _place(self, pairs: Ints) -> Ints:
        return ((pairs.view(np.uint64) * _SPREADING) >> self._shift).view(np.int64)
