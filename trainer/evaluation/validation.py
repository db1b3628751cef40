"""A model and validation users in, how its greedy slates stand with the policy out: reward, and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.rows import Slates
from recpolicy.evaluation.targets import Outcome, Score, outcomes
from recpolicy.trainer.evaluation.aims import Aim, aims, violation
from recpolicy.trainer.evaluation.evaluator import Examiner
from recpolicy.trainer.models.recommenders import Recommender

DRAWS = 200
"""Bootstrap draws of an interval that is only aimed by."""


@dataclass(frozen=True)
class ValidationResult:
    """How slates of the validation users stand."""

    slates: Slates
    reward: float
    """Mean of the whole reward R."""
    aims: tuple[Aim, ...]

    @property
    def score(self) -> Score:
        """Models are compared by what their targets lack, and where they lack nothing by R."""
        return Score(violation(self.aims), self.reward)


@dataclass(frozen=True)
class Validation:
    """The users that choose checkpoints and feed the multipliers.

    Rows with expected labels are valued by them: what a few hundred users happened to take next moves a mean by more
    than a stage of training does, and the best of twenty checkpoints would be the luckiest. What they really took tells
    only how wide an interval of real labels is, which is what the final judgement asks for.

    A target that needs no label is measured on the users as they stand in the end, those whom the final judgement is
    on: what moves with time, such as the age of items, is then what it will be there. No held-out event is looked at.
    """

    compiled: CompiledPolicy
    examiner: Examiner
    baseline: Slates
    """What `of baseline` refers to: greedy slates of the model before the policy."""
    judged_on: int
    """Users of the test part, where targets are judged in the end."""
    seed: int
    final: Examiner | None = None
    """The users as they stand in the end; None: targets without labels are measured on the validation users, too."""
    final_baseline: Slates | None = None

    def of(self, recommender: Recommender) -> ValidationResult:
        """The standing of a model as it is."""
        slates = self.examiner.greedy(recommender)
        final = self.final.greedy(recommender) if self.final is not None and self._in_the_end else None
        return self.standing(slates, final)

    def standing(self, slates: Slates, final: Slates | None = None) -> ValidationResult:
        """The standing of any slates of these users, and of the users as they stand in the end."""
        rows = self.examiner.rows
        found = outcomes(self.compiled, rows, slates, self.baseline, seed=self.seed, draws=DRAWS)
        if rows.chances is not None and len(self._in_the_end) < len(found):
            taken = self.real.examiner.rows
            real = outcomes(self.compiled, taken, slates, self.baseline, seed=self.seed, draws=DRAWS)
            found = tuple(_as_wide(own, other) for own, other in zip(found, real, strict=True))
        reached = aims(found, len(rows), self.judged_on, real=rows.chances is None)
        if final is not None:
            assert self.final is not None and self.final_baseline is not None
            later = outcomes(self.compiled, self.final.rows, final, self.final_baseline, seed=self.seed, draws=DRAWS)
            known = {aim.name: aim for aim in aims(later, len(final.items), len(final.items))}
            reached = tuple(known.get(a.name, a) if a.name in self._in_the_end else a for a in reached)
        return ValidationResult(slates, float(self.compiled.total(rows, slates).mean()), reached)

    @property
    def real(self) -> Validation:
        """The same, with rows valued by what their users really took."""
        rows = replace(self.examiner.rows, chances=None)
        return replace(self, examiner=replace(self.examiner, rows=rows))

    @cached_property
    def _in_the_end(self) -> frozenset[str]:
        """Names of the targets that need no label."""
        return frozenset(t.target.name for t in self.compiled.targets if not t.needs_labels)


def _as_wide(expected: Outcome, real: Outcome) -> Outcome:
    """The expected value with the interval that real labels have around theirs, in the units of the expected bound."""
    scale = expected.bound / real.bound if real.bound else 1.0
    low, high = ((edge - real.value) * scale + expected.value for edge in (real.low, real.high))
    return replace(expected, low=low, high=high)
