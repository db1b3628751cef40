"""A policy in, how much each of its rules counts out: as shares of the whole, for everybody and for a segment."""

from __future__ import annotations

from recpolicy.explain import values
from recpolicy.explain.expressions import condition
from recpolicy.language.policy import Expr, Policy, Ramp, Rule, level


class Scale:
    """A policy's weights against their sum, after training."""

    def __init__(self, policy: Policy) -> None:
        self._rules = policy.rules
        self._totals: dict[Expr | None, float] = {}  # by segment, when first asked for: policies can be long

    def share(self, rule: Rule, segment: Expr | None = None) -> float:
        """The rule's weight over the sum of all, in [0, 1], 0 where it does not count.

        For users of whom no condition of the policy is true, or where `segment` is given that one alone.
        """
        if segment not in self._totals:
            self._totals[segment] = sum(_level(r, segment) for r in self._rules)
        total = self._totals[segment]
        return _level(rule, segment) / total if total else 0.0


def shares(policy: Policy, segment: Expr | None = None) -> dict[str, float]:
    """Each rule's share by name, as `Scale.share` gives it."""
    scale = Scale(policy)
    return {rule.name: scale.share(rule, segment) for rule in policy.rules}


def segments(policy: Policy) -> tuple[Expr, ...]:
    """Every condition on users that a rule's weight or a block depends on, in the order of the policy."""
    found: list[Expr] = []
    for rule in policy.rules:
        own = (rule.weight.only,) if rule.weight.only is not None else ()
        found += [c for c in (*own, *(branch for branch, _ in rule.weight.changes)) if c not in found]
    for block in policy.blocks:
        found += [block.only] if block.only is not None and block.only not in found else []
    return tuple(found)


def counts(rule: Rule, scale: Scale) -> str:
    """`52% of the whole`, with the segments in which it is another share, and how it changes while training."""
    only = rule.weight.only
    own = scale.share(rule, only)
    text = f"{values.share(own)} of the whole" if own else "nothing (it is measured and reported only)"
    text += _ramped(rule.weight.base)
    if only is not None:
        text += f" for users where {condition(only)}, and not at all for others"
    for branch, changed in rule.weight.changes:
        there = scale.share(rule, branch) if only is None else None
        said = f"a weight of {values.number(level(changed))}" if there is None else values.share(there)
        text += f"; for users where {condition(branch)}, {'nothing' if there == 0 else said}{_ramped(changed)}"
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
