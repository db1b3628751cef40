"""A model's candidates and a compiled policy in, slates re-ranked for the policy out: what a team ships untrained."""

from __future__ import annotations

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Rows, Slates

BATCH = 256
"""Rows re-ranked at once: bounds the [rows, candidates, values of an item] temporaries."""


def rerank(candidates: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy, mu: float) -> Slates:
    """Greedy slates: at each rank the candidate with the largest score + mu x its gain for the policy.

    `candidates` [B, C] item rows (-1 none), `scores` [B, C] any scale, min-max-normalised per user; -inf is not
    chosen. The gain is what the candidate adds at that rank to R over the rules that need no label (weights as the
    user's, buries subtracted, over their sum). Blocked candidates are never chosen, nor those that would break a hard
    quota; where none is left is a hole. Equal candidates are taken in the order given; a row names none twice. After
    maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).
    """
    out = np.full((len(rows), compiled.policy.slate), -1, np.int32)
    for first in range(0, len(rows), BATCH):
        at = np.arange(first, min(first + BATCH, len(rows)))
        out[at] = _built(candidates[at], scores[at], rows.take(at), compiled, mu)
    return Slates(out)


def weighted(candidates: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy) -> Slates:
    """Greedy slates for the whole reward R at the policy's own weights, the scores standing in for rules with labels.

    With s the labelled rules' share of a user's weights and scores scaled to [0, 1], a place is worth
    s score / K + (1 - s) gain: `rerank` at mu = K (1 - s) / s, or by the gains alone where s is 0.
    """
    k = compiled.policy.slate
    weights = compiled.weights(rows)
    labelled = np.array([rule.needs_labels for rule in compiled.rules], np.bool_)
    total = weights.sum(1)
    share = np.where(total > 0, (weights * labelled).sum(1) / np.where(total > 0, total, 1.0), 1.0).round(9)
    out = np.full((len(rows), k), -1, np.int32)
    for s in np.unique(share):  # users of one segment have one share
        at = np.flatnonzero(share == s)
        own = scores[at] if s > 0 else np.where(np.isfinite(scores[at]), 0.0, -np.inf)
        mu = k * (1.0 - s) / s if s > 0 else 1.0
        out[at] = rerank(candidates[at], own, rows.take(at), compiled, float(mu)).items
    return Slates(out)


def _built(candidates: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy, mu: float) -> Codes:
    """Slates [B, K], all rows at once."""
    b, c = candidates.shape
    hole = np.full((b, 1), -1, np.int32)
    scored = np.where(np.isfinite(scores), candidates, np.int32(-1))
    pool = np.concatenate([scored, hole], 1)  # [B, C + 1]: the last is taken where nothing else is open
    growth = compiled.growth(rows, pool)
    base = _scaled(np.concatenate([scores, np.zeros((b, 1))], 1), growth.legal)
    slates = np.full((b, compiled.policy.slate), -1, np.int32)
    for r in range(compiled.policy.slate):
        open_ = growth.open
        worth = np.where(open_, base + mu * growth.gains() if mu else base, -np.inf)
        at = np.where(open_.any(1), worth.argmax(1), c)
        slates[:, r] = pool[np.arange(b), at]
        growth.take(at)
    return slates


def _scaled(scores: Floats, open_: Bools) -> Floats:
    """Scores as shares of each row's range over its open candidates; 0 for the others and where all are equal."""
    low = np.where(open_, scores, np.inf).min(1, keepdims=True)
    high = np.where(open_, scores, -np.inf).max(1, keepdims=True)
    width = np.where(high > low, high - low, 1.0)
    return np.where(open_, (np.where(open_, scores, 0.0) - np.where(np.isfinite(low), low, 0.0)) / width, 0.0)
