"""Reranks a user model's candidates for a policy, without training: the alternative to a trained model."""

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
"""The grid of strengths: how much the policy counts against expected relevance."""
STRONGEST = 100.0
"""The grid grows until it holds a strength this large."""


@dataclass
class RerankControl:
    """Slates of the largest expected reward for some rows, computed once for each strength of the policy."""

    compiled: CompiledPolicy
    rows: Rows
    """Rows with label probabilities."""
    legal: Bools
    slates_at: dict[float, Slates] = field(default_factory=dict)
    """The slates by strength, as far as they are computed."""

    def slates(self, strength: float) -> Slates:
        """Returns the slates of one strength, [B, K]; it weighs the rules without labels and each target."""
        if strength not in self.slates_at:
            self.slates_at[strength] = expected.slates(self.rows, self.legal, self.objective(strength))
        return self.slates_at[strength]

    def objective(self, strength: float) -> Objective:
        """Returns what the slates maximize; a target counts as much as all rules without labels together."""
        return Objective(self.compiled, strength, target_multipliers(self.compiled, strength))


def target_multipliers(compiled: CompiledPolicy, strength: float) -> Mapping[str, float]:
    """Returns each target's multiplier: `strength`, or 0 if it needs labels, since expected relevance has weight 1."""
    return {t.target.name: 0.0 if t.needs_labels else strength for t in compiled.targets}


def tune(
    control: RerankControl, final: RerankControl, validation: Validation
) -> tuple[float, dict[float, ValidationResult]]:
    """Finds the strength whose slates for the validation users score best; returns it and every strength's result.

    Slates are scored by what these users really took: expected labels would favour the user model that they come from.
    Targets without labels are measured on the slates of `final`, for the users as they are at the end of the data. The
    grid grows by doubling as long as its largest strength is the best.
    """

    def evaluate(strength: float) -> ValidationResult:
        return validation.with_real_labels.evaluate_slates(control.slates(strength), final.slates(strength))

    results = {strength: evaluate(strength) for strength in STRENGTHS}

    def best() -> float:
        return max(results, key=lambda strength: results[strength].score)

    while best() == max(results) < STRONGEST:
        stronger = 2 * max(results)
        results[stronger] = evaluate(stronger)
    return best(), dict(sorted(results.items()))
