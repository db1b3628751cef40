"""Computes evaluation metrics of slates, per user and over all users, and intervals of their means.

A metric is the reward of the same name: both are the compiled rule, so training and evaluation cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.catalog import NOTHING
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language.policy import Column, Measure, Novelty, Policy, Relevance, Reward, Spread, Weight
from recpolicy.schema import ColumnSpec, Role
from recpolicy.span import NOWHERE
from recpolicy.types import Type

Accuracy: TypeAlias = Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]

ACCURACY: tuple[Accuracy, ...] = ("ndcg", "hit", "recall", "precision", "mrr", "lcs")


def accuracy(metric: Accuracy, rows: Rows, slates: Slates) -> Floats:
    """Computes one accuracy metric at K, the length of the slates, [B]; NaN for rows without next items."""
    values = (
        RelevanceMeasure(metric, slates.items.shape[1]).marginals(CandidateBatch(NOTHING, rows, slates.items)).sum(1)
    )
    return np.where(rows.next_items.lengths > 0, values, np.nan)


def measures(dataset: Dataset, k: int, topics: ColumnSpec | None = None) -> CompiledPolicy:
    """Compiles every per-user metric at K as one policy: `measures(view, k).values(rows, slates)` is metric -> [B].

    `dataset` is the training view. The accuracy metrics are always in it; `novelty` where an item column has the role
    popularity; `ild` (mean distance within the slate) and `calibration` of `topics`, by default the first list column.
    All are in [0, 1].
    """
    columns = dataset.schema.item.values()
    topics = topics or next((column for column in columns if column.type is Type.LIST), None)
    popularity = dataset.schema.with_role(Role.POPULARITY)
    by_name: dict[str, Measure] = {metric: Relevance(NOWHERE, metric) for metric in ACCURACY}
    if topics is not None:
        by_name["ild"] = Spread(NOWHERE, "distance", _column(topics))
        by_name["calibration"] = Spread(NOWHERE, "calibration", _column(topics))
    if popularity is not None:
        by_name["novelty"] = Novelty(NOWHERE, _column(popularity))
    weight = Weight(NOWHERE, 1.0)
    rules = tuple(Reward(NOWHERE, name, weight, measure) for name, measure in by_name.items())
    return compile(Policy("metrics", 1, None, k, rules, ()), dataset)


def _column(spec: ColumnSpec) -> Column:
    return Column(NOWHERE, "item", spec.name, spec.type)


# ---- over the population --------------------------------------------------------------------------------------------


def coverage(slates: Slates, items: int) -> float:
    """Computes the share of the catalog's items that are in some slate, in [0, 1]."""
    return float(np.count_nonzero(_exposure(slates, items)) / max(items, 1))


def gini(slates: Slates, items: int) -> float:
    """Computes the Gini coefficient of how often each item is shown: 0 where all are equal, near 1 for one item."""
    counts = np.sort(_exposure(slates, items))
    total = counts.sum()
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, items + 1) - items - 1) * counts).sum() / (items * total))


def _exposure(slates: Slates, items: int) -> Ints:
    return np.bincount(slates.items[slates.items >= 0], minlength=items)


# ---- over users -----------------------------------------------------------------------------------------------------


def mean(values: Floats) -> float:
    """Computes the mean of the values without NaN (not applicable); NaN where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


AT_ONCE = 10_000
"""Values drawn at once for an interval. The draws do not depend on it."""


@dataclass(frozen=True)
class Interval:
    """A mean over users and its 95 % bootstrap interval (percentile method; Efron and Tibshirani 1993, ch. 13)."""

    mean: float
    low: float
    high: float


def interval(values: Floats, *, seed: int, draws: int = 1000) -> Interval:
    """Computes the interval of the mean of values [B], one per user, without NaN (not applicable); NaN if all are."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng, users = np.random.default_rng(seed), len(known)
    step = max(1, AT_ONCE // users)
    drawn = (rng.integers(0, users, (min(step, draws - first), users)) for first in range(0, draws, step))
    low, high = np.quantile(np.concatenate([known[at].mean(1) for at in drawn]), (0.025, 0.975))
    return Interval(float(known.mean()), float(low), float(high))


def paired(a: Floats, b: Floats, *, seed: int, draws: int = 1000) -> Interval:
    """Computes the interval of the mean difference a - b over the users who have both, [B] each: users are paired."""
    return interval(a - b, seed=seed, draws=draws)
