"""Computes what each further candidate is worth to a compiled policy as slates grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.hard_quotas import HardQuotaMask
from recpolicy.compiler.measures import CompiledMeasure, MeasureState
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.rules import CompiledRule, CompiledTarget
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Slates

_Weighed: TypeAlias = list[tuple[Floats, MeasureState]]
"""Measures with their factor for each row, [B]."""


class PartialSlates:
    """Slates that grow from the candidates of a batch, with what each candidate is worth to the policy."""

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        targets: Sequence[CompiledTarget],
        multipliers: Mapping[str, float],
        exposure_slates: Slates | None,
        batch: CandidateBatch,
        guard: HardQuotaMask,
        legal: Bools,
    ) -> None:
        """`legal` [B, C]: candidates that are items and not blocked."""
        self._batch, self._guard, self.legal = batch, guard, legal
        self._of: dict[CompiledMeasure | RelevanceMeasure | SerendipityMeasure, MeasureState] = {}
        self._states: list[MeasureState] = []
        counted = [rule for rule in rules if batch.rows.label_probabilities is not None or not rule.needs_labels]
        weighed = self._weighed(counted)
        self._rules = [part for rule, part in weighed if not rule.needs_labels]
        self._expected = [part for rule, part in weighed if rule.needs_labels]
        self._targets = self._target_parts(targets, multipliers, exposure_slates)

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]: not taken yet, and no hard quota forbids it."""
        return self._guard.open

    def gains(self) -> Floats:
        """Computes what each candidate would add to R at the next place by the rules without labels, [B, C].

        Rules with labels count in the sum of weights that R is divided by only where rows have label probabilities.
        """
        return self._sum(self._rules)

    def expected_gains(self) -> Floats:
        """Computes what it would add by the rules with labels, in expectation, [B, C].

        It is 0 for rows without label probabilities.
        """
        return self._sum(self._expected)

    def target_gains(self) -> Floats:
        """Sums over the targets multiplier x what each candidate would add to the metric at the next place, [B, C].

        An at-most target is subtracted. A target adds nothing for users it is not about, nor, for rows without label
        probabilities, where its metric is known only against what the user took next.
        """
        return self._sum(self._targets)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._guard.take(at)
        for state in self._states:
            state.take(at)

    def _weighed(self, rules: Sequence[CompiledRule]) -> list[tuple[CompiledRule, tuple[Floats, MeasureState]]]:
        """Rules that weigh something for anybody, with their signed shares of the sum of these rules' weights."""
        weights = np.array([rule.weights(self._batch) for rule in rules]).reshape(len(rules), len(self._batch.rows))
        shares = weights / divisor(weights.T)  # [rules, B]
        pairs = [(rule, own) for rule, own in zip(rules, shares, strict=True) if own.any()]
        return [(rule, (rule.sign * own, self._state(rule.measure))) for rule, own in pairs]

    def _target_parts(
        self, targets: Sequence[CompiledTarget], multipliers: Mapping[str, float], exposure_slates: Slates | None
    ) -> _Weighed:
        out: _Weighed = []
        for target in targets:
            factor = target.sign * multipliers.get(target.target.name, 0.0)
            metric = target.metric
            if factor == 0.0 or (target.needs_labels and self._batch.rows.label_probabilities is None):
                continue
            if isinstance(metric, PopulationMetric):
                if exposure_slates is None:
                    raise ValueError(f"`{target.target.name}` is about all slates together: give the `exposure_slates`")
                state = metric.start(self._batch, exposure_slates)
                self._states.append(state)
                out.append((np.full(len(self._batch.rows), factor), state))
            else:
                out.append((np.where(metric.applicable(self._batch), factor, 0.0), self._state(metric.measure)))
        return out

    def _state(self, measure: CompiledMeasure | RelevanceMeasure | SerendipityMeasure) -> MeasureState:
        """One state of a measure, also where a target names the rule it belongs to."""
        if measure not in self._of:
            self._of[measure] = measure.start(self._batch)
            self._states.append(self._of[measure])
        return self._of[measure]

    def _sum(self, parts: _Weighed) -> Floats:
        out = np.zeros(self._batch.shape)
        for factors, state in parts:
            out += factors[:, None] * state.gains(slice(None))
        return out


def divisor(weights: Floats) -> Floats:
    """Sums each row's weights, [B]; 1 where they are all 0."""
    total = weights.sum(1)
    return np.where(total > 0, total, 1.0)
