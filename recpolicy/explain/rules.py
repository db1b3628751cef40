"""Rules, blocks and targets in, a paragraph each out, for whoever reads a policy aloud."""

from __future__ import annotations

from typing import assert_never

from recpolicy.explain import quotas, values
from recpolicy.explain.expressions import condition
from recpolicy.explain.measures import NEAR_THE_TOP, brief, measure
from recpolicy.explain.values import first_places, sentence, spelled
from recpolicy.explain.weights import Scale, counts
from recpolicy.language.policy import Block, Boost, Policy, Population, Quota, Reward, Rule, Target


def rule(node: Rule, policy: Policy) -> str:
    """How much the rule counts, what it asks, what earns how much of it, and why it is there."""
    return paragraph(node, policy.slate, Scale(policy))


def paragraph(node: Rule, k: int, scale: Scale) -> str:
    """The same of a rule of a policy with `k` places, whose weights `scale` compares."""
    counted = [] if isinstance(node, Quota) and node.hard else [_weighs(node, scale)]
    return " ".join([*counted, asks(node, k), *_why(node)])


def weighs(node: Rule, policy: Policy) -> str:
    """How much the rule counts: one sentence."""
    return _weighs(node, Scale(policy))


def asks(node: Rule, k: int) -> str:
    """What the rule asks of a list of `k` places, and what earns how much of it."""
    match node:
        case Reward(measure=measured):
            return measure(measured, k)
        case Boost():
            return _boost(node, k)
        case Quota(hard=True):
            return f"{sentence(f'a must, for {_segment(node)}: {quotas.asked(node, k)}')} {_hard(node)}"
        case Quota():
            return f"{sentence(quotas.asked(node, k))} {quotas.earned(node, k)}"
        case _:
            assert_never(node)


def block(node: Block) -> str:
    """Which items are never shown, and to whom."""
    whom = "" if node.only is None else f" This holds for users where {condition(node.only)}, or where that is unknown."
    never = f"An item is never shown where {condition(node.where)}, nor where that is unknown."
    return " ".join([never + whom, *_why(node)])


def target(node: Target) -> str:
    """What must come out over all users, or over those of a segment, and why."""
    return " ".join([sentence(aim(node)), *_why(node)])


def aim(node: Target) -> str:
    """What must come out, as half a sentence."""
    measured = f"`{node.metric}`" if isinstance(node.metric, str) else brief(node.metric)
    over = "over all lists together" if isinstance(node.metric, Population) else "on average over users"
    if node.only is not None:
        over += f" where {condition(node.only)}"
    bound = values.percent(node.bound)
    if node.of_baseline:
        bound += " of what it was before the recommender was trained by a policy"
    least = "at least" if node.op == ">=" else "at most"
    return f"{over}, {measured} is to be {least} {bound}"


def _weighs(node: Rule, scale: Scale) -> str:
    way = "counts" if not isinstance(node, Boost) else "takes away up to" if node.bury else "adds up to"
    return sentence(f"{way} {counts(node, scale)}")


def _why(node: Rule | Block | Target) -> list[str]:
    return [] if node.because is None else [f"Why: {sentence(node.because)}"]


def _segment(node: Quota) -> str:
    only = node.weight.only
    return "every list" if only is None else f"users where {condition(only)}"


def _hard(node: Quota) -> str:
    kept = " If need be, the last places are kept for it." if node.at_least is not None else ""
    return f"A list that breaks it is not shown. It counts nothing beside that.{kept}"


def _boost(node: Boost, k: int) -> str:
    limit = k if node.limit is None else min(node.limit, k)
    only = "" if limit == k else f", but only the first {'one' if limit == 1 else spelled(limit)} of them"
    matching = first_places(limit) if limit < k else "all places"
    way, against = ("counts as well", "against the list ") if node.bury else ("does not count", "")
    return (
        f"It counts {against}the places where {condition(node.where)}{only}; {NEAR_THE_TOP}. "
        f"All of it comes with {matching} matching. A place where it is unknown {way}."
    )
