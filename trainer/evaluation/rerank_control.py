"""Re-ranks a user model's candidates for a policy, without training: what a team would ship instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.search import expected
from recpolicy.search.expected import Objective
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult

STRENGTHS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Strengths of the policy against expected relevance that are tried."""
STRONGEST = 100.0
"""Strength at which the grid stops to grow."""


@dataclass
class Control:
    """Slates of the largest expected reward for some rows, at every strength of the policy asked for."""

    compiled: CompiledPolicy
    rows: Rows
    """With chances."""
    legal: Bools
    found: dict[float, Slates] = field(default_factory=dict)

    def slates(self, strength: float) -> Slates:
        """Those of one strength: of the rules without labels, and of each target."""
        if strength not in self.found:
            self.found[strength] = expected.slates(self.rows, self.legal, self.objective(strength))
        return self.found[strength]

    def objective(self, strength: float) -> Objective:
        """What the slates of a strength are chosen by; a target pulls as much as the rules without labels together."""
        return Objective(self.compiled, strength, pulls(self.compiled, strength))


def pulls(compiled: CompiledPolicy, strength: float) -> Mapping[str, float]:
    """The multiplier of each target: those that need labels have none, since expected relevance counts as it is."""
    return {t.target.name: 0.0 if t.needs_labels else strength for t in compiled.targets}


def tune(control: Control, final: Control, validation: Validation) -> tuple[float, dict[float, ValidationResult]]:
    """The strength whose slates for the validation users stand best, and how each strength stands.

    By what these users really took: expected labels would favour the user model that they are of, whatever it knows.
    Targets without labels are measured on the slates of `final`, for the users as they stand in the end. The grid grows
    beyond its strongest as long as that is the best.
    """

    def standing(strength: float) -> ValidationResult:
        return validation.real.standing(control.slates(strength), final.slates(strength))

    standings = {strength: standing(strength) for strength in STRENGTHS}

    def best() -> float:
        return max(standings, key=lambda strength: standings[strength].score)

    while best() == max(standings) < STRONGEST:
        stronger = 2 * max(standings)
        standings[stronger] = standing(stronger)
    return best(), dict(sorted(standings.items()))
