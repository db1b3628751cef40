"""Keeps relevance from falling where a policy says nothing of it: an implied target."""

from __future__ import annotations

from dataclasses import replace

from recpolicy.compiler import CompiledPolicy, CompiledRule, CompiledTarget
from recpolicy.language.policy import Level, Ramp, Target
from recpolicy.span import NOWHERE

SUFFIX = " (guard)"
"""Ends the names of implied targets: no name in a policy has a space."""


def guarded(compiled: CompiledPolicy) -> CompiledPolicy:
    """The policy with the target that its heaviest rule with labels keeps what the baseline has, on average over users.

    A sum of weights may be largest for lists that nobody wants: what every rule without labels gives in full can be
    more than all relevance is worth. As it is where the policy has a target on a measure with labels, which says how
    far relevance may fall, where no rule needs labels, and where nothing else is asked for.
    """
    labelled = [rule for rule in compiled.rules if rule.needs_labels and _heaviest(rule) > 0]
    others = [rule for rule in compiled.rules if not rule.needs_labels and _heaviest(rule) > 0]
    if not labelled or not (others or compiled.targets) or any(target.needs_labels for target in compiled.targets):
        return compiled
    rule = max(labelled, key=_heaviest)
    target = Target(NOWHERE, rule.name + SUFFIX, rule.name, ">=", 1.0, of_baseline=True)
    return replace(compiled, targets=(*compiled.targets, CompiledTarget(target, rule)))


def is_guardrail(name: str) -> bool:
    """Whether the target of this name is implied."""
    return name.endswith(SUFFIX)


def _heaviest(rule: CompiledRule) -> float:
    """The largest weight that the rule has for anybody at any time of training."""
    return max(_level(level) for level in (rule.weight.base, *(level for _, level in rule.weight.changes)))


def _level(level: Level) -> float:
    return max(level.start, level.end) if isinstance(level, Ramp) else level
