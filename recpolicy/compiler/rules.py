"""Combines a compiled measure and its weight into a rule: its value, and the rows that have one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from recpolicy.compiler.calibration import CalibrationMeasure
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.catalog import Catalog, Term
from recpolicy.compiler.measures import CompiledMeasure, FailOnMissing
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.dataset.columns import Bools, Floats
from recpolicy.language.policy import Level, Target, Weight, highest, level


@dataclass(frozen=True, eq=False)
class CompiledWeight:
    """A weight: of the last branch that is true, else the base; for the rows for which `only` is true."""

    base: Level
    only: Term | None
    changes: tuple[tuple[Term, Level], ...]

    @property
    def highest(self) -> float:
        """The largest weight for any row at any time in training."""
        return max(map(highest, (self.base, *(changed for _, changed in self.changes))))


def weight(node: Weight, catalog: Catalog) -> CompiledWeight:
    """Compiles a weight."""
    only = None if node.only is None else catalog.term(node.only)
    return CompiledWeight(node.base, only, tuple((catalog.term(branch), level) for branch, level in node.changes))


@dataclass(frozen=True, eq=False)
class CompiledRule:
    """One rule with a value: what it measures and for whom."""

    name: str
    kind: Literal["reward", "boost", "bury", "quota"]
    weight: CompiledWeight
    measure: CompiledMeasure | CompiledQuota | RelevanceMeasure | SerendipityMeasure
    everywhere: bool = field(init=False)
    """Whether it has a value for every row."""

    @property
    def needs_labels(self) -> bool:
        """True where the value is known only against the items the user took next."""
        return isinstance(self.measure, RelevanceMeasure | SerendipityMeasure)

    @property
    def sign(self) -> float:
        """-1 for a bury, which is subtracted, else 1."""
        return -1.0 if self.kind == "bury" else 1.0

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds to its slate's value, [B, K]; blocks and segments are not looked at."""
        return self.measure.marginals(batch)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everywhere", self.weight.only is None and self._limited is None)

    @property
    def _limited(self) -> RelevanceMeasure | SerendipityMeasure | CalibrationMeasure | None:
        """The measure where it has no value for some rows."""
        measure = self.measure.measure if isinstance(self.measure, FailOnMissing) else self.measure
        return measure if isinstance(measure, RelevanceMeasure | SerendipityMeasure | CalibrationMeasure) else None

    def applicable(self, batch: CandidateBatch) -> Bools:
        """Finds the rows the rule has a value for, [B]: in its segment, with the labels or the history it needs."""
        out = np.ones(len(batch.rows), np.bool_)
        if self.weight.only is not None:
            out &= true_for(batch, self.weight.only)
        if self._limited is not None:
            out &= self._limited.applicable(batch)
        return out

    def weights(self, batch: CandidateBatch, progress: float = 1.0) -> Floats:
        """Returns each row's weight, [B]: of the last branch that is true, else the base; 0 where not applicable.

        Ramps are where they are when a share `progress` (0 to 1) of training is done.
        """
        out = np.full(len(batch.rows), level(self.weight.base, progress))
        for branch, weight in self.weight.changes:
            out = np.where(true_for(batch, branch), level(weight, progress), out)
        return np.where(self.applicable(batch), out, 0.0)


@dataclass(frozen=True, eq=False)
class CompiledTarget:
    """A bound on a mean over users, or on all their slates together."""

    target: Target
    metric: CompiledRule | PopulationMetric
    """A rule, which has a value for each user, or a measure of all users together."""

    @property
    def needs_labels(self) -> bool:
        """True where the metric is known only against the items the user took next."""
        return isinstance(self.metric, CompiledRule) and self.metric.needs_labels

    @property
    def sign(self) -> float:
        """1 where the metric is to be at least its bound, -1 where at most."""
        return 1.0 if self.target.op == ">=" else -1.0


def true_for(batch: CandidateBatch, predicate: Term) -> Bools:
    """Finds the rows for which a predicate on user and history is true, [B]."""
    return np.broadcast_to(batch.holds(predicate, sure=True), (len(batch.rows), 1))[:, 0]
