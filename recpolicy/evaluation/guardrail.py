"""Adds an implied target that keeps relevance from falling where a policy has no target for it."""

from __future__ import annotations

from dataclasses import replace

from recpolicy.compiler import CompiledPolicy, CompiledTarget
from recpolicy.language.policy import Target
from recpolicy.span import NOWHERE

SUFFIX = " (guard)"
"""The end of the names of implied targets; no name in a policy has a space."""


def guarded(compiled: CompiledPolicy) -> CompiledPolicy:
    """Adds the target that the mean of the heaviest rule with labels is not below the baseline's.

    The weighted sum may be largest for lists that nobody wants, where the rules without labels outweigh relevance.
    Returns the policy unchanged where it has a target with labels, which then limits how far relevance may fall, where
    no rule needs labels, and where it has nothing but rules with labels.
    """
    labelled = [rule for rule in compiled.rules if rule.needs_labels and rule.weight.highest > 0]
    others = [rule for rule in compiled.rules if not rule.needs_labels and rule.weight.highest > 0]
    if not labelled or not (others or compiled.targets) or any(target.needs_labels for target in compiled.targets):
        return compiled
    rule = max(labelled, key=lambda rule: rule.weight.highest)
    target = Target(NOWHERE, rule.name + SUFFIX, rule.name, ">=", 1.0, of_baseline=True)
    return replace(compiled, targets=(*compiled.targets, CompiledTarget(target, rule)))


def is_guardrail(name: str) -> bool:
    """Checks whether the target of this name is implied."""
    return name.endswith(SUFFIX)
