"""A compiled policy and candidates in, what each further candidate is worth to it as slates grow out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpolicy.compiler.guard import Guard
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.rules import CompiledRule
from recpolicy.compiler.scan import Scan
from recpolicy.compiler.serendipity import Serendipitous
from recpolicy.table import Bools, Floats, Ints


class Growth:
    """Slates that grow from the candidates of a pool, and what each further candidate is worth to the policy."""

    def __init__(self, rules: Sequence[CompiledRule], pool: Pool, guard: Guard, legal: Bools) -> None:
        """`legal` [B, C]: candidates that are items and not blocked."""
        plans = [(rule, rule.plan) for rule in rules]
        scans = [(r, plan.scan(pool)) for r, plan in plans if not isinstance(plan, Labelled | Serendipitous)]
        self._rules = [rule for rule, _ in scans]
        self._scans: list[Scan] = [scan for _, scan in scans]
        weights = np.array([rule.weights(pool) for rule in self._rules]).reshape(len(self._rules), len(pool.rows))
        self._weights = weights / divisor(weights.T)  # [rules, B]
        self.legal, self._guard = legal, guard
        self._shape = pool.shape

    @property
    def open(self) -> Bools:
        """Those that may stand at the next place, [B, C]: not taken yet, and no hard quota against it."""
        return self._guard.open

    def gains(self) -> Floats:
        """What each candidate would add to R (over the rules without labels) at the next place, [B, C]."""
        out = np.zeros(self._shape)
        for rule, scan, weights in zip(self._rules, self._scans, self._weights, strict=True):
            if weights.any():
                out += rule.sign * weights[:, None] * scan.gains(slice(None))
        return out

    def take(self, at: Ints) -> None:
        """Put candidate `at[b]` at the next place of row b's slate."""
        self._guard.take(at)
        for scan in self._scans:
            scan.take(at)


def divisor(weights: Floats) -> Floats:
    """Sum of each row's weights, [B]; 1 where they are all 0."""
    total = weights.sum(1)
    return np.where(total > 0, total, 1.0)
