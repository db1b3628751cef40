"""Fits the linear recommenders of a user model: sparse matrices from items taken to items that may be taken next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recpolicy.dataset.columns import Bools, Codes, Floats, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import linear
from recpolicy.evaluation.baselines import BLOCK, Ease, ItemKNN, Popularity
from recpolicy.evaluation.linear import ROWS, LinearRecommender, Scores, at_candidates

NEIGHBOURS = 200
"""Entries in each row of a matrix: those with the largest absolute values."""
WINDOW = 5
"""Most events that a transition may span."""
SHRINK, DAMPING = 10.0, 5.0
"""Pseudo-events of transitions: added to the count of those from an item, and to the count of those to an item."""
NAMES = ("ease", "ease_recency", "itemknn", "itemknn_recency", "transitions")
"""The sources, in the order of their features."""
LATEST = 2.0
"""Half-life of a history, in events, where only its end matters."""


@dataclass(frozen=True, eq=False)
class LinearRecommenders:
    """The linear recommenders of a user model, and the popularity of every item."""

    recommenders: tuple[LinearRecommender, ...]
    popularity: Scores
    """log(1 + training events), [items]."""

    @property
    def items(self) -> int:
        """Number of items in the catalog."""
        return len(self.popularity)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, in order."""
        return (*(recommender.name for recommender in self.recommenders), "popularity")

    def best(self, rows: Rows, most: int) -> list[Codes]:
        """Returns the `most` best unseen items of each source, popularity the last, [B, most] each; -1 for none."""
        found = [linear.best(recommender.unseen(rows), most) for recommender in self.recommenders]
        longest = int(rows.history.lengths.max(initial=0))
        known = np.argsort(-self.popularity, kind="stable")[: most + longest].astype(np.int32)
        popular = np.full((len(rows), most), -1, np.int32)
        for i, own in enumerate(popular):
            new = known if rows.repeatable else known[~np.isin(known, rows.history.row(i))]
            own[: len(new)] = new[:most]
        return [*found, popular]

    def features(self, rows: Rows) -> Scores:
        """Computes the features of all items for each row, [F, B, items]; 0 for items seen.

        They are standardized over the items not in the row's history and compressed by arcsinh: linear near the mean
        and logarithmic in the tail, so that multinomial logits may be linear in them. Of rows with candidates they are
        the features of those, [F, B, C], the same as among all items.
        """
        free = unseen(rows, self.items)
        if rows.columns is not None:
            out = np.empty((len(self.names), *free.shape), np.float32)
            for part, some in rows.batches(ROWS):
                for recommender, own in zip(self.recommenders, out, strict=False):
                    own[part] = standardized_at(recommender.unseen(some), some, free[part])
            out[-1] = np.where(free, self.popularity[rows.columns], np.float32(0.0))
            return out
        scores = [standardized(recommender.scores(rows), free) for recommender in self.recommenders]
        popularity = np.where(free, self.popularity, np.float32(0.0))
        return np.stack([*scores, popularity])


def standardized(scores: Scores, free: Bools) -> Scores:
    """Computes arcsinh((score - mean) / deviation) over each row's `free` items; 0 elsewhere. All [B, items]."""
    count = np.maximum(free.sum(1, keepdims=True), 1).astype(np.float32)
    mean = scores.sum(1, keepdims=True, where=free) / count
    centered = np.where(free, scores - mean, np.float32(0.0))
    deviation = np.sqrt((centered**2).sum(1, keepdims=True) / count)
    return np.asarray(np.arcsinh(centered / np.where(deviation > 0, deviation, np.float32(1.0))), np.float32)


def standardized_at(scores: sparse.csr_array, rows: Rows, free: Bools) -> Scores:
    """Computes `standardized` over all items that are not seen, at the `free` candidates, [B, C]; 0 elsewhere.

    `scores` [B, items] hold those of unseen items that are not 0. With n unseen items of mean m, the sum of squares is
    sum over them of (score - m)^2 + (n - their number) m^2.
    """
    count = np.full(len(rows), scores.shape[1], np.float64)
    if not rows.repeatable:
        count -= rows.history.different().lengths
    count = np.maximum(count, 1.0)
    row, stored = np.repeat(np.arange(len(rows)), np.diff(scores.indptr)), np.diff(scores.indptr)
    mean = np.bincount(row, scores.data, len(rows)) / count
    squares = np.bincount(row, (scores.data - mean[row]) ** 2, len(rows)) + (count - stored) * mean**2
    deviation = np.sqrt(squares / count)
    deviation = np.where(deviation > 0, deviation, 1.0)
    shown = (at_candidates(scores, rows) - mean[:, None]) / deviation[:, None]
    return np.where(free, np.arcsinh(shown), 0.0).astype(np.float32)


def fit(dataset: Dataset, split: Split, classics: Mapping[str, object]) -> LinearRecommenders:
    """Builds linear recommenders from EASE, ItemKNN and transitions: the training part, and what was tuned on it.

    A classic that was left out is no source either.
    """
    recent, popular = classics["ease_recency"], classics["popularity"]
    assert isinstance(recent, Ease | LinearRecommender) and isinstance(popular, Popularity)
    sources = [
        LinearRecommender(NAMES[0], _item_weights(classics["ease"]), None),
        LinearRecommender(NAMES[1], _item_weights(recent), recent.half_life),
    ]
    if "itemknn" in classics:
        near = _item_weights(classics["itemknn"])
        sources += [
            LinearRecommender(NAMES[2], near, None),
            LinearRecommender(NAMES[3], near, recent.half_life),
        ]
    sources.append(LinearRecommender(NAMES[4], _transitions(dataset, split), LATEST))
    return LinearRecommenders(tuple(sources), np.log1p(popular.counts).astype(np.float32))


def _item_weights(model: object) -> sparse.csr_array:
    """The matrix from items taken to scores of a classic recommender."""
    match model:
        case LinearRecommender():
            return model.item_weights
        case Ease():
            return _weights(model)
        case ItemKNN():
            return _votes(model)
        case _:
            raise TypeError(f"{type(model).__name__} is not a linear recommender")


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


def save(linear: LinearRecommenders) -> dict[str, NDArray[np.generic]]:
    """Returns the arrays that `load` reads, by name."""
    out: dict[str, NDArray[np.generic]] = {"popularity": linear.popularity}
    for recommender in linear.recommenders:
        out[f"{recommender.name}.values"] = recommender.item_weights.data.astype(np.float32)
        out[f"{recommender.name}.columns"] = recommender.item_weights.indices.astype(np.int32)
        out[f"{recommender.name}.offsets"] = recommender.item_weights.indptr.astype(np.int64)
        out[f"{recommender.name}.half_life"] = np.array([recommender.half_life or np.inf], np.float32)
    return out


def load(arrays: Mapping[str, NDArray[np.generic]]) -> LinearRecommenders:
    """Returns the linear recommenders that `save` wrote."""
    popularity = np.asarray(arrays["popularity"], np.float32)
    shape = (len(popularity), len(popularity))
    recommenders = []
    for name in (name for name in NAMES if f"{name}.values" in arrays):
        values, columns, offsets = (arrays[f"{name}.{part}"] for part in ("values", "columns", "offsets"))
        half_life = float(arrays[f"{name}.half_life"][0])
        item_weights = sparse.csr_array((values, columns, offsets), shape)
        recommenders.append(LinearRecommender(name, item_weights, half_life if np.isfinite(half_life) else None))
    return LinearRecommenders(tuple(recommenders), popularity)
