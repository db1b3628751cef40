"""Compiles measures in which every place counts by itself: share, exposure, boost, bury, mean, discounted, novelty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.compiler.candidate_batch import EVERY_ITEM, CandidateBatch
from recpolicy.compiler.catalog import Term, by_item_only
from recpolicy.compiler.measures import FailOnMissing, MeasureState, discount, picked, running
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.language.policy import Missing

CHUNK = 4_000_000
"""Most (row, item) pairs evaluated at once where something needs every item for every row: 32 MB a temporary."""


class PlacesState:
    """Each place adds its own value times the coefficient of its rank, up to `limit` places of non-zero value."""

    def __init__(self, values: Floats, coefficients: Floats, limit: int | None) -> None:
        self._values, self._coefficients, self._limit = values, coefficients, limit  # [B, C], [K]
        self._rank = 0
        self._counted = np.zeros(len(values), np.int64)

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        gains = self._values[:, over] * self._coefficients[self._rank]
        return gains if self._limit is None else np.where(self._counted[:, None] < self._limit, gains, 0.0)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._counted += picked(self._values, at) > 0
        self._rank += 1


@dataclass(frozen=True, eq=False)
class ConditionMeasure:
    """Sum of a coefficient per rank over the places that match, the first `limit` of them."""

    where: Term
    unknown: bool
    """Whether an item for which the condition is missing counts: never to help, always to harm."""
    coefficients: Floats  # [K]
    limit: int | None

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        matches = batch.matches(self.where, unknown=self.unknown)
        if self.limit is not None:
            matches = matches & (running(matches) <= self.limit)
        return matches * self.coefficients

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        matches = batch.matches(self.where, unknown=self.unknown)
        return PlacesState(matches.astype(np.float64), self.coefficients, self.limit)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places for whose item the condition is missing, [B, C]."""
        return batch.unknown(self.where)


def portion(where: Term, k: int, *, discounted: bool) -> ConditionMeasure:
    """Compiles `share` or `exposure`: an unknown item is not counted."""
    return ConditionMeasure(where, False, _coefficients(k, discounted), None)


def boost(where: Term, k: int, limit: int | None, *, bury: bool) -> ConditionMeasure:
    """Compiles `boost` (unknown is not counted) or `bury` (it is counted), over the sum of w(1..limit or K)."""
    w = discount(k)
    return ConditionMeasure(where, bury, w / w[: k if limit is None else min(limit, k)].sum(), limit)


@dataclass(frozen=True, eq=False)
class AverageMeasure:
    """Plain or discounted mean of a number in [0, 1] (what lies outside is clipped)."""

    operand: Term
    coefficients: Floats  # [K]
    missing_as: Missing

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        return self._values(batch) * self.coefficients

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return PlacesState(self._values(batch), self.coefficients, None)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""
        return np.isnan(batch.number(self.operand)) & batch.held

    def _values(self, batch: CandidateBatch) -> Floats:
        """Of each candidate, [B, C]; 0 for a hole."""
        missing = self.missing(batch)
        values = np.broadcast_to(np.clip(batch.number(self.operand), 0.0, 1.0), batch.shape)
        fill = catalog_mean(self.operand, batch) if self.missing_as is Missing.MEAN and missing.any() else 0.0
        return np.where(batch.held, np.where(missing, fill, values), 0.0)


def average(operand: Term, k: int, missing_as: Missing, *, discounted: bool) -> AverageMeasure | FailOnMissing:
    """Compiles `mean` or `discounted` of `operand`."""
    measure = AverageMeasure(operand, _coefficients(k, discounted), missing_as)
    return FailOnMissing(measure) if missing_as is Missing.FAIL else measure


@dataclass(frozen=True, eq=False)
class NoveltyMeasure:
    """Mean self-information -log2 p(item) over its maximum log2(N).

    p = users who took the item / N, N = users with training events; an item nobody took has the maximum
    (Zhou et al., PNAS 2010, "surprisal"). An item whose count is not known has the catalog's mean.
    """

    worth: Floats
    """[items + 1] over K: of every item, then of a hole."""
    unknown: Bools  # [items + 1]
    k: int
    """Places of a slate."""

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        return batch.of_items(self.worth)

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return PlacesState(batch.of_items(self.worth), np.ones(self.k), None)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, C]."""
        return batch.of_items(self.unknown)


def novelty(k: int, users: int, counts: Floats) -> NoveltyMeasure:
    """Compiles `novelty`; `counts` is the column over the whole catalog."""
    unknown, worth = np.isnan(counts), self_information(counts, users)
    typical = float(worth[~unknown].mean()) if not unknown.all() else 0.0
    return NoveltyMeasure(np.append(np.where(unknown, typical, worth) / k, 0.0), np.append(unknown, False), k)


def self_information(counts: Floats, users: int) -> Floats:
    """Computes the self-information of items taken by `counts` of `users` users over its maximum, in [0, 1]."""
    if users <= 1:
        return np.zeros_like(counts)
    return np.asarray(1.0 - np.log2(np.clip(counts, 1.0, users)) / np.log2(users), np.float64)


def catalog_mean(operand: Term, batch: CandidateBatch) -> Floats:
    """Computes the mean of `operand` over the items of the catalog with a known value, [B, 1]; 0 without any."""
    if by_item_only(operand.node):
        return np.full((len(batch.rows), 1), _mean(batch.catalog.known[operand][None].astype(np.float64))[0])
    batches = batch.rows.batches(max(1, CHUNK // batch.catalog.items))
    parts = [_mean(CandidateBatch(batch.catalog, rows, EVERY_ITEM).number(operand)) for _, rows in batches]
    return np.concatenate(parts)[:, None]


def _mean(values: Floats) -> Floats:
    values = np.atleast_2d(values)  # a constant has no axis of items
    known = ~np.isnan(values)
    total = np.where(known, np.clip(values, 0.0, 1.0), 0.0).sum(1)
    return np.asarray(total / np.maximum(known.sum(1), 1), np.float64)


def _coefficients(k: int, discounted: bool) -> Floats:
    w = discount(k) if discounted else np.ones(k)
    return np.asarray(w / w.sum(), np.float64)
