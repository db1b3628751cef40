"""Fits the item-to-item memories of a user model: sparse matrices from items taken to items that may be taken next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recpolicy.dataset.columns import Bools, Codes, Floats, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation.baselines import BLOCK, Ease, ItemKNN, Popularity, profiles

Scores: TypeAlias = NDArray[np.float32]

NEIGHBOURS = 200
"""Entries in each row of a memory: those with the largest absolute values."""
WINDOW = 5
"""Most events that a transition may span."""
SHRINK, DAMPING = 10.0, 5.0
"""Pseudo-events of transitions: added to the count of those from an item, and to the count of those to an item."""
NAMES = ("ease", "ease_recency", "itemknn", "itemknn_recency", "transitions")
"""The sources, in the order of their features."""
LATEST = 2.0
"""Half-life of a history, in events, where only its end matters."""


@dataclass(frozen=True, eq=False)
class Source:
    """A linear recommender: scores are a history's weights times a sparse item-to-item memory."""

    name: str
    memory: sparse.csr_array
    """[items, items] float32; row j holds the part of item j, taken, in the score of every other item."""
    half_life: float | None
    """An event n events ago counts 2^(-n / half_life); None: all count the same."""

    def scores(self, rows: Rows) -> Scores:
        """Computes the scores of all items, [B, items]."""
        history = sparse.csr_array(profiles(rows, self.memory.shape[0], self.half_life))
        return np.asarray((history @ self.memory).toarray(), np.float32)


@dataclass(frozen=True, eq=False)
class Memories:
    """The linear recommenders of a user model, and the popularity of every item."""

    sources: tuple[Source, ...]
    popularity: Scores
    """log(1 + training events), [items]."""

    @property
    def items(self) -> int:
        """Number of items in the catalog."""
        return len(self.popularity)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        return (*(source.name for source in self.sources), "popularity")

    def features(self, rows: Rows) -> Scores:
        """Computes the features of all items for each row, [F, B, items]; 0 for items seen.

        They are standardized over the items not in the row's history and compressed by arcsinh: linear near the mean
        and logarithmic in the tail, so that multinomial logits may be linear in them.
        """
        free = unseen(rows, self.items)
        scores = [standardized(source.scores(rows), free) for source in self.sources]
        popularity = np.where(free, self.popularity, np.float32(0.0))
        return np.stack([*scores, popularity])


def standardized(scores: Scores, free: Bools) -> Scores:
    """Computes arcsinh((score - mean) / deviation) over each row's `free` items; 0 elsewhere. All [B, items]."""
    count = np.maximum(free.sum(1, keepdims=True), 1).astype(np.float32)
    mean = scores.sum(1, keepdims=True, where=free) / count
    centered = np.where(free, scores - mean, np.float32(0.0))
    deviation = np.sqrt((centered**2).sum(1, keepdims=True) / count)
    return np.asarray(np.arcsinh(centered / np.where(deviation > 0, deviation, np.float32(1.0))), np.float32)


def fit(dataset: Dataset, split: Split, classics: Mapping[str, object]) -> Memories:
    """Builds the memories of EASE, ItemKNN and transitions, from the training part and the recommenders tuned on it."""
    ease, recent, knn, popular = (classics[name] for name in ("ease", "ease_recency", "itemknn", "popularity"))
    assert isinstance(ease, Ease) and isinstance(recent, Ease) and isinstance(knn, ItemKNN)
    assert isinstance(popular, Popularity)
    near = _votes(knn)
    return Memories(
        (
            Source(NAMES[0], _weights(ease), None),
            Source(NAMES[1], _weights(recent), recent.half_life),
            Source(NAMES[2], near, None),
            Source(NAMES[3], near, recent.half_life),
            Source(NAMES[4], _transitions(dataset, split), LATEST),
        ),
        np.log1p(popular.counts).astype(np.float32),
    )


def _weights(ease: Ease) -> sparse.csr_array:
    """EASE's weights B, the largest of each row."""
    blocks = (slice(first, first + BLOCK) for first in range(0, len(ease.factors.basis), BLOCK))
    return sparse.vstack([_largest(ease.weights(block)) for block in blocks], "csr")


def _votes(knn: ItemKNN) -> sparse.csr_array:
    """ItemKNN's similarities: row j holds the items that have j as a neighbour."""
    near, similarity = (x[:, : knn.neighbours] for x in (knn.nearest.items, knn.nearest.similarity))
    items = len(near)
    other = np.repeat(np.arange(items), near.shape[1])
    return sparse.csr_array((similarity.ravel(), (near.ravel(), other)), (items, items), np.float32)


def _transitions(dataset: Dataset, split: Split) -> sparse.csr_array:
    """The frequency of item b after item a within WINDOW events of a user, as a share of all items after a.

    T[a, b] = sum over events of 1 / distance, over (SHRINK + sum of row a) sqrt(DAMPING + events of b): a Markov chain
    of several lags in which the most popular items are not the largest of every row.
    """
    items = dataset.items.rows
    taken = Ragged.slices(dataset.item, dataset.start[:-1], split.train_end)
    user = np.repeat(np.arange(len(taken)), taken.lengths)
    pairs: list[tuple[Floats, Codes, Codes]] = []
    for lag in range(1, WINDOW + 1):
        same = np.flatnonzero(user[:-lag] == user[lag:])
        pairs.append((np.full(len(same), 1.0 / lag), taken.values[same], taken.values[same + lag]))
    weight, before, after = (np.concatenate(x) for x in zip(*pairs, strict=True))
    counts = sparse.csr_array((weight, (before, after)), (items, items))
    counts.sum_duplicates()
    total = SHRINK + counts.sum(1)
    events = np.bincount(taken.values, minlength=items)
    counts.data /= np.repeat(total, np.diff(counts.indptr)) * np.sqrt(DAMPING + events)[counts.indices]
    for row in np.flatnonzero(np.diff(counts.indptr) > NEIGHBOURS):
        values = counts.data[counts.indptr[row] : counts.indptr[row + 1]]
        values[np.argpartition(-values, NEIGHBOURS - 1)[NEIGHBOURS:]] = 0.0
    counts.eliminate_zeros()
    return counts.astype(np.float32)


def _largest(block: Scores) -> sparse.csr_array:
    """The NEIGHBOURS entries with the largest absolute values of each row, [rows, items]."""
    rows, items = block.shape
    most = min(NEIGHBOURS, items)
    best = np.sort(np.argpartition(-np.abs(block), most - 1, 1)[:, :most], 1)
    offsets = np.arange(0, rows * most + 1, most)
    return sparse.csr_array((np.take_along_axis(block, best, 1).ravel(), best.ravel(), offsets), block.shape)


def save(memories: Memories) -> dict[str, NDArray[np.generic]]:
    """Returns the arrays that `load` reads, by name."""
    out: dict[str, NDArray[np.generic]] = {"popularity": memories.popularity}
    for source in memories.sources:
        out[f"{source.name}.values"] = source.memory.data.astype(np.float32)
        out[f"{source.name}.columns"] = source.memory.indices.astype(np.int32)
        out[f"{source.name}.offsets"] = source.memory.indptr.astype(np.int64)
        out[f"{source.name}.half_life"] = np.array([source.half_life or np.inf], np.float32)
    return out


def load(arrays: Mapping[str, NDArray[np.generic]]) -> Memories:
    """Returns the memories that `save` wrote."""
    popularity = np.asarray(arrays["popularity"], np.float32)
    shape = (len(popularity), len(popularity))
    sources = []
    for name in (name for name in NAMES if f"{name}.values" in arrays):
        values, columns, offsets = (arrays[f"{name}.{part}"] for part in ("values", "columns", "offsets"))
        half_life = float(arrays[f"{name}.half_life"][0])
        memory = sparse.csr_array((values, columns, offsets), shape)
        sources.append(Source(name, memory, half_life if np.isfinite(half_life) else None))
    return Memories(tuple(sources), popularity)
