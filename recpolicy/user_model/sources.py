"""Fits the item-to-item memories of a user model: sparse matrices from what was taken to what may be taken next."""

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
"""Entries kept of each row of a memory: those of the largest size."""
WINDOW = 5
"""Events that a transition may span."""
SHRINK, DAMPING = 10.0, 5.0
"""Of transitions: pseudo-events added to how often an item was left, and to how often one was taken."""
NAMES = ("ease", "ease_recency", "itemknn", "itemknn_recency", "transitions")
"""The sources, in the order of their features."""
LATEST = 2.0
"""Half-life of a history in events where only its end matters."""


@dataclass(frozen=True, eq=False)
class Source:
    """A linear recommender: scores are a history's weights times a sparse item-to-item memory."""

    name: str
    memory: sparse.csr_array
    """[items, items] float32; row j is what item j, taken, says for every other item."""
    half_life: float | None
    """An event that lies n events back counts 2^(-n / half_life); None: all count alike."""

    def scores(self, rows: Rows) -> Scores:
        """Scores of all items, [B, items]."""
        history = sparse.csr_array(profiles(rows, self.memory.shape[0], self.half_life))
        return np.asarray((history @ self.memory).toarray(), np.float32)


@dataclass(frozen=True, eq=False)
class Memories:
    """The classic recommenders of a user model, and the popularity of every item."""

    sources: tuple[Source, ...]
    popularity: Scores
    """log(1 + training events), [items]."""

    @property
    def items(self) -> int:
        """How many items they know."""
        return len(self.popularity)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        return (*(source.name for source in self.sources), "popularity")

    def features(self, rows: Rows) -> Scores:
        """Features of all items for each row, [F, B, items].

        Scores in deviations from the row's mean over the items not in its history, compressed by arcsinh: linear near
        the mean and logarithmic in the tail, so that multinomial logits may be linear in them. 0 for items seen.
        """
        free = unseen(rows, len(self.popularity))
        found = [standardized(source.scores(rows), free) for source in self.sources]
        popularity = np.where(free, self.popularity, np.float32(0.0))
        return np.stack([*found, popularity])


def standardized(scores: Scores, free: Bools) -> Scores:
    """arcsinh of the scores in deviations from each row's mean over its `free` items; 0 elsewhere. All [B, items]."""
    count = np.maximum(free.sum(1, keepdims=True), 1).astype(np.float32)
    mean = scores.sum(1, keepdims=True, where=free) / count
    apart = np.where(free, scores - mean, np.float32(0.0))
    deviation = np.sqrt((apart**2).sum(1, keepdims=True) / count)
    return np.asarray(np.arcsinh(apart / np.where(deviation > 0, deviation, np.float32(1.0))), np.float32)


def fit(dataset: Dataset, split: Split, classics: Mapping[str, object]) -> Memories:
    """Returns the memories of EASE, ItemKNN and transitions, from the training part and recommenders tuned on it."""
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
    items = len(ease.factors.basis)
    blocks = []
    for first in range(0, items, BLOCK):
        part = slice(first, min(first + BLOCK, items))
        blocks.append(_largest(ease.weights(part)))
    return sparse.vstack(blocks, "csr")


def _votes(knn: ItemKNN) -> sparse.csr_array:
    """ItemKNN's similarities: row j holds those items whose neighbour j is."""
    near, similarity = (x[:, : knn.neighbours] for x in (knn.nearest.items, knn.nearest.similarity))
    items = len(near)
    other = np.repeat(np.arange(items), near.shape[1])
    return sparse.csr_array((similarity.ravel(), (near.ravel(), other)), (items, items), np.float32)


def _transitions(dataset: Dataset, split: Split) -> sparse.csr_array:
    """How often item b followed item a within WINDOW events of a user, in shares of what followed a.

    T[a, b] = sum over events of 1 / distance, over (SHRINK + sum of row a) sqrt(DAMPING + events of b): a Markov chain
    of several lags whose best-known items do not win every row.
    """
    items = dataset.items.rows
    taken = Ragged.slices(dataset.item, dataset.start[:-1], split.train_end)
    user = np.repeat(np.arange(len(taken)), taken.lengths)
    pairs: list[tuple[Floats, Codes, Codes]] = []
    for lag in range(1, WINDOW + 1):
        same = np.flatnonzero(user[:-lag] == user[lag:]) if len(user) > lag else np.zeros(0, np.int64)
        pairs.append((np.full(len(same), 1.0 / lag), taken.values[same], taken.values[same + lag]))
    weight, before, after = (np.concatenate(x) for x in zip(*pairs, strict=True))
    counts = sparse.csr_array((weight, (before, after)), (items, items))
    counts.sum_duplicates()
    left = SHRINK + counts.sum(1)
    events = np.bincount(taken.values, minlength=items)
    counts.data /= np.repeat(left, np.diff(counts.indptr)) * np.sqrt(DAMPING + events)[counts.indices]
    kept = [_sparse_row(counts, row) for row in range(items)]
    lengths = [len(columns) for columns, _ in kept]
    return sparse.csr_array(
        (
            np.concatenate([values for _, values in kept]).astype(np.float32),
            np.concatenate([columns for columns, _ in kept]),
            np.append(0, np.cumsum(lengths)),
        ),
        (items, items),
    )


def _sparse_row(matrix: sparse.csr_array, row: int) -> tuple[NDArray[np.int32], Floats]:
    """Columns and values of a row's NEIGHBOURS largest entries."""
    part = slice(matrix.indptr[row], matrix.indptr[row + 1])
    columns, values = matrix.indices[part], matrix.data[part]
    if len(values) > NEIGHBOURS:
        best = np.sort(np.argpartition(-values, NEIGHBOURS - 1)[:NEIGHBOURS])
        columns, values = columns[best], values[best]
    return columns, values


def _largest(block: Scores) -> sparse.csr_array:
    """The NEIGHBOURS entries of largest size of each row, [rows, items]."""
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
