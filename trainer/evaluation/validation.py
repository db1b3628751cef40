"""Measures a model's greedy slates on the validation users: reward, and how far each target is from its aim."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.rows import Slates
from recpolicy.evaluation.targets import Outcome, Score, outcomes
from recpolicy.trainer.evaluation.aims import Aim, aims, violation
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models.recommenders import Recommender

DRAWS = 200
"""Bootstrap draws of an interval that only sets an aim."""


@dataclass(frozen=True)
class ValidationResult:
    """Reward and aims of slates of the validation users."""

    slates: Slates
    reward: float
    """Mean of the whole reward R."""
    aims: tuple[Aim, ...]

    @property
    def score(self) -> Score:
        """What models are compared by: the violation of their targets, then R."""
        return Score(violation(self.aims), self.reward)


@dataclass(frozen=True)
class Validation:
    """The users that choose checkpoints and set the multipliers.

    Rows with expected labels are measured by them: what a few hundred users happened to take moves a mean by more than
    a stage of training does, and the best of twenty checkpoints would be the luckiest. What the users really took gives
    only the width of the interval, as the final verdict uses real labels.

    A target that needs no label is measured on the users as they are at the end of the data, as in the final verdict:
    what changes with time, such as the age of items, then has the value it will have there. No held-out event is read.
    """

    compiled: CompiledPolicy
    evaluator: Evaluator
    baseline: Slates
    """The slates that `of baseline` refers to: greedy ones of the model before the policy."""
    judged_on: int
    """Number of test users, on whom targets are judged in the end."""
    seed: int
    final: Evaluator | None = None
    """The users as they are at the end; None: targets without labels are measured on the validation users, too."""
    final_baseline: Slates | None = None

    def of(self, recommender: Recommender) -> ValidationResult:
        """Measures a model's greedy slates."""
        slates = self.evaluator.greedy(recommender)
        final = self.final.greedy(recommender) if self.final is not None and self._without_labels else None
        return self.evaluate_slates(slates, final)

    def evaluate_slates(self, slates: Slates, final: Slates | None = None) -> ValidationResult:
        """Measures any slates of the validation users and, where given, of the users as they are at the end."""
        rows = self.evaluator.rows
        measured = outcomes(self.compiled, rows, slates, self.baseline, seed=self.seed, draws=DRAWS)
        if rows.label_probabilities is not None and len(self._without_labels) < len(measured):
            taken = self.with_real_labels.evaluator.rows
            real = outcomes(self.compiled, taken, slates, self.baseline, seed=self.seed, draws=DRAWS)
            measured = tuple(_as_wide(own, other) for own, other in zip(measured, real, strict=True))
        targets = aims(measured, len(rows), self.judged_on, real=rows.label_probabilities is None)
        if final is not None:
            assert self.final is not None and self.final_baseline is not None
            later = outcomes(self.compiled, self.final.rows, final, self.final_baseline, seed=self.seed, draws=DRAWS)
            known = {aim.name: aim for aim in aims(later, len(final.items), len(final.items))}
            targets = tuple(known.get(a.name, a) if a.name in self._without_labels else a for a in targets)
        return ValidationResult(slates, float(self.compiled.total(rows, slates).mean()), targets)

    @property
    def with_real_labels(self) -> Validation:
        """The same validation with labels that are what the users really took."""
        rows = replace(self.evaluator.rows, label_probabilities=None)
        return replace(self, evaluator=replace(self.evaluator, rows=rows))

    @cached_property
    def _without_labels(self) -> frozenset[str]:
        """Names of the targets that need no label."""
        return frozenset(t.target.name for t in self.compiled.targets if not t.needs_labels)


def _as_wide(expected: Outcome, real: Outcome) -> Outcome:
    """The expected value with the width of the interval of real labels, in units of the expected bound."""
    scale = expected.bound / real.bound if real.bound else 1.0
    low, high = ((edge - real.value) * scale + expected.value for edge in (real.low, real.high))
    return replace(expected, low=low, high=high)
