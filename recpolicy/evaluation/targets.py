"""A policy's targets and slates in, whether each demand is met out: met, not met, or undecided."""

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
"""Groups of users that the interval of a measure over all of them leaves out one at a time."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target. `bound` is the number it came to, where it was written as a share of the baseline's.

    `low` and `high` are the 95 % interval of `value`; where the bound is relative, that of the paired difference to
    it, added to the bound. The verdict is `met` where all of the interval keeps the bound, `not met` where none does.
    """

    name: str
    op: Literal[">=", "<="]
    bound: float
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Status:
        """NaN (nobody the target is about) is undecided."""
        worst, best = (self.low, self.high) if self.op == ">=" else (-self.high, -self.low)
        bound = self.bound if self.op == ">=" else -self.bound
        return "met" if worst >= bound else "not met" if best < bound else "undecided"


@total_ordering
@dataclass(frozen=True)
class Score:
    """The quality of slates in training. The smaller violation of targets is better; among equals the larger value."""

    violation: float
    """Sum over targets of what is missing to the aim, as a share of its bound; 0 where all are reached."""
    value: float

    def __lt__(self, other: Score) -> bool:
        """Whether the other one is better."""
        return (-self.violation, self.value) < (-other.violation, other.value)


@dataclass(frozen=True)
class TargetProgress:
    """One target while it is trained for."""

    name: str
    value: float
    """Of greedy slates of validation users, by the model as it stands."""
    op: Literal[">=", "<="]
    bound: float
    aim: float
    multiplier: float
    shadow_price: float | None
    """Relevance that one more of the measure is worth now; None for a policy without relevance."""


def outcomes(
    compiled: CompiledPolicy, rows: Rows, slates: Slates, baseline: Slates, *, seed: int, draws: int = 1000
) -> tuple[Outcome, ...]:
    """One outcome a target, in the policy's order. `baseline` are the slates that `of baseline` refers to."""
    values, of_baseline = (compiled.target_values(rows, s) for s in (slates, baseline))
    measured, was = (compiled.population(rows, s) for s in (slates, baseline))
    found = []
    for target in (compiled_target.target for compiled_target in compiled.targets):
        name = target.name
        if name in measured:
            bound = target.bound * (was[name] if target.of_baseline else 1.0)
            error = _jackknife(compiled, name, rows, slates, baseline if target.of_baseline else None, target.bound)
            value = measured[name]
            found.append(Outcome(name, target.op, bound, value, value - 1.96 * error, value + 1.96 * error))
        else:
            found.append(_mean(target, values[name], of_baseline[name], seed, draws))
    return tuple(found)


def _mean(target: Target, values: Floats, baseline: Floats, seed: int, draws: int) -> Outcome:
    if not target.of_baseline:
        plain = metrics.interval(values, seed=seed, draws=draws)
        return Outcome(target.name, target.op, target.bound, plain.mean, plain.low, plain.high)
    bound = target.bound * metrics.mean(baseline)
    apart = metrics.paired(values, target.bound * baseline, seed=seed, draws=draws)
    return Outcome(target.name, target.op, bound, metrics.mean(values), bound + apart.low, bound + apart.high)


def _jackknife(
    compiled: CompiledPolicy, name: str, rows: Rows, slates: Slates, baseline: Slates | None, share: float
) -> float:
    """Standard error of a population measure (less its share of the baseline's), a group of users left out at a time.

    The grouped jackknife (Efron and Tibshirani 1993, ch. 11). Drawing users with replacement would show fewer of them,
    and with them fewer values: coverage would seem smaller than it is.
    """
    count = len(rows)
    groups = min(PARTS, count)
    if groups < 2:
        return 0.0
    part = np.random.default_rng(0).permutation(np.arange(count) % groups)
    left = []
    for group in range(groups):
        kept = np.flatnonzero(part != group)
        value = compiled.population(rows.take(kept), Slates(slates.items[kept]))[name]
        if baseline is not None:
            value -= share * compiled.population(rows.take(kept), Slates(baseline.items[kept]))[name]
        left.append(value)
    return float(np.sqrt((groups - 1) / groups * np.square(np.array(left) - np.mean(left)).sum()))
