"""Computes how much each rule of a policy counts: its weight as a share of all weights, overall and by segment."""

from __future__ import annotations

from recpolicy.explain import values
from recpolicy.explain.expressions import condition
from recpolicy.language.policy import Expr, Policy, Ramp, Rule, level


class Scale:
    """A policy's weights as shares of their sum, after training."""

    def __init__(self, policy: Policy) -> None:
        self._rules = policy.rules
        self._totals: dict[Expr | None, float] = {}  # by segment, each summed once: a policy may have many rules

    def share(self, rule: Rule, segment: Expr | None = None) -> float:
        """Returns the rule's weight over the sum of all, in [0, 1]; 0 where the rule does not count.

        The share holds for users for whom only the condition `segment` of the policy is true, or none without it.
        """
        if segment not in self._totals:
            self._totals[segment] = sum(_level(r, segment) for r in self._rules)
        total = self._totals[segment]
        return _level(rule, segment) / total if total else 0.0


def shares(policy: Policy, segment: Expr | None = None) -> dict[str, float]:
    """Computes each rule's share by name, as `Scale.share` does."""
    scale = Scale(policy)
    return {rule.name: scale.share(rule, segment) for rule in policy.rules}


def segments(policy: Policy) -> list[Expr]:
    """Finds every condition on users that a rule's weight or a block depends on, in the order of the policy."""
    only = [c for rule in policy.rules for c in (rule.weight.only, *(branch for branch, _ in rule.weight.changes))]
    only += [block.only for block in policy.blocks]
    return [condition for condition in dict.fromkeys(only) if condition is not None]


def counts(rule: Rule, scale: Scale) -> str:
    """Returns `52% of the whole`, with the segments that have another share, and the change during training."""
    only = rule.weight.only
    own = scale.share(rule, only)
    text = f"{values.share(own)} of the whole" if own else "nothing (it is measured and reported only)"
    text += _ramped(rule.weight.base)
    if only is not None:
        text += f" for users where {condition(only)}, and not at all for others"
    for branch, changed in rule.weight.changes:
        if only is not None:
            amount = f"a weight of {values.number(level(changed))}"
        else:
            share = scale.share(rule, branch)
            amount = values.share(share) if share else "nothing"
        text += f"; for users where {condition(branch)}, {amount}{_ramped(changed)}"
    return text


def _level(rule: Rule, segment: Expr | None) -> float:
    weight = rule.weight
    if weight.only is not None and weight.only != segment:
        return 0.0
    changed = [to for branch, to in weight.changes if branch == segment]
    return level(changed[-1] if changed else weight.base)


def _ramped(value: float | Ramp) -> str:
    if not isinstance(value, Ramp):
        return ""
    way = "grows" if value.end > value.start else "falls"
    start, end = values.number(value.start), values.number(value.end)
    return f" (its weight {way} from {start} to {end} over the first {values.percent(value.over)} of the training)"
