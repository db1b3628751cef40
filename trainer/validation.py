"""A model and validation users in, how its greedy slates stand with the policy out: reward, and targets."""

from __future__ import annotations

from dataclasses import dataclass

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
    """The users that choose checkpoints and feed the multipliers."""

    compiled: CompiledPolicy
    examiner: Examiner
    baseline: Slates
    """What `of baseline` refers to: the SFT model's greedy slates."""
    judged_on: int
    """Users of the test part, where targets are judged in the end."""
    seed: int

    def of(self, recommender: Recommender) -> Standing:
        """The standing of a model as it is."""
        return self.standing(self.examiner.greedy(recommender))

    def standing(self, slates: Slates) -> Standing:
        """The standing of any slates of these users."""
        rows = self.examiner.rows
        found = outcomes(self.compiled, rows, slates, self.baseline, seed=self.seed, draws=DRAWS)
        return Standing(slates, float(self.compiled.total(rows, slates).mean()), aims(found, len(rows), self.judged_on))
