"""A model and validation users in, how its greedy slates stand with the policy out: reward, and targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Slates
from recpolicy.demands import Score, outcomes
from recpolicy.trainer.evaluate import Examiner
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.multipliers import Aim, aims, lacking

DRAWS = 200
"""Bootstrap draws of an interval that is only aimed by."""


@dataclass(frozen=True)
class Standing:
    """How slates of the validation users stand."""

    slates: Slates
    reward: float
    """Mean of the whole reward R."""
    aims: tuple[Aim, ...]

    @property
    def score(self) -> Score:
        """Models are compared by what their targets lack, and where they lack nothing by R."""
        return Score(-lacking(self.aims), self.reward)


@dataclass(frozen=True)
class Validation:
    """The users that choose checkpoints and feed the multipliers.

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

    def of(self, recommender: Recommender) -> Standing:
        """The standing of a model as it is."""
        slates = self.examiner.greedy(recommender)
        final = self.final.greedy(recommender) if self.final is not None and self._in_the_end else None
        return self.standing(slates, final)

    def standing(self, slates: Slates, final: Slates | None = None) -> Standing:
        """The standing of any slates of these users, and of the users as they stand in the end."""
        rows = self.examiner.rows
        found = outcomes(self.compiled, rows, slates, self.baseline, seed=self.seed, draws=DRAWS)
        reached = aims(found, len(rows), self.judged_on)
        if final is not None:
            assert self.final is not None and self.final_baseline is not None
            later = outcomes(self.compiled, self.final.rows, final, self.final_baseline, seed=self.seed, draws=DRAWS)
            known = {aim.name: aim for aim in aims(later, len(final.items), len(final.items), same_users=True)}
            reached = tuple(known.get(a.name, a) if a.name in self._in_the_end else a for a in reached)
        return Standing(slates, float(self.compiled.total(rows, slates).mean()), reached)

    @cached_property
    def _in_the_end(self) -> frozenset[str]:
        """Names of the targets that need no label."""
        return frozenset(t.target.name for t in self.compiled.targets if not t.needs_labels)
