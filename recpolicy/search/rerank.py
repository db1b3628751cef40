"""Reranks a model's candidates for a compiled policy, without training."""

from __future__ import annotations

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.search.builder import BATCH, build, with_hole


def rerank(candidates: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy, mu: float) -> Slates:
    """Builds greedy slates: each place takes the candidate with the largest score + mu x its gain for the policy.

    `candidates` [B, C] are item rows (-1 none). `scores` [B, C] have any scale and are min-max-normalised per user; a
    candidate with -inf is not chosen. The gain is what the candidate adds at that place to R over the rules that need
    no label (the user's weights, buries subtracted, over the sum of the weights). Blocked candidates are never chosen,
    nor those that would break a hard quota; where no candidate is left, the place is a hole. Equal candidates are taken
    in the order given; a row names none twice. After maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).
    """
    out = np.full((len(rows), compiled.policy.slate), -1, np.int32)
    for part, some in rows.batches(BATCH):
        out[part] = _built(candidates[part], scores[part], some, compiled, mu)
    return Slates(out)


def weighted(candidates: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy) -> Slates:
    """Builds greedy slates for the whole reward R at the policy's own weights; scores stand in for rules with labels.

    With s the labelled rules' share of a user's weights and scores scaled to [0, 1], a candidate is worth
    s score / K + (1 - s) gain. This is `rerank` at mu = K (1 - s) / s, or by the gains alone where s is 0.
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
    choices = with_hole(np.where(np.isfinite(scores), candidates, np.int32(-1)))
    partial_slates = compiled.partial_slates(rows, choices)
    base = _scaled(np.pad(scores, ((0, 0), (0, 1))), partial_slates.legal)
    return build(
        partial_slates, choices, compiled.policy.slate, lambda *_: base + mu * partial_slates.gains() if mu else base
    )


def _scaled(scores: Floats, legal: Bools) -> Floats:
    """Scores as shares of each row's range over its legal candidates; 0 for the others and where all are equal."""
    low = np.where(legal, scores, np.inf).min(1, keepdims=True)
    high = np.where(legal, scores, -np.inf).max(1, keepdims=True)
    width = np.where(high > low, high - low, 1.0)
    return np.where(legal, (np.where(legal, scores, 0.0) - np.where(np.isfinite(low), low, 0.0)) / width, 0.0)
