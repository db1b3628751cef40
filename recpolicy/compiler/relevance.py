"""Computes the accuracy of slates, rank by rank, against the next items or how likely each item is to be one.

An item that was taken twice counts once: n below is the number of different next items. Where rows have
`label_probabilities` a measure is its expected value: in the place of a hit stands the probability that the item is
among the next n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.measures import MeasureState, discount, picked
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints

SOME = 16
"""Next items that places are compared with at once: bounds the [next items, K, B] table, which can be long."""


@dataclass(frozen=True)
class RelevanceMeasure:
    """A measure against the next items: of whole slates, and only where there are next items, real or expected."""

    metric: Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]
    k: int
    """Places of a slate, for slates that grow."""

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K], by the standard definition of the measure at cut-off K.

        `ndcg` (binary gains): ideal over min(K, n). `recall`: hits / n. `precision`: hits / K. `mrr`: 1 / rank of the
        first hit. `lcs`: longest common subsequence with the next items over min(K, n). In expectation the hits of
        `hit` and `mrr` are taken as independent of each other, and `lcs` is its mean over drawn lists.
        """
        if self.metric == "lcs":
            return self._lcs(batch)
        labels, (_, k) = batch.rows.label_probabilities, batch.shape
        hits = next_hits(batch) if labels is None else labels.of(batch.items)
        if self.first_hit_only:
            missed = np.cumprod(1.0 - hits, 1)
            hits = np.concatenate([hits[:, :1], hits[:, 1:] * missed[:, :-1]], 1)
        out = hits * self.weights(k)
        out /= self.ideal(next_different(batch), k)[:, None]
        return np.asarray(out, np.float64)

    @property
    def first_hit_only(self) -> bool:
        """Whether hits after the first are worth nothing."""
        return self.metric in ("hit", "mrr")

    def weights(self, k: int) -> Floats:
        """Returns what a hit at each rank is worth, over `ideal`, [k]."""
        match self.metric:
            case "ndcg":
                return discount(k)
            case "mrr":
                return np.asarray(1.0 / np.arange(1, k + 1), np.float64)
            case _:
                return np.ones(k)

    def ideal(self, n: Ints, k: int) -> Floats:
        """Returns what the best k places are worth with n different next items, in the units of `weights`, [B]."""
        match self.metric:
            case "ndcg":
                return np.asarray(discount(k).cumsum().take(n - 1, mode="clip"), np.float64)
            case "recall":
                return np.maximum(n, 1).astype(np.float64)
            case "precision":
                return np.full(len(n), float(k))
            case "lcs":
                return np.clip(n, 1, k).astype(np.float64)
            case _:
                return np.ones(len(n))

    def applicable(self, batch: CandidateBatch) -> Bools:
        """Finds the rows with next items, real or expected, [B]."""
        labels = batch.rows.label_probabilities
        return np.greater(batch.rows.next_items.lengths if labels is None else labels.count[labels.at], 0)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Returns False everywhere, [B, K]: every item has a value."""
        return np.zeros(batch.shape, np.bool_)

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates, of rows with label probabilities; `lcs` as if the order of hits did not matter."""
        return ExpectedRelevanceState(self, batch)

    def _lcs(self, batch: CandidateBatch) -> Floats:
        labels, ideal = batch.rows.label_probabilities, self.ideal(next_different(batch), batch.shape[1])[:, None]
        assert batch.items is not None
        if labels is None:
            return np.asarray(_lcs(batch.items, _padded_next(batch)) / ideal, np.float64)
        assert labels.draws is not None, "the order of next items was not drawn"
        drawn = [_lcs(batch.items, lists[labels.at]) for lists in labels.draws]
        return np.asarray(np.mean(drawn, 0) / ideal, np.float64)


class ExpectedRelevanceState:
    """What each further candidate adds to the expected accuracy."""

    def __init__(self, measure: RelevanceMeasure, batch: CandidateBatch) -> None:
        assert batch.rows.label_probabilities is not None, "candidates are weighed by expected labels"
        self._measure, self._rank = measure, 0
        self._chance = batch.rows.label_probabilities.of(batch.items)  # [B, C]
        self._weights = measure.weights(measure.k)
        self._ideal = measure.ideal(next_different(batch), measure.k)
        self._missed = np.ones(len(self._chance))  # the probability that no place so far is a hit, [B]

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        worth = self._weights[self._rank] / self._ideal
        if self._measure.first_hit_only:
            worth = worth * self._missed
        return np.asarray(self._chance[:, over] * worth[:, None], np.float64)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._missed *= 1.0 - picked(self._chance, at)
        self._rank += 1


def next_hits(batch: CandidateBatch) -> Bools:
    """Finds the places that hold one of the next items, [B, K]."""
    return batch.once("hits", lambda: _hits(batch, _padded_next(batch)))


def next_different(batch: CandidateBatch) -> Ints:
    """Counts the different next items, real or expected, [B]."""
    if (labels := batch.rows.label_probabilities) is not None:
        return labels.count[labels.at]
    return batch.once("next items, different", lambda: _different(_padded_next(batch)))


def _padded_next(batch: CandidateBatch) -> Codes:
    """[B, longest], -2 past a row's end: no item and no hole."""

    def pad() -> Codes:
        lists, lengths = batch.rows.next_items, batch.rows.next_items.lengths
        longest = max(1, int(lengths.max(initial=0)))
        if len(lengths) and lengths.min() == longest:  # as many for everybody, as a split holds out
            return np.asfortranarray(lists.values[lists.offsets[0] : lists.offsets[-1]].reshape(-1, longest))
        place = np.arange(longest)[:, None]
        values = np.append(lists.values, np.int32(-2))
        at = np.where(place < lengths, lists.offsets[:-1] + place, len(lists.values))  # [longest, B]
        return values.take(at).T

    return batch.once("next items", pad)


def _hits(batch: CandidateBatch, future: Codes) -> Bools:
    assert batch.items is not None
    items, taken = batch.items.T, future.T[:, None]  # [K, B], [longest, 1, B]
    hits = np.zeros(items.shape, np.bool_)
    for first in range(0, len(taken), SOME):
        hits |= np.bitwise_or.reduce(items == taken[first : first + SOME], 0)
    return hits.T


def _different(future: Codes) -> Ints:
    ordered = np.sort(future, 1)
    again = ordered[:, 1:] == ordered[:, :-1]
    different = future.shape[1] - (ordered[:, 0] < 0).astype(np.int64)  # what is past a row's end is no item
    return np.asarray(different - again.sum(1) if again.any() else different, np.int64)


def _lcs(items: Codes, future: Codes) -> Floats:
    """How much each place adds to the longest common subsequence, [B, K] of 0 and 1.

    Row r of the usual table from row r - 1: best[j] = max over i <= j of (previous[i], previous[i - 1] + match[i]).
    """
    b, k = items.shape
    best = np.zeros((b, future.shape[1] + 1), np.int64)
    out = np.zeros((b, k))
    for r in range(k):
        longer = np.where(items[:, r, None] == future, best[:, :-1] + 1, 0)
        grown = np.maximum.accumulate(np.maximum(best[:, 1:], longer), 1)
        out[:, r] = grown[:, -1] - best[:, -1]
        best[:, 1:] = grown
    return out
