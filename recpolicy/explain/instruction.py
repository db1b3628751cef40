"""A policy in, what it asks in a few short lines out: for a recommender's prompt, not for a product team."""

from __future__ import annotations

from typing import assert_never

from recpolicy.explain import quotas
from recpolicy.explain.expressions import condition
from recpolicy.explain.measures import brief
from recpolicy.explain.rules import aim
from recpolicy.explain.weights import Scale, counts
from recpolicy.language.policy import Block, Boost, Policy, Quota, Reward, Rule


def instruction(node: Policy) -> str:
    """A line each: the rules that count, the weightiest first, then hard quotas, blocks and targets."""
    scale = Scale(node)
    soft = [r for r in node.rules if not (isinstance(r, Quota) and r.hard) and _counts(r, scale)]
    heaviest_first = sorted(soft, key=lambda r: -scale.share(r, r.weight.only))
    lines = [f"{r.name}, {counts(r, scale)}: {_asked(r, node.slate)}" for r in heaviest_first]
    lines += [_must(r, node.slate) for r in node.rules if isinstance(r, Quota) and r.hard]
    lines += [_never(block) for block in node.blocks]
    lines += [f"in the end: {aim(target)}" for target in node.targets]
    return "\n".join(lines)


def _counts(rule: Rule, scale: Scale) -> bool:
    """Whether the rule counts for anybody."""
    return bool(rule.weight.changes) or scale.share(rule, rule.weight.only) > 0


def _asked(rule: Rule, k: int) -> str:
    match rule:
        case Reward(measure=measure):
            return brief(measure)
        case Boost(where=where, bury=bury):
            return f"{'as little as can be' if bury else 'as much as can be'} where {condition(where)}"
        case Quota():
            return quotas.asked(rule, k).removeprefix("it asks ")
        case _:
            assert_never(rule)


def _must(quota: Quota, k: int) -> str:
    only = quota.weight.only
    whom = "" if only is None else f" for users where {condition(only)}"
    return f"a must{whom}: {quotas.asked(quota, k).removeprefix('it asks ')}"


def _never(block: Block) -> str:
    whom = "" if block.only is None else f" to users where {condition(block.only)}"
    return f"never shown{whom}: items where {condition(block.where)}"
