"""Lets a few items stand for a catalog that is too large to have a number for each item and user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import Codes, Ints

LARGE = 20_000
"""Most items of a catalog for which arrays of users and all items are made."""
BITS = 32
"""Bits of an item in a key of row and item."""


def is_large(items: int) -> bool:
    """Returns whether a catalog has too many items for arrays of users and all items."""
    return items > LARGE


@dataclass(frozen=True, eq=False)
class Candidates:
    """C items for each row: those that some source finds likely, and a random sample that stands for all others."""

    items: Codes  # [B, C] item rows, ascending
    log_weight: NDArray[np.float32]
    """Logarithm of the number of unseen items that each stands for, [B, C]; 0 for those that were not drawn."""

    def take(self, rows: Ints) -> Candidates:
        """Returns the candidates of the named rows, in that order."""
        return Candidates(self.items[rows], self.log_weight[rows])

    @cached_property
    def _keys(self) -> Ints:
        """Row and item of each candidate in one number, [B * C], ascending."""
        return ((np.arange(len(self.items))[:, None] << BITS) + self.items).ravel()

    def find(self, row: Ints, item: Codes) -> Ints:
        """Finds the column of each item among the candidates of its row, both [N]; -1 where it is none."""
        key = (row.astype(np.int64) << BITS) + item
        at = np.minimum(np.searchsorted(self._keys, key), max(len(self._keys) - 1, 0))
        return np.where(self._keys[at] == key, at - row * self.items.shape[1], -1)
