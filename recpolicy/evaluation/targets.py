"""Judges slates by a policy's targets: each is met, not met, or undecided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering
from typing import Literal, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation import metrics
from recpolicy.language.policy import Target

Status: TypeAlias = Literal["met", "not met", "undecided"]

PARTS = 20
"""Groups of users; the interval of a measure over all users leaves out one group at a time."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one target. A `bound` written as a share of the baseline's value is already multiplied by that.

    `low` and `high` are the 95 % interval of `value`; for a relative bound, that of the paired difference to it, plus
    the bound. The verdict is `met` where all of the interval is within the bound, `not met` where none of it is.
    """

    name: str
    op: Literal[">=", "<="]
    bound: float
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Status:
        """The verdict; `undecided` for NaN, where the target is about no user."""
        low, high, bound = self.low, self.high, self.bound
        if self.op == "<=":
            low, high, bound = -high, -low, -bound
        return "met" if low >= bound else "not met" if high < bound else "undecided"


@total_ordering
@dataclass(frozen=True)
class Score:
    """The quality of slates in training: a smaller violation of targets is better, then a larger value."""

    violation: float
    """Sum over targets of the distance to the aim, as a share of the bound; 0 where all aims are reached."""
    value: float

    def __lt__(self, other: Score) -> bool:
        return (-self.violation, self.value) < (-other.violation, other.value)


@dataclass(frozen=True)
class TargetProgress:
    """One target during training."""

    name: str
    value: float
    """That of greedy slates of validation users, by the present model."""
    op: Literal[">=", "<="]
    bound: float
    aim: float
    multiplier: float
    shadow_price: float | None
    """Relevance that one more unit of the measure is worth now; None for a policy without relevance."""


def outcomes(
    compiled: CompiledPolicy, rows: Rows, slates: Slates, baseline: Slates, *, seed: int, draws: int = 1000
) -> tuple[Outcome, ...]:
    """Computes one outcome per target, in the policy's order. `of baseline` refers to the slates `baseline`."""
    values, of_baseline = (compiled.target_values(rows, s) for s in (slates, baseline))
    measured, before = (compiled.population(rows, s) for s in (slates, baseline))
    results = []
    for target in (compiled_target.target for compiled_target in compiled.targets):
        name = target.name
        if name in measured:
            bound = target.bound * (before[name] if target.of_baseline else 1.0)
            error = _jackknife(compiled, name, rows, slates, baseline if target.of_baseline else None, target.bound)
            value = measured[name]
            results.append(Outcome(name, target.op, bound, value, value - 1.96 * error, value + 1.96 * error))
        else:
            results.append(_mean(target, values[name], of_baseline[name], seed, draws))
    return tuple(results)


def _mean(target: Target, values: Floats, baseline: Floats, seed: int, draws: int) -> Outcome:
    if not target.of_baseline:
        plain = metrics.interval(values, seed=seed, draws=draws)
        return Outcome(target.name, target.op, target.bound, plain.mean, plain.low, plain.high)
    bound = target.bound * metrics.mean(baseline)
    difference = metrics.paired(values, target.bound * baseline, seed=seed, draws=draws)
    low, high = bound + difference.low, bound + difference.high
    return Outcome(target.name, target.op, bound, metrics.mean(values), low, high)


def _jackknife(
    compiled: CompiledPolicy, name: str, rows: Rows, slates: Slates, baseline: Slates | None, share: float
) -> float:
    """Standard error of a population measure (minus its share of the baseline's): the grouped jackknife.

    It leaves out a group of users at a time (Efron and Tibshirani 1993, ch. 11). Users drawn with replacement would be
    fewer, and show fewer values: coverage would seem smaller than it is.
    """
    count = len(rows)
    groups = min(PARTS, count)
    if groups < 2:
        return 0.0
    group_of = np.random.default_rng(0).permutation(np.arange(count) % groups)
    values = []
    for group in range(groups):
        others = np.flatnonzero(group_of != group)
        value = compiled.population(rows.take(others), Slates(slates.items[others]))[name]
        if baseline is not None:
            value -= share * compiled.population(rows.take(others), Slates(baseline.items[others]))[name]
        values.append(value)
    return float(np.sqrt((groups - 1) / groups * np.square(np.array(values) - np.mean(values)).sum()))
