"""Blends recommenders into calibrated probabilities: a multinomial logit, fitted by likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Rows
from recpolicy.evaluation.linear import Scores

PAIRS = 10_000_000
"""Most (row, item) pairs that a blend is fitted on."""
ROWS = 64
"""Rows whose derivatives are computed at once."""
RIDGE = 1e-3
"""Penalty on half the squared weights, per row."""
STEPS = 50
FOLDS = 5
BINS = 10


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows with known next items, as arrays for the fit."""

    features: Scores  # [F, B, items]
    free: Bools  # [B, items], items that may be taken next
    taken: Bools  # [B, items], items that were taken next and are free
    log_weight: Scores | None = None  # [B, items], of candidates (`Candidates.log_weight`); None: every item is one

    @staticmethod
    def of(features: Scores, free: Bools, rows: Rows) -> Examples:
        """Builds the examples of rows; a next item that is not free does not count."""
        taken = np.zeros_like(free)
        taken[rows.found(np.repeat(np.arange(len(rows)), rows.next_items.lengths), rows.next_items.values)] = True
        log_weight = None if rows.candidates is None else rows.candidates.log_weight
        return Examples(features, free, taken & free, log_weight)

    def part(self, rows: Ints) -> Examples:
        """Returns the examples of some of the rows."""
        log_weight = None if self.log_weight is None else self.log_weight[rows]
        return Examples(self.features[:, rows], self.free[rows], self.taken[rows], log_weight)

    def log_probs(self, weights: Floats) -> Scores:
        """Computes log p(item), [B, items]; -inf for those that are not free."""
        return log_softmax(logits(self.features, weights), self.free, self.log_weight)

    def log_likelihood(self, weights: Floats) -> Floats:
        """Computes the sum over each row's next items of log p(item), [B]."""
        logp = self.log_probs(weights)
        return np.asarray(np.where(self.taken, logp, 0.0).sum(1), np.float64)


def logits(features: Scores, weights: Floats) -> Scores:
    """Computes the sum over f of weights[f] features[f], [B, items]."""
    return np.asarray(np.tensordot(weights.astype(np.float32), features, 1), np.float32)


def log_softmax(scores: Scores, free: Bools, log_weight: Scores | None = None) -> Scores:
    """Computes the log of each item's share among the `free` items of its row; -inf elsewhere. All [B, items].

    Where items are candidates with weights, log p(i) = score_i - log sum over free j of weight_j exp(score_j).
    """
    masked = np.where(free, scores, np.float32(-np.inf))
    top = masked.max(1, keepdims=True, initial=-np.inf)
    shifted = masked - np.where(np.isfinite(top), top, 0.0)
    shares = np.exp(shifted if log_weight is None else shifted + log_weight)
    return np.asarray(shifted - np.log(np.maximum(shares.sum(1, keepdims=True), 1e-30)), np.float32)


def fit(examples: Examples) -> Floats:
    """Fits weights [F]: they maximise the log-likelihood of the next items minus RIDGE / 2 of their squares per row.

    log p(i | row) = w . x_i - log sum over free j of exp(w . x_j), summed over the row's next items. This is concave in
    w, so that Newton's method with halved steps finds the maximum.
    """
    count = len(examples.features)
    weights = np.zeros(count)
    penalty = RIDGE * max(len(examples.free), 1)

    def objective(w: Floats) -> float:
        return float(examples.log_likelihood(w).sum() - penalty / 2 * (w @ w))

    value = objective(weights)
    for _ in range(STEPS):
        gradient, curvature = _derivatives(examples, weights)
        step = np.linalg.solve(curvature + penalty * np.eye(count), gradient - penalty * weights)
        size = 1.0
        while (new_value := objective(weights + size * step)) < value and size > 1e-4:
            size /= 2
        weights = weights + size * step
        if new_value - value < 1e-6 * max(abs(value), 1.0):
            break
        value = new_value
    return weights


def _derivatives(examples: Examples, weights: Floats) -> tuple[Floats, Floats]:
    """Gradient [F] and negative Hessian [F, F] of the log-likelihood."""
    f = len(weights)
    gradient, curvature = np.zeros(f), np.zeros((f, f))
    for first in range(0, len(examples.free), ROWS):
        part = slice(first, first + ROWS)
        x, free, taken = examples.features[:, part], examples.free[part], examples.taken[part]
        log_weight = None if examples.log_weight is None else examples.log_weight[part]
        logp = log_softmax(logits(x, weights), free, log_weight)
        p = np.exp(logp if log_weight is None else logp + log_weight) * taken.sum(1, keepdims=True)  # [B, items]
        gradient += np.tensordot(x, taken - p, 2)
        flat = x.reshape(f, -1)
        mean = (x * p).sum(2)  # [F, B]
        curvature += (flat * p.ravel()) @ flat.T - (mean / np.maximum(p.sum(1), 1e-12)) @ mean.T
    return gradient, curvature


def cross_validated(examples: Examples, seed: int) -> Floats:
    """Computes the log-likelihood of each row's next items [B] with weights fitted on the other folds of rows."""
    fold_of = np.random.default_rng(seed).permutation(len(examples.free)) % FOLDS
    out = np.zeros(len(fold_of))
    for fold in range(FOLDS):
        others, own = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if len(others) and len(own):
            out[own] = examples.part(own).log_likelihood(fit(examples.part(others)))
    return out


def reliability(predictions: Scores, taken: Bools, counted: Bools) -> dict[str, Any]:
    """Compares predicted probabilities with the items taken, over the pairs `counted`; all [B, items].

    `bins`: BINS groups of equally many pairs by predicted probability, each with its mean probability, the share that
    was taken, and the number of pairs. `error`: the expected calibration error, the mean over bins of |predicted -
    share| (Naeini et al., AAAI 2015, with bins of equal mass).
    """
    predicted, observed = predictions[counted].astype(np.float64), taken[counted]
    order = np.argsort(predicted, kind="stable")
    bins = [
        {"chance": float(predicted[at].mean()), "taken": float(observed[at].mean()), "pairs": len(at)}
        for at in np.array_split(order, BINS)
        if len(at)
    ]
    error = sum(abs(b["chance"] - b["taken"]) * b["pairs"] for b in bins) / max(len(order), 1)
    return {"error": error, "bins": bins}
