"""Summarizes a policy in a few short lines for the prompt of a recommender."""

from __future__ import annotations

from typing import assert_never

from recpolicy.explain import quotas
from recpolicy.explain.expressions import condition
from recpolicy.explain.measures import brief
from recpolicy.explain.rules import aim
from recpolicy.explain.weights import Scale, counts
from recpolicy.language.policy import Boost, Expr, Policy, Quota, Reward, Rule


def instruction(node: Policy) -> str:
    """Returns one line for each rule that counts, by falling weight, then hard quotas, blocks and targets."""
    scale = Scale(node)
    hard = [r for r in node.rules if isinstance(r, Quota) and r.hard]
    soft = [r for r in node.rules if r not in hard and (r.weight.changes or scale.share(r, r.weight.only) > 0)]
    heaviest_first = sorted(soft, key=lambda r: -scale.share(r, r.weight.only))
    lines = [f"{r.name}, {counts(r, scale)}: {_demand(r, node.slate)}" for r in heaviest_first]
    lines += [f"a must{_users('for', r.weight.only)}: {quotas.demand(r, node.slate)}" for r in hard]
    lines += [f"never shown{_users('to', b.only)}: items where {condition(b.where)}" for b in node.blocks]
    lines += [f"in the end: {aim(target)}" for target in node.targets]
    return "\n".join(lines)


def _demand(rule: Rule, k: int) -> str:
    match rule:
        case Reward(measure=measure):
            return brief(measure)
        case Boost(where=where, bury=bury):
            return f"{'as little as can be' if bury else 'as much as can be'} where {condition(where)}"
        case Quota():
            return quotas.demand(rule, k)
        case _:
            assert_never(rule)


def _users(preposition: str, only: Expr | None) -> str:
    return "" if only is None else f" {preposition} users where {condition(only)}"
