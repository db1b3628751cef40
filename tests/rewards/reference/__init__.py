"""The language page's "Meaning" written out in plain Python, one slate and one item at a time. Slow on purpose."""

from __future__ import annotations

import math
from itertools import pairwise

from recpolicy.language.policy import Block, Boost, Level, Policy, Quota, Ramp, Reward, Rule, Target
from tests.rewards.reference.measures import Measures
from tests.rewards.reference.population import population
from tests.rewards.reference.quotas import Quotas, Slate
from tests.rewards.world import World

__all__ = ["Reference", "Slate", "population"]


class Reference:
    """A policy's rules for one user of a world. `typical` is what an item without a value is worth, per rule."""

    def __init__(self, world: World, policy: Policy, user: int, typical: dict[str, float]) -> None:
        self.policy, self.k = policy, policy.slate
        self.quotas = Quotas(world, user, self.k)
        self.measures = Measures(world, user, self.k, typical)

    def weight(self, rule: Rule, progress: float = 1.0) -> float:
        if not self.applicable(rule):
            return 0.0
        weight = rule.weight.base
        for branch, changed in rule.weight.changes:
            if self.measures.evaluate(branch, None) is True:
                weight = changed
        return self.level(weight, progress)

    def level(self, weight: Level, progress: float) -> float:
        if not isinstance(weight, Ramp):
            return weight
        if progress >= weight.over:
            return weight.end
        return weight.start + (weight.end - weight.start) * progress / weight.over

    def applicable(self, rule: Rule) -> bool:
        if rule.weight.only is not None and self.measures.evaluate(rule.weight.only, None) is not True:
            return False
        return not isinstance(rule, Reward) or self.measures.applicable(rule.measure)

    def hits_block(self, block: Block, item: int) -> bool:
        if block.only is not None and self.measures.evaluate(block.only, None) is False:
            return False
        return self.measures.evaluate(block.where, item) is not False

    def blocked_item(self, item: int | None) -> bool:
        return item is not None and any(self.hits_block(b, item) for b in self.policy.blocks)

    def marginals(self, rule: Rule, slate: Slate) -> list[float]:
        if not self.applicable(rule):
            return [math.nan] * self.k
        blocked = [r for r, item in enumerate(slate) if self.blocked_item(item)]
        if blocked:
            bury = isinstance(rule, Boost) and rule.bury
            return [1.0 if bury and r == blocked[0] else 0.0 for r in range(self.k)]
        prefixes = [self.value(rule, slate[:r]) for r in range(self.k + 1)]
        return [after - before for before, after in pairwise(prefixes)]

    def target(self, target: Target, slate: Slate) -> list[float]:
        """Marginals of the metric of a target on a mean over users."""
        if target.only is not None and self.measures.evaluate(target.only, None) is not True:
            return [math.nan] * self.k
        match target.metric:
            case str(name):
                return self.marginals(next(rule for rule in self.policy.rules if rule.name == name), slate)
            case measure:
                if not self.measures.applicable(measure):  # type: ignore[arg-type]
                    return [math.nan] * self.k
                if any(self.blocked_item(item) for item in slate):
                    return [0.0] * self.k
                prefixes = [self.measures.value(target.name, measure, slate[:r]) for r in range(self.k + 1)]  # type: ignore[arg-type]
                return [after - before for before, after in pairwise(prefixes)]

    def total(self, slate: Slate, progress: float = 1.0) -> float:
        weights = [self.weight(rule, progress) for rule in self.policy.rules]
        if not sum(weights):
            return 0.0
        signs = [-1 if isinstance(rule, Boost) and rule.bury else 1 for rule in self.policy.rules]
        values = [sum(self.marginals(rule, slate)) for rule in self.policy.rules]
        parts = [s * w * v for s, w, v in zip(signs, weights, values, strict=True) if w]
        return sum(parts) / sum(weights)

    def value(self, rule: Rule, slate: Slate) -> float:
        """`slate` may be the first places of one."""
        match rule:
            case Boost():
                counts = self.measures.counts
                counted = [r for r, i in enumerate(slate, 1) if i is not None and counts(rule.where, i, rule.bury)]
                w = [1 / math.log2(r + 1) for r in counted[: rule.limit]]
                return sum(w) / sum(self.measures.discounts(min(rule.limit or self.k, self.k)))
            case Quota():
                return self.quotas.value(rule, slate)
            case Reward():
                return self.measures.value(rule.name, rule.measure, slate)

    def satisfied(self, rule: Quota, slate: Slate) -> bool:
        if not self.applicable(rule) or any(self.blocked_item(i) for i in slate):
            return False
        return self.quotas.satisfied(rule, slate)
