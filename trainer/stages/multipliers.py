"""How far greedy slates of validation users are from each target in, the targets' multipliers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recpolicy.trainer.evaluation.aims import Aim

PROPORTIONAL, INTEGRAL = 1.0, 1.0
"""Gains: what a target that lacks one deviation adds to its multiplier, now and for good."""

FARTHEST, AT_ONCE = 0.5, 0.15
"""Deviations that a target is taken to lack at most, now and for good: from far away a multiplier would rise to where
it drowns all else, and the model would be beyond the aim, its relevance lost, before it is measured again."""

CAP = 20.0
"""Largest multiplier, in sums of the policy's weights: by then 95 % of the advantage is the target's."""


@dataclass
class Controller:
    """One multiplier a target, moved by a proportional-integral controller (Stooke et al., ICML 2020, section 5).

    The error is what the target lacks, in deviations of its value within a group, so that one pair of gains fits
    measures of any spread. The integral keeps the multiplier up where the target just holds; the proportional part
    damps it on the way there. Multipliers are in the units of the policy's weights, whose sum is `scale`.
    """

    group_std: Mapping[str, float]
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
        return float(np.clip(aim.gap / self.group_std[aim.name], -most, most))
