"""Slates and what users took next in, evaluation metrics per user and over the population out.

A metric is the reward of the same name: both are the compiled rule, so training and evaluation cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.catalog import NOTHING
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.relevance import Labelled
from recpolicy.dataset.columns import Codes, Floats, Ints
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language.policy import Column, Measure, Novelty, Policy, Relevance, Reward, Spread, Weight
from recpolicy.schema import ColumnSpec, Role, Schema
from recpolicy.span import NOWHERE
from recpolicy.types import Type

Accuracy: TypeAlias = Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]

ACCURACY: tuple[Accuracy, ...] = ("ndcg", "hit", "recall", "precision", "mrr", "lcs")


def accuracy(metric: Accuracy, rows: Rows, slates: Slates) -> Floats:
    """One accuracy metric at K = the slates' length, [B]; NaN for rows without next items."""
    values = Labelled(metric, slates.items.shape[1]).marginals(Pool(NOTHING, rows, slates.items)).sum(1)
    return np.where(rows.next_items.lengths > 0, values, np.nan)


def measures(dataset: Dataset, k: int, topics: ColumnSpec | None = None) -> CompiledPolicy:
    """Every per-user metric at K as one compiled policy: `measures(view, k).values(rows, slates)` is metric -> [B].

    `dataset` is the training view. The accuracy metrics always; `novelty` where an item column has the role
    popularity; `ild` (mean distance within the slate) and `calibration` of `topics`, by default the first list column.
    All lie in [0, 1].
    """
    column = topics or _topics(dataset.schema)
    popularity = dataset.schema.with_role(Role.POPULARITY)
    found: dict[str, Measure] = {metric: Relevance(NOWHERE, metric) for metric in ACCURACY}
    if column is not None:
        found["ild"] = Spread(NOWHERE, "distance", _column(column))
        found["calibration"] = Spread(NOWHERE, "calibration", _column(column))
    if popularity is not None:
        found["novelty"] = Novelty(NOWHERE, _column(popularity))
    weight = Weight(NOWHERE, 1.0)
    rules = tuple(Reward(NOWHERE, name, weight, measure) for name, measure in found.items())
    return compile(Policy("metrics", 1, None, k, rules, ()), dataset)


def _topics(schema: Schema) -> ColumnSpec | None:
    return next((c for c in schema.item.values() if c.type is Type.LIST), None)


def _column(spec: ColumnSpec) -> Column:
    return Column(NOWHERE, "item", spec.name, spec.type)


# ---- over the population --------------------------------------------------------------------------------------------


def coverage(slates: Slates, items: int) -> float:
    """Share of the catalog's items that some slate shows, in [0, 1]."""
    return float(np.count_nonzero(_exposure(slates, items)) / max(items, 1))


def gini(slates: Slates, items: int) -> float:
    """Gini coefficient of how often each item of the catalog is shown: 0 all alike, towards 1 all on one item."""
    shown = np.sort(_exposure(slates, items))
    total = shown.sum()
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, items + 1) - items - 1) * shown).sum() / (items * total))


def hole_rate(slates: Slates) -> float:
    """Share of places that hold no item, in [0, 1]."""
    return float((slates.items < 0).mean()) if slates.items.size else 0.0


def invalid_rate(raw: Codes, items: int) -> float:
    """Share of the places a model filled whose item the catalog does not hold; `raw` [B, K] as read, -1 not filled."""
    filled = raw != -1
    return float(((raw < -1) | (raw >= items)).sum() / max(filled.sum(), 1))


def duplicate_rate(raw: Codes) -> float:
    """Share of the places a model filled whose item stands earlier in the same slate; `raw` [B, K], -1 not filled."""
    filled = np.sort(raw, 1)
    repeats = (filled[:, 1:] == filled[:, :-1]) & (filled[:, 1:] != -1)
    return float(repeats.sum() / max((raw != -1).sum(), 1))


def _exposure(slates: Slates, items: int) -> Ints:
    return np.bincount(slates.items[slates.items >= 0], minlength=items)


# ---- over users -----------------------------------------------------------------------------------------------------


def mean(values: Floats) -> float:
    """The mean of the values that are known, NaN (not applicable) left out; NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


# ---- intervals ------------------------------------------------------------------------------------------------------


AT_ONCE = 10_000
"""Values drawn at once for an interval; one after another the same are drawn."""


@dataclass(frozen=True)
class Interval:
    """A mean over users and its 95 % bootstrap interval (percentile method; Efron and Tibshirani 1993, ch. 13)."""

    mean: float
    low: float
    high: float


def interval(values: Floats, *, seed: int, draws: int = 1000) -> Interval:
    """The interval of a mean over users, [B]; NaN (not applicable) is left out. All NaN where nobody is left."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"), float("nan"))
    rng, users = np.random.default_rng(seed), len(known)
    step = max(1, AT_ONCE // users)
    drawn = (rng.integers(0, users, (min(step, draws - first), users)) for first in range(0, draws, step))
    low, high = np.quantile(np.concatenate([known[at].mean(1) for at in drawn]), (0.025, 0.975))
    return Interval(float(known.mean()), float(low), float(high))


def paired(a: Floats, b: Floats, *, seed: int, draws: int = 1000) -> Interval:
    """The interval of the mean difference a - b over the users who have both, [B] each: the same users are drawn."""
    return interval(a - b, seed=seed, draws=draws)
