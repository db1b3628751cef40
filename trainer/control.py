"""A model's candidates for validation users in, the weights with which the policy re-ranks them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Rows, Slates
from recpolicy.rerank import Choices, choices, rerank
from recpolicy.steering import solve
from recpolicy.table import Codes, Floats
from recpolicy.trainer.multipliers import Aim
from recpolicy.trainer.validation import Standing, Validation

MUS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0)
"""Weights of the policy against the model's scores that are tried."""


@dataclass(frozen=True)
class Reranking:
    """How much the policy counts against a model's scores: `mu` for its rules, a multiplier for each target."""

    compiled: CompiledPolicy
    mu: float
    multipliers: Mapping[str, float] = field(default_factory=dict)
    shown: Slates | None = None
    """What everybody is shown, for targets on all users together."""

    def slates(self, items: Codes, scores: Floats, rows: Rows) -> Slates:
        """Candidates and their scores, both [B, C], re-ranked for all these users, one after another."""
        return rerank(items, scores, rows, self.compiled, self.mu, self.multipliers)

    def choices(self, items: Codes, scores: Floats, rows: Rows) -> Choices:
        """Candidates re-ranked for some users among the many of `shown`, with what each place was chosen by."""
        return choices(items, scores, rows, self.compiled, self.mu, self.multipliers, self.shown)


def swept(compiled: CompiledPolicy) -> list[Reranking]:
    """A re-ranking for every mu, each target that needs no label counting as much as all rules together."""
    names = [target.target.name for target in compiled.targets]
    return [Reranking(compiled, mu, dict.fromkeys(names, mu)) for mu in MUS]


def best_swept(items: Codes, scores: Floats, validation: Validation) -> tuple[Reranking, list[Standing]]:
    """Of the sweep's re-rankings the one that stands best on the validation users; and how each stands."""
    tried = swept(validation.compiled)
    rows = validation.examiner.rows
    standings = [validation.standing(reranking.slates(items, scores, rows)) for reranking in tried]
    best = max(range(len(tried)), key=lambda i: standings[i].score)
    return tried[best], standings


def solved(items: Codes, scores: Floats, validation: Validation) -> Reranking:
    """The re-ranking with the best whole reward on the validation users whose slates reach the targets' aims there.

    mu is chosen without the targets; their multipliers are then the smallest that do, or as near as they come.
    """
    rows = validation.examiner.rows
    tried = [Reranking(validation.compiled, mu) for mu in MUS]
    standings = [validation.standing(reranking.slates(items, scores, rows)) for reranking in tried]
    best = max(range(len(tried)), key=lambda i: standings[i].reward)
    return aimed(tried[best], items, scores, validation, standings[best].aims)


def aimed(reranking: Reranking, items: Codes, scores: Floats, validation: Validation, aims: Sequence[Aim]) -> Reranking:
    """The same with the smallest multipliers whose slates for the validation users reach these aims."""
    rows = validation.examiner.rows
    wanted = {aim.name: (aim.op, aim.aim) for aim in aims}
    multipliers = solve(items, scores, rows, reranking.compiled, reranking.mu, wanted) if wanted else {}
    found = Reranking(reranking.compiled, reranking.mu, multipliers)
    return replace(found, shown=found.slates(items, scores, rows))
