"""Describes rules, blocks and targets in plain English, one paragraph for each."""

from __future__ import annotations

from typing import assert_never

from recpolicy.explain import quotas, values
from recpolicy.explain.expressions import condition
from recpolicy.explain.measures import NEAR_THE_TOP, brief, measure
from recpolicy.explain.values import spelled
from recpolicy.explain.weights import Scale, counts
from recpolicy.language.policy import Block, Boost, Policy, Population, Quota, Reward, Rule, Target


def sentence(node: Rule | Block | Target, policy: Policy) -> str:
    """Returns a rule, a block or a target as a paragraph."""
    match node:
        case Block():
            return block(node)
        case Target():
            return target(node)
        case _:
            return rule(node, policy)


def rule(node: Rule, policy: Policy, scale: Scale | None = None) -> str:
    """Returns how much the rule counts, what it demands, what earns how much of it, and why it is there.

    `scale` holds the weights of the policy, for a caller that needs it for several rules.
    """
    counted = [] if isinstance(node, Quota) and node.hard else [weighting(node, policy, scale)]
    return " ".join([*counted, demand(node, policy.slate), *_why(node)])


def weighting(node: Rule, policy: Policy, scale: Scale | None = None) -> str:
    """Returns how much the rule counts, as one sentence."""
    way = "counts" if not isinstance(node, Boost) else "takes away up to" if node.bury else "adds up to"
    return values.sentence(f"{way} {counts(node, scale or Scale(policy))}")


def demand(node: Rule, k: int) -> str:
    """Returns what the rule demands of a slate of `k` places, and what earns how much of it."""
    match node:
        case Reward(measure=measured):
            return measure(measured, k)
        case Boost():
            return _boost(node, k)
        case Quota(hard=True):
            only = node.weight.only
            whom = "every list" if only is None else f"users where {condition(only)}"
            room = " If need be, the last places are kept for it." if node.at_least is not None else ""
            return (
                f"{values.sentence(f'a must, for {whom}: it asks {quotas.demand(node, k)}')} "
                f"A list that breaks it is not shown. It counts nothing beside that.{room}"
            )
        case Quota():
            return f"{values.sentence(f'it asks {quotas.demand(node, k)}')} {quotas.earned(node, k)}"
        case _:
            assert_never(node)


def block(node: Block) -> str:
    """Returns which items are never shown, to whom, and why."""
    whom = "" if node.only is None else f" This holds for users where {condition(node.only)}, or where that is unknown."
    never = f"An item is never shown where {condition(node.where)}, nor where that is unknown."
    return " ".join([never + whom, *_why(node)])


def target(node: Target) -> str:
    """Returns the bound on a metric over all users, or over those of a segment, and why it is there."""
    return " ".join([values.sentence(aim(node)), *_why(node)])


def aim(node: Target) -> str:
    """Returns the target's bound as half a sentence."""
    measured = f"`{node.metric}`" if isinstance(node.metric, str) else brief(node.metric)
    over = "over all lists together" if isinstance(node.metric, Population) else "on average over users"
    if node.only is not None:
        over += f" where {condition(node.only)}"
    bound = values.percent(node.bound)
    if node.of_baseline:
        bound += " of what it was before the recommender was trained by a policy"
    return f"{over}, {measured} is to be {'at least' if node.op == '>=' else 'at most'} {bound}"


def _why(node: Rule | Block | Target) -> list[str]:
    return [] if node.because is None else [f"Why: {values.sentence(node.because)}"]


def _boost(node: Boost, k: int) -> str:
    limit = k if node.limit is None else min(node.limit, k)
    only, matching = "", "all places"
    if limit < k:
        only = f", but only the first {spelled(limit)} of them"
        matching = "the first place" if limit == 1 else f"the first {spelled(limit)} places"
    way, against = ("counts as well", "against the list ") if node.bury else ("does not count", "")
    return (
        f"It counts {against}the places where {condition(node.where)}{only}; {NEAR_THE_TOP}. "
        f"All of it comes with {matching} matching. A place where it is unknown {way}."
    )
