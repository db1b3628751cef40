"""Computes statistics of values in groups: the slates of one prompt, as GRPO samples them."""

from __future__ import annotations

import numpy as np

from recpolicy.dataset.columns import Floats

FLOOR = 0.05
"""Least deviation that an objective's advantage is divided by: what hardly differs is not blown up."""


def group_std(values: Floats, generations: int) -> Floats:
    """Each rule's deviation among the lists of one user, [rules]: the root of the mean of the groups' variances.

    `values` [B * copies, rules], at least 2 copies of a user adjacent; NaN, not applicable, for all of a group or none.
    A group's variance has copies - 1 below. 0 for a rule that applies to nobody.
    """
    groups = values.reshape(-1, generations, values.shape[1])
    known = ~np.isnan(groups[:, 0])  # [B, rules]
    variances = np.where(known, groups.var(1, ddof=1), 0.0)
    return np.asarray(np.sqrt(variances.sum(0) / np.maximum(known.sum(0), 1)), np.float64)


def group_centered(values: Floats, generations: int) -> Floats:
    """Values [B * copies, rules] less the mean of their group; 0 where not applicable."""
    groups = values.reshape(-1, generations, values.shape[1])
    return np.asarray(np.nan_to_num((groups - groups.mean(1, keepdims=True)).reshape(values.shape)), np.float64)


def shares(terms: Floats) -> Floats:
    """Each rule's share of the variance of the sum of `terms` [B, rules], whose means are 0: cov(term, sum) / var(sum).

    [rules], summing to 1; negative for a rule that the others outweigh. NaN where the sum does not vary.
    """
    whole = terms.sum(1)
    variance = float(whole @ whole)
    return np.asarray(whole @ terms / variance if variance > 1e-12 else np.full(terms.shape[1], np.nan), np.float64)


def lively(values: Floats, generations: int) -> Floats:
    """Share of the groups a rule applies to in which its value differs, [rules]; 0 where it applies to nobody."""
    groups = values.reshape(-1, generations, values.shape[1])
    known = ~np.isnan(groups[:, 0])
    differs = np.where(known, np.ptp(groups, 1), 0.0) > 1e-9
    return np.asarray(differs.sum(0) / np.maximum(known.sum(0), 1), np.float64)
