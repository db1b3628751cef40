"""Scores items by a sparse matrix from items taken to items that may be taken next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recpolicy.dataset.columns import Codes
from recpolicy.dataset.rows import Rows

Scores: TypeAlias = NDArray[np.float32]

ROWS = 256
"""Rows whose sparse scores are in memory at a time."""


@dataclass(frozen=True, eq=False)
class LinearRecommender:
    """A linear recommender: scores are a history's weights times a sparse item-to-item matrix."""

    name: str
    item_weights: sparse.csr_array
    """[items, items] float32; row j holds the part of item j, taken, in the score of every other item."""
    half_life: float | None
    """An event n events ago counts 2^(-n / half_life); None: all count the same."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """The settings that tuning chose."""

    def scores(self, rows: Rows) -> Scores:
        """Computes the scores of all items, [B, items], or of the rows' candidates, [B, C]."""
        if rows.columns is None:
            return np.asarray(self.product(rows).toarray(), np.float32)
        return np.concatenate([at_candidates(self.product(some), some) for _, some in rows.batches(ROWS)])

    def product(self, rows: Rows) -> sparse.csr_array:
        """Computes the scores that are not 0, [B, items]."""
        return profiles(rows, self.item_weights.shape[0], self.half_life) @ self.item_weights

    def unseen(self, rows: Rows) -> sparse.csr_array:
        """Computes the scores that are not 0 of items that each row may be shown, [B, items]."""
        product = self.product(rows)
        if not rows.repeatable:
            product.data[_seen(product, rows)] = 0.0
            product.eliminate_zeros()
        return product


def profiles(rows: Rows, items: int, half_life: float | None) -> sparse.csr_array:
    """Weighs the events of each history, x [B, items]; an item taken several times has the weight of the last."""
    row = np.repeat(np.arange(len(rows)), rows.history.lengths)
    since = rows.history.offsets[row + 1] - 1 - np.arange(len(row))  # number of later events
    weights = np.ones(len(row)) if half_life is None else 2.0 ** (-since / half_life)
    key = row * items + rows.history.values
    order = np.argsort(key, kind="stable")
    last = order[np.append(key[order[1:]] != key[order[:-1]], True)[: len(order)]]
    offsets = np.append(0, np.cumsum(np.bincount(row[last], minlength=len(rows))))
    values = weights[last].astype(np.float32)
    return sparse.csr_array((values, rows.history.values[last], offsets), (len(rows), items))


def best(scores: sparse.csr_array, most: int) -> Codes:
    """Finds the largest positive scores of each row: their items, best first, [B, most]; -1 where there are fewer.

    Of equal scores the item that comes first in the catalog is first.
    """
    out = np.full((scores.shape[0], most), -1, np.int32)
    scores.sort_indices()
    for i, (first, end) in enumerate(zip(scores.indptr[:-1], scores.indptr[1:], strict=True)):
        values = scores.data[first:end]
        top = np.flatnonzero(values > 0)
        if len(top) > most:
            least = np.partition(values[top], -most)[-most]
            top = top[values[top] >= least]
        top = top[np.argsort(-values[top], kind="stable")][:most]
        out[i, : len(top)] = scores.indices[first:end][top]
    return out


def at_candidates(scores: sparse.csr_array, rows: Rows) -> Scores:
    """Returns the scores of the rows' candidates, [B, C]."""
    assert rows.columns is not None, "these rows have no candidates"
    row = np.broadcast_to(np.arange(len(rows))[:, None], rows.columns.shape)
    found = scores[row.ravel(), rows.columns.ravel()]
    return np.asarray(found, np.float32).reshape(rows.columns.shape)


def _seen(scores: sparse.csr_array, rows: Rows) -> NDArray[np.bool_]:
    """Finds the entries whose item is in the row's history, [entries]."""
    items = scores.shape[1]
    own = np.repeat(np.arange(len(rows)), np.diff(scores.indptr)) * items + scores.indices
    taken = np.repeat(np.arange(len(rows)), rows.history.lengths) * items + rows.history.values
    return np.isin(own, taken)
