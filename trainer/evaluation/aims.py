"""Sets the aim of each target on validation users, such that test users will meet its bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.targets import Outcome

MARGIN = 1.25
"""Half-widths of the final interval that an aim lies beyond its bound: with one the verdict would be a coin's toss."""

SLACK = 0.015
"""Share of its bound that a guardrail may stay behind it."""


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
    def gap(self) -> float:
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


def violation(found: Sequence[Aim]) -> float:
    """What all targets together lack of their aims, each as a share of its bound; 0 where all are reached."""
    return float(sum(max(0.0, aim.gap - aim.slack) / max(abs(aim.bound), 0.01) for aim in found))
