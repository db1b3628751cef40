"""Fits classic recommenders on the training part of a data set and tunes them on its validation part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates, Split
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation.metrics import accuracy, mean

Scores: TypeAlias = NDArray[np.float32]

PENALTIES = (30.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0)
HALF_LIVES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
NEIGHBOURS = (20, 50, 100, 200, 400)
SHRINKS = (0.0, 20.0, 100.0)
BLOCK = 512
"""Items whose similarities to all items are held at once."""
EVENTS = 20_000
"""History events whose votes ItemKNN counts at once."""
TUNED_ON = 1000
"""Most validation users that settings are tuned on."""


class Baseline(Protocol):
    """A fitted recommender."""

    @property
    def name(self) -> str:
        """Its key in `eval.json`."""

    @property
    def settings(self) -> Mapping[str, float]:
        """The settings that tuning chose."""

    def scores(self, rows: Rows) -> Scores:
        """Scores how well every item fits each row's history, [B, items]; seen items have scores too."""


B = TypeVar("B", bound=Baseline)


def top(scores: Scores, rows: Rows, k: int, legal: Bools | None = None) -> Slates:
    """Returns the K best items of each row that are legal [B, items] and not in its history, best first; else holes.

    Where rows have candidates, scores and legal are those of the candidates, [B, C].
    """
    allowed = unseen(rows, scores.shape[1])
    if legal is not None:
        allowed &= legal
    masked = np.where(allowed, scores, -np.inf)
    width = min(k, masked.shape[1])
    best = np.sort(np.argpartition(-masked, width - 1, 1)[:, :width], 1)  # ties keep the catalog's order
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(masked, best, 1), 1, kind="stable"), 1)
    items = np.full((len(rows), k), -1, np.int32)
    items[:, :width] = np.where(np.isfinite(np.take_along_axis(masked, best, 1)), rows.items_at(best), -1)
    return Slates(items)


def fit(dataset: Dataset, split: Split, k: int) -> dict[str, Baseline]:
    """Fits `popularity`, `itemknn`, `ease` and `ease_recency`.

    They are fitted on the training part and tuned for NDCG@K on the validation part; nothing else is read. Recency's
    half-life is tuned with EASE's penalty, then the penalty with that half-life; neighbours before their shrinkage.
    """
    seen = taken(dataset, split)
    rows = split.validation.sample(TUNED_ON, seed=0)

    def best(models: Iterable[B]) -> B:
        return max(models, key=lambda m: mean(accuracy("ndcg", rows, top(m.scores(rows), rows, k))))

    ease, recency = tuned_ease(_factorized(seen), lambda m: mean(accuracy("ndcg", rows, top(m.scores(rows), rows, k))))
    nearest = _nearest(seen, SHRINKS, NEIGHBOURS[-1])
    knn = best(ItemKNN(nearest[0], neighbours) for neighbours in NEIGHBOURS)
    knn = best(ItemKNN(near, knn.neighbours) for near in nearest)
    models: tuple[Baseline, ...] = (Popularity(seen.sum(0)), knn, ease, recency)
    return {model.name: model for model in models}


@dataclass(frozen=True, eq=False)
class Popularity:
    """Items by the number of training users who took them."""

    counts: Scores  # [items]
    name: ClassVar[str] = "popularity"
    settings: ClassVar[Mapping[str, float]] = {}

    def scores(self, rows: Rows) -> Scores:
        """Returns the counts for each row, [B, items], or those of the rows' candidates, [B, C]."""
        if rows.columns is not None:
            return self.counts[rows.columns]
        return np.broadcast_to(self.counts, (len(rows), len(self.counts)))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The most similar items of each item by cosine, together / (sqrt(taken x taken') + shrink), nearest first."""

    items: Codes  # [items, most]
    similarity: Scores  # [items, most]
    shrink: float


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """Item-based nearest neighbours (Sarwar et al., WWW 2001), with sets in place of ratings."""

    nearest: Neighbours
    neighbours: int
    name: ClassVar[str] = "itemknn"

    @property
    def settings(self) -> Mapping[str, float]:
        """The number of neighbours and their shrinkage."""
        return {"neighbours": self.neighbours, "shrink": self.nearest.shrink}

    @cached_property
    def _votes(self) -> Ragged:
        """For each item, the (item, neighbour) pairs in which it is the neighbour."""
        near = self.nearest.items[:, : self.neighbours]
        counts = np.bincount(near.ravel(), minlength=len(near))
        pairs = np.argsort(near.ravel(), kind="stable").astype(np.int32)
        return Ragged(np.append(0, np.cumsum(counts)), pairs)

    def scores(self, rows: Rows) -> Scores:
        """Sums the similarities of each item's neighbours that are in the history, [B, items]."""
        items = len(self.nearest.items)
        near = self.nearest.similarity[:, : self.neighbours]  # [items, neighbours, or as many as there are]
        similarity = near.ravel()
        row = np.repeat(np.arange(len(rows)), rows.history.lengths)
        seen = np.unique(row * items + rows.history.values)  # an item taken again votes once
        out = np.zeros(len(rows) * items)
        for first in range(0, len(seen), EVENTS):
            row, item = np.divmod(seen[first : first + EVENTS], items)
            votes = self._votes.take(item)
            low, high = row[0] * items, (row[-1] + 1) * items
            at = np.repeat(row * items - low, votes.lengths) + votes.values // near.shape[1]
            out[low:high] += np.bincount(at, similarity[votes.values], high - low)
        return out.reshape(len(rows), items).astype(np.float32)


def _nearest(seen: Scores, shrinks: Sequence[float], most: int) -> list[Neighbours]:
    """One set of neighbours per shrinkage, without an [items, items] matrix in memory."""
    items = seen.shape[1]
    most = min(most, items)
    norm = np.sqrt(seen.sum(0))
    nearest = [np.zeros((items, most), np.int32) for _ in shrinks]
    similarity = [np.zeros((items, most), np.float32) for _ in shrinks]
    for first in range(0, items, BLOCK):
        part = slice(first, min(first + BLOCK, items))
        together = seen[:, part].T @ seen  # [block, items]
        together[np.arange(part.stop - first), np.arange(first, part.stop)] = 0.0
        for i, shrink in enumerate(shrinks):
            cosine = together / np.maximum(np.outer(norm[part], norm) + np.float32(shrink), np.float32(1.0))
            best = np.argpartition(-cosine, most - 1, 1)[:, :most]
            order = np.argsort(-np.take_along_axis(cosine, best, 1), 1, kind="stable")
            nearest[i][part] = np.take_along_axis(best, order, 1)
            similarity[i][part] = np.take_along_axis(cosine, nearest[i][part], 1)
    return [Neighbours(*fields) for fields in zip(nearest, similarity, shrinks, strict=True)]


@dataclass(frozen=True, eq=False)
class Factors:
    """The training matrix X [users, items] as X'X = R diag(s) R', which gives the model of every penalty."""

    basis: Scores  # R, [items, rank]
    spectrum: Scores  # s, [rank], squared singular values


@dataclass(frozen=True, eq=False)
class Ease:
    """EASE (Steck, WWW 2019): scores x B, B = I - P / diag(P) by columns, P = (X'X + penalty I)^-1.

    With X'X = R diag(s) R', penalty P = I - R diag(s / (s + penalty)) R': no [items, items] matrix is in memory.
    With a half-life (in events), an event n events ago counts 2^(-n / half-life) in the history x.
    """

    factors: Factors
    penalty: float
    half_life: float | None

    @property
    def name(self) -> str:
        """`ease_recency` with a half-life, else `ease`."""
        return "ease" if self.half_life is None else "ease_recency"

    @property
    def settings(self) -> Mapping[str, float]:
        """The penalty, and the half-life where there is one."""
        penalty = {"penalty": self.penalty}
        return penalty if self.half_life is None else penalty | {"half_life": self.half_life}

    @cached_property
    def _shrunk(self) -> Scores:
        """R diag(s / (s + penalty)), [items, rank]."""
        spectrum = self.factors.spectrum
        return np.asarray(self.factors.basis * (spectrum / (spectrum + np.float32(self.penalty))))

    @cached_property
    def _diagonal(self) -> Scores:
        """The vector penalty diag(P), [items]."""
        return np.asarray(1.0 - (self._shrunk * self.factors.basis).sum(1))

    def weights(self, taken: slice) -> Scores:
        """Computes rows `taken` of B, [taken, items]: the part of each of these items in the score of every item."""
        weights = self._shrunk[taken] @ self.factors.basis.T / self._diagonal
        own = np.arange(len(weights))
        weights[own, own + taken.start] = 0.0
        return np.asarray(weights, np.float32)

    def scores(self, rows: Rows) -> Scores:
        """Computes x B for the histories x of the rows, [B, items]."""
        basis = self.factors.basis
        x = profiles(rows, len(basis), self.half_life)
        inverse = x - (x @ self._shrunk) @ basis.T  # penalty x P, [B, items]
        return np.asarray(x - inverse / self._diagonal, np.float32)


def tuned_ease(factors: Factors, quality: Callable[[Ease], float]) -> tuple[Ease, Ease]:
    """Tunes EASE without and with a half-life for the quality: a penalty, a half-life with it, a penalty with that."""
    ease = max((Ease(factors, penalty, None) for penalty in PENALTIES), key=quality)
    recency = max((Ease(factors, ease.penalty, half_life) for half_life in HALF_LIVES), key=quality)
    return ease, max((Ease(factors, penalty, recency.half_life) for penalty in PENALTIES), key=quality)


def positive_part(gram: Floats) -> tuple[Floats, Floats]:
    """Computes the eigenvalues [rank] and eigenvectors [n, rank] of X'X or X X' that are not 0."""
    spectrum, vectors = np.linalg.eigh(gram)
    positive = spectrum > 1e-6 * max(float(spectrum[-1]), 1.0)
    return spectrum[positive], vectors[:, positive]


def _factorized(seen: Scores) -> Factors:
    """The factors, from the smaller of X X' and X'X."""
    users, items = seen.shape
    exact = seen.astype(np.float64)
    spectrum, vectors = positive_part(exact @ exact.T if users < items else exact.T @ exact)
    basis = (exact.T @ vectors) / np.sqrt(spectrum) if users < items else vectors
    return Factors(basis.astype(np.float32), spectrum.astype(np.float32))


def taken(dataset: Dataset, split: Split) -> Scores:
    """Builds the training matrix X, [users, items]: the weight of what the user took in the training part, else 0."""
    seen = np.zeros((len(dataset.user_ids), dataset.items.rows), np.float32)
    user, item, weight = training_events(dataset, split)
    seen[user, item] = weight
    return seen


def training_events(dataset: Dataset, split: Split) -> tuple[Ints, Codes, Scores]:
    """Returns user, item and weight of each event of the training part, by user.

    The weight is 1 unless the schema gives one. Of an item that a user took several times it is the largest.
    """
    user = np.repeat(np.arange(len(dataset.user_ids)), np.diff(dataset.start))
    at = np.flatnonzero(np.arange(len(dataset.item)) < split.train_end[user])
    weight = np.ones(len(at)) if dataset.weight is None else dataset.weight[at]
    user, item = user[at], dataset.item[at]
    if dataset.schema.interactions.repeatable:
        order = np.lexsort((weight, item, user))
        last = np.append((np.diff(user[order]) != 0) | (np.diff(item[order]) != 0), True)[: len(order)]
        user, item, weight = (values[order][last] for values in (user, item, weight))
    return user, item, weight.astype(np.float32)


def profiles(rows: Rows, items: int, half_life: float | None) -> Scores:
    """Weighs the events of each history, x [B, items]; an item taken several times has the weight of the last."""
    out = np.zeros((len(rows), items), np.float32)
    row = np.repeat(np.arange(len(rows)), rows.history.lengths)
    since = rows.history.offsets[row + 1] - 1 - np.arange(len(row))  # number of later events
    weights = np.ones(len(row)) if half_life is None else 2.0 ** (-since / half_life)
    np.maximum.at(out, (row, rows.history.values), weights.astype(np.float32))
    return out
