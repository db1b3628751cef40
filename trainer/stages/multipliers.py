"""Computes the multipliers of the targets from how far validation slates are from each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recpolicy.trainer.evaluation.aims import Aim

PROPORTIONAL, INTEGRAL = 1.0, 1.0
"""Gains: what a target that lacks one deviation adds to its multiplier, now and for good."""

FARTHEST, AT_ONCE = 0.5, 0.15
"""Largest error, in deviations, of the proportional part and of one step of the integral. Without the limits, a
multiplier would rise from far away until it drowns all else: the model would pass the aim and lose its relevance before
the next measurement."""

CAP = 20.0
"""Largest multiplier, in sums of the policy's weights: by then 95 % of the advantage is the target's."""


@dataclass
class Controller:
    """A proportional-integral controller with one multiplier a target (Stooke et al., ICML 2020, section 5).

    For target j with error e_j = (what the value lacks of its aim) / sigma_j:

        sum_j    <- clip(sum_j + INTEGRAL * clip(e_j, -AT_ONCE, AT_ONCE), 0, CAP)
        lambda_j  = scale * clip(PROPORTIONAL * clip(e_j, -FARTHEST, FARTHEST) + sum_j, 0, CAP)

    sigma_j is the deviation of the target's value within a group, so that one pair of gains fits measures of any
    spread. The integral keeps the multiplier up where the target just holds; the proportional part damps it on the way
    there. `scale` is the sum of the policy's weights.
    """

    group_std: Mapping[str, float]
    scale: float
    sums: dict[str, float] = field(default_factory=dict)

    def update(self, aims: Sequence[Aim]) -> dict[str, float]:
        """Updates the integrals by one more measurement and returns the multipliers."""
        for aim in aims:
            total = self.sums.get(aim.name, 0.0) + INTEGRAL * self._error(aim, AT_ONCE)
            self.sums[aim.name] = float(np.clip(total, 0.0, CAP))  # what is cut off is not owed later
        return self.multipliers_for(aims)

    def multipliers_for(self, aims: Sequence[Aim]) -> dict[str, float]:
        """Returns the multipliers for values that are only estimated: the integrals stay as they are."""
        raw = {aim.name: PROPORTIONAL * self._error(aim, FARTHEST) + self.sums.get(aim.name, 0.0) for aim in aims}
        return {name: self.scale * float(np.clip(value, 0.0, CAP)) for name, value in raw.items()}

    def _error(self, aim: Aim, most: float) -> float:
        return float(np.clip(aim.gap / self.group_std[aim.name], -most, most))
