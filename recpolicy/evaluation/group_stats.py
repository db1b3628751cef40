"""Computes statistics of values in groups. A group is the slates of one prompt, as GRPO samples them."""

from __future__ import annotations

import numpy as np

from recpolicy.dataset.columns import Floats

FLOOR = 0.05
"""Least deviation to divide an objective's advantage by, so that tiny differences are not enlarged."""


def group_std(values: Floats, generations: int) -> Floats:
    """Computes each rule's standard deviation within groups, [rules]: the root of the mean variance of the groups.

    `values` [B * generations, rules]: the generations of a prompt, at least 2, are adjacent. NaN is not applicable, for
    all of a group or none. The variance of a group is over generations - 1. 0 for a rule that applies to nobody.
    """
    groups = values.reshape(-1, generations, values.shape[1])
    known = ~np.isnan(groups[:, 0])  # [B, rules]
    variances = np.where(known, groups.var(1, ddof=1), 0.0)
    return np.asarray(np.sqrt(variances.sum(0) / np.maximum(known.sum(0), 1)), np.float64)


def group_centered(values: Floats, generations: int) -> Floats:
    """Subtracts the mean of their group from values [B * generations, rules]; 0 where not applicable."""
    groups = values.reshape(-1, generations, values.shape[1])
    return np.asarray(np.nan_to_num((groups - groups.mean(1, keepdims=True)).reshape(values.shape)), np.float64)


def shares(terms: Floats) -> Floats:
    """Computes the share of each of the `terms` [B, rules] in the variance of their sum: cov(term, sum) / var(sum).

    The means of the terms are 0. Returns [rules], which sum to 1; negative for a term that the others outweigh. NaN
    where the sum does not vary.
    """
    whole = terms.sum(1)
    variance = float(whole @ whole)
    return np.asarray(whole @ terms / variance if variance > 1e-12 else np.full(terms.shape[1], np.nan), np.float64)


def lively(values: Floats, generations: int) -> Floats:
    """Computes the share of the groups a rule applies to in which its values differ, [rules]; 0 without such groups."""
    groups = values.reshape(-1, generations, values.shape[1])
    known = ~np.isnan(groups[:, 0])
    differs = np.where(known, np.ptp(groups, 1), 0.0) > 1e-9
    return np.asarray(differs.sum(0) / np.maximum(known.sum(0), 1), np.float64)
