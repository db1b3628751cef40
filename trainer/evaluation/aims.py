"""Sets the aim of each target on validation users, such that test users will meet its bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.targets import Outcome

MARGIN = 1.25
"""Half-widths of the final interval between a bound and its aim: with one, the verdict would be the toss of a coin."""

SLACK = 0.015
"""Share of its bound by which a guardrail may fall short of it."""


@dataclass(frozen=True)
class Aim:
    """One target's value and the value it should reach, both on validation users.

    The aim lies MARGIN h beyond the bound, where h is the half-width of the 95 % interval that test users will have.
    The verdict looks at the unfavourable end of that interval.
    """

    name: str
    op: Literal[">=", "<="]
    value: float
    bound: float
    aim: float
    slack: float = 0.0
    """How far the value may fall short of the aim without a violation."""

    @property
    def gap(self) -> float:
        """Distance from the value to the aim, in the direction of the demand; negative where the value is beyond it."""
        return self.aim - self.value if self.op == ">=" else self.value - self.aim


def aims(outcomes: Sequence[Outcome], users: int, judged_on: int, *, real: bool = False) -> tuple[Aim, ...]:
    """Computes the aims of targets measured on `users` users and judged, in the end, on `judged_on` users.

    aim = bound +- MARGIN h sqrt(users / judged_on), within [0, 1], where h is the half-width of the measured 95 %
    interval on its unfavourable side. A target that applies to nobody (NaN) has no aim. A guardrail aims at its bound
    itself; it may fall short by a share SLACK of it or, with `real` labels, which vary more, by h.
    """
    out = []
    for outcome in outcomes:
        if np.isnan(outcome.value):
            continue
        sign = 1.0 if outcome.op == ">=" else -1.0
        half = outcome.value - outcome.low if sign > 0 else outcome.high - outcome.value
        guardrail = is_guardrail(outcome.name)
        margin = 0.0 if guardrail else MARGIN * half * np.sqrt(users / max(judged_on, 1))
        aim = float(np.clip(outcome.bound + sign * margin, 0.0, 1.0))
        slack = (half if real else SLACK * abs(outcome.bound)) if guardrail else 0.0
        out.append(Aim(outcome.name, outcome.op, outcome.value, outcome.bound, aim, slack))
    return tuple(out)


def violation(given: Sequence[Aim]) -> float:
    """Computes sum over targets of max(0, gap - slack) / max(|bound|, 0.01); 0 where all aims are reached."""
    return float(sum(max(0.0, aim.gap - aim.slack) / max(abs(aim.bound), 0.01) for aim in given))
