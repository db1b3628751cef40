"""How far greedy slates of validation users are from each target in, the targets' multipliers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recpolicy.demands import Outcome
from recpolicy.guardrail import is_guardrail

PROPORTIONAL, INTEGRAL = 1.0, 1.0
"""Gains: what a target that lacks one deviation adds to its multiplier, now and for good."""

FARTHEST, AT_ONCE = 0.5, 0.15
"""Deviations that a target is taken to lack at most, now and for good: from far away a multiplier would rise to where
it drowns all else, and the model would be beyond the aim, its relevance lost, before it is measured again."""

MARGIN = 1.25
"""Half-widths of the final interval that an aim lies beyond its bound: with one the verdict would be a coin's toss."""

SLACK = 0.015
"""Share of its bound that a guardrail may stay behind it."""

CAP = 20.0
"""Largest multiplier, in sums of the policy's weights: by then 95 % of the advantage is the target's."""


@dataclass(frozen=True)
class Aim:
    """Where one target's value stands and where it is to go, both on validation users.

    The aim lies MARGIN h beyond the bound, where h is the half-width of the 95 % interval that the users have who are
    judged on in the end: the verdict asks for its unfavourable end.
    """

    name: str
    op: Literal[">=", "<="]
    value: float
    bound: float
    aim: float
    slack: float = 0.0
    """How far the value may stay behind the aim without counting as short of it."""

    @property
    def lacks(self) -> float:
        """What the value has to move by, in the direction of the demand; negative where it is beyond the aim."""
        return self.aim - self.value if self.op == ">=" else self.value - self.aim


def aims(outcomes: Sequence[Outcome], users: int, judged_on: int, *, real: bool = False) -> tuple[Aim, ...]:
    """The aims of targets measured on `users` users that will be judged on `judged_on`.

    Targets that are about nobody (NaN) have none. A guardrail aims at its bound, and is kept where it is nearly that;
    by `real` labels, which scatter more, where it is not significantly less.
    """
    found = []
    for outcome in outcomes:
        if np.isnan(outcome.value):
            continue
        sign = 1.0 if outcome.op == ">=" else -1.0
        half = outcome.value - outcome.low if sign > 0 else outcome.high - outcome.value
        guardrail = is_guardrail(outcome.name)
        margin = 0.0 if guardrail else MARGIN * half * np.sqrt(users / max(judged_on, 1))
        aim = float(np.clip(outcome.bound + sign * margin, 0.0, 1.0))
        slack = (half if real else SLACK * abs(outcome.bound)) if guardrail else 0.0
        found.append(Aim(outcome.name, outcome.op, outcome.value, outcome.bound, aim, slack))
    return tuple(found)


def lacking(found: Sequence[Aim]) -> float:
    """What all targets together lack of their aims, each as a share of its bound; 0 where all are reached."""
    return float(sum(max(0.0, aim.lacks - aim.slack) / max(abs(aim.bound), 0.01) for aim in found))


@dataclass
class Controller:
    """One multiplier a target, moved by a proportional-integral controller (Stooke et al., ICML 2020, section 5).

    The error is what the target lacks, in deviations of its value within a group, so that one pair of gains fits
    measures of any spread. The integral keeps the multiplier up where the target just holds; the proportional part
    damps it on the way there. Multipliers are in the units of the policy's weights, whose sum is `scale`.
    """

    deviations: Mapping[str, float]
    scale: float
    sums: dict[str, float] = field(default_factory=dict)

    def update(self, found: Sequence[Aim]) -> dict[str, float]:
        """The multipliers after one more measurement."""
        for aim in found:
            total = self.sums.get(aim.name, 0.0) + INTEGRAL * self._error(aim, AT_ONCE)
            self.sums[aim.name] = float(np.clip(total, 0.0, CAP))  # what is cut off is not owed later
        return self.pulls(found)

    def pulls(self, found: Sequence[Aim]) -> dict[str, float]:
        """The multipliers for values that are only estimated: the proportional part moves, the integral does not."""
        raw = {aim.name: PROPORTIONAL * self._error(aim, FARTHEST) + self.sums.get(aim.name, 0.0) for aim in found}
        return {name: self.scale * float(np.clip(value, 0.0, CAP)) for name, value in raw.items()}

    def _error(self, aim: Aim, most: float) -> float:
        return float(np.clip(aim.lacks / self.deviations[aim.name], -most, most))
