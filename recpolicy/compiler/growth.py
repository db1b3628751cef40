"""Computes what each further candidate is worth to a compiled policy as slates grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from recpolicy.compiler.hard_quotas import HardQuotaMask
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.rules import CompiledRule, CompiledTarget
from recpolicy.compiler.scan import Plan, Scan
from recpolicy.compiler.serendipity import Serendipitous
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Slates

_Weighed: TypeAlias = list[tuple[Floats, Scan]]
"""Measures with their factor for each row, [B]."""


class Growth:
    """Slates that grow from the candidates of a pool, with what each candidate is worth to the policy."""

    def __init__(
        self,
        rules: Sequence[CompiledRule],
        targets: Sequence[CompiledTarget],
        multipliers: Mapping[str, float],
        exposure_slates: Slates | None,
        pool: Pool,
        guard: HardQuotaMask,
        legal: Bools,
    ) -> None:
        """`legal` [B, C]: candidates that are items and not blocked."""
        self._pool, self._guard, self.legal = pool, guard, legal
        self._of: dict[Plan | Labelled | Serendipitous, Scan] = {}
        self._scans: list[Scan] = []
        counted = [rule for rule in rules if pool.rows.chances is not None or not rule.needs_labels]
        weighed = self._weighed(counted)
        self._rules = [part for rule, part in weighed if not rule.needs_labels]
        self._expected = [part for rule, part in weighed if rule.needs_labels]
        self._targets = self._pulling(targets, multipliers, exposure_slates)

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]: not taken yet, and no hard quota forbids it."""
        return self._guard.open

    def gains(self) -> Floats:
        """Computes what each candidate would add to R at the next place by the rules without labels, [B, C].

        Rules with labels count in the sum of weights that R is divided by only where rows have chances.
        """
        return self._sum(self._rules)

    def expected(self) -> Floats:
        """Computes what it would add by the rules with labels, in expectation, [B, C]; 0 for rows without chances."""
        return self._sum(self._expected)

    def pulls(self) -> Floats:
        """Sums over the targets multiplier x what each candidate would add to the metric at the next place, [B, C].

        An at-most target is subtracted. A target adds nothing for users it is not about, nor, for rows without chances,
        where its metric is known only against what the user took next.
        """
        return self._sum(self._targets)

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        self._guard.take(at)
        for scan in self._scans:
            scan.take(at)

    def _weighed(self, rules: Sequence[CompiledRule]) -> list[tuple[CompiledRule, tuple[Floats, Scan]]]:
        """Rules that weigh something for anybody, with their signed shares of the sum of these rules' weights."""
        weights = np.array([rule.weights(self._pool) for rule in rules]).reshape(len(rules), len(self._pool.rows))
        shares = weights / divisor(weights.T)  # [rules, B]
        pairs = [(rule, own) for rule, own in zip(rules, shares, strict=True) if own.any()]
        return [(rule, (rule.sign * own, self._scan(rule.plan))) for rule, own in pairs]

    def _pulling(
        self, targets: Sequence[CompiledTarget], multipliers: Mapping[str, float], exposure_slates: Slates | None
    ) -> _Weighed:
        out: _Weighed = []
        for target in targets:
            factor = target.sign * multipliers.get(target.target.name, 0.0)
            metric = target.metric
            if factor == 0.0 or (target.needs_labels and self._pool.rows.chances is None):
                continue
            if isinstance(metric, PopulationMetric):
                if exposure_slates is None:
                    raise ValueError(f"`{target.target.name}` is about all slates together: give the `exposure_slates`")
                scan = metric.scan(self._pool, exposure_slates)
                self._scans.append(scan)
                out.append((np.full(len(self._pool.rows), factor), scan))
            else:
                out.append((np.where(metric.applicable(self._pool), factor, 0.0), self._scan(metric.plan)))
        return out

    def _scan(self, plan: Plan | Labelled | Serendipitous) -> Scan:
        """One scan of a plan, also where a target names the rule it belongs to."""
        if plan not in self._of:
            self._of[plan] = plan.scan(self._pool)
            self._scans.append(self._of[plan])
        return self._of[plan]

    def _sum(self, parts: _Weighed) -> Floats:
        out = np.zeros(self._pool.shape)
        for factors, scan in parts:
            out += factors[:, None] * scan.gains(slice(None))
        return out


def divisor(weights: Floats) -> Floats:
    """Sums each row's weights, [B]; 1 where they are all 0."""
    total = weights.sum(1)
    return np.where(total > 0, total, 1.0)
