"""Evaluates one slate of a case by all rules, blocks and targets of the policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from recpolicy.compiler import compile
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Slates
from recpolicy.language import policy
from recpolicy.policy_tests.world import World
from recpolicy.span import NOWHERE

_ALL = policy.Truth(NOWHERE, True)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The values of a policy for one slate of K places; every tuple has an entry for each place."""

    held: tuple[bool, ...]
    """Places that hold an item."""
    values: Mapping[str, float]
    """Of rules and targets; NaN where not applicable to the user."""
    ranks: Mapping[str, tuple[float, ...]]
    """What each place adds to these values."""
    satisfied: Mapping[str, bool]
    """Of quotas."""
    blocked: bool
    total: float
    """The whole reward."""
    totals: tuple[float, ...]
    """What each place adds to it."""
    hits: Mapping[str, tuple[bool, ...]]
    """Per block the places whose item it hits."""
    unsure: Mapping[str, tuple[bool, ...]]
    """Per block the places that it hits only because a value in its condition is not known."""
    free: Mapping[str, tuple[float, ...]]
    """Per rule what each place would add without any block, a boost without its limit."""
    met: Mapping[str, bool]
    """Of quotas, whether they would be satisfied without any block."""
    inside: Mapping[policy.Expr, bool]
    """Per condition of a `when`, whether it is true of the user."""


def evaluate(tested: policy.Policy, world: World, slate: Slates) -> Evaluated:
    """Compiles the policy for the slate's own length and evaluates the slate.

    Limits and windows that are longer than the slate are cut to its length; counts stay as they are.
    """
    k = slate.items.shape[1]
    rules = [_cut(rule, k) for rule in tested.rules]
    targets = [t for target in tested.targets if (t := _as_rule(target, rules)) is not None]
    whole = compile(replace(tested, slate=k, rules=(*rules, *targets), targets=()), world.dataset)
    segments = list(conditions(tested))
    probes = [
        *(replace(rule, limit=None) if isinstance(rule, policy.Boost) else rule for rule in rules),
        *(_hitting(block) for block in tested.blocks),
        *(_boost(_block(block.name, sure=True), block.where, block.only) for block in tested.blocks),
        *(_boost(_segment(number), _ALL, condition) for number, condition in enumerate(segments)),
    ]
    free = compile(replace(tested, slate=k, rules=tuple(probes), blocks=(), targets=()), world.dataset)
    rows = world.rows
    ranks, probed = _ranks(whole.marginals(rows, slate)), _ranks(free.marginals(rows, slate))
    hits = {b.name: tuple(v > 0 for v in probed[_block(b.name)]) for b in tested.blocks}
    sure = {b.name: tuple(v > 0 for v in probed[_block(b.name, sure=True)]) for b in tested.blocks}
    return Evaluated(
        held=tuple((slate.items[0] >= 0).tolist()),
        values={name: sum(places) for name, places in ranks.items()},
        ranks=ranks,
        satisfied={name: bool(met[0]) for name, met in whole.satisfied(rows, slate).items()},
        blocked=bool(whole.blocked(rows, slate)[0]),
        total=float(whole.total(rows, slate)[0]),
        totals=tuple(whole.total_marginals(rows, slate)[0].tolist()),
        hits=hits,
        unsure={name: tuple(h and not s for h, s in zip(hits[name], sure[name], strict=True)) for name in hits},
        free={rule.name: probed[rule.name] for rule in rules},
        met={name: bool(met[0]) for name, met in free.satisfied(rows, slate).items()},
        inside={c: not np.isnan(probed[_segment(number)][0]) for number, c in enumerate(segments)},
    )


def conditions(tested: policy.Policy) -> Iterable[policy.Expr]:
    """Returns the condition of every `when`, each once, in the order of the rules inside them."""
    return dict.fromkeys(condition for condition in _conditions(tested) if condition is not None)


def _conditions(tested: policy.Policy) -> Iterator[policy.Expr | None]:
    for rule in tested.rules:
        yield rule.weight.only
        yield from (condition for condition, _ in rule.weight.changes)
    for block in tested.blocks:
        yield block.only
    for target in tested.targets:
        yield target.only


def _ranks(marginals: Mapping[str, Floats]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values[0].tolist()) for name, values in marginals.items()}


def _cut(rule: policy.Rule, k: int) -> policy.Rule:
    match rule:
        case policy.Boost(limit=int() as limit):
            return replace(rule, limit=min(limit, k))
        case policy.Quota(window=policy.Window() as window):
            return replace(rule, window=replace(window, length=min(window.length, k)))
        case _:
            return rule


def _as_rule(target: policy.Target, rules: Iterable[policy.Rule]) -> policy.Rule | None:
    """The target's metric as a rule of weight 0 with its name; None for a measure of all users together."""
    match target.metric:
        case str() as name:
            rule = next(rule for rule in rules if rule.name == name)
            both = _both(rule.weight.only, target.only)
            return replace(rule, name=target.name, weight=policy.Weight(target.span, 0.0, both))
        case policy.Population():
            return None
        case measure:
            return policy.Reward(target.span, target.name, policy.Weight(target.span, 0.0, target.only), measure)


def _both(a: policy.Expr | None, b: policy.Expr | None) -> policy.Expr | None:
    return a if b is None else b if a is None else policy.Logic(b.span, "and", a, b)


# ---- probes: rules that show what a policy's own numbers hide. No rule of a policy can have their names. ------------


def _hitting(block: policy.Block) -> policy.Rule:
    """A bury, which counts what is unknown as a block does; a block's `only` holds where it is true or unknown."""
    only = block.only
    if only is not None:
        only = policy.Logic(only.span, "or", only, policy.IsMissing(only.span, only))
    return policy.Boost(block.span, _block(block.name), policy.Weight(block.span, 0.0, only), block.where, None, True)


def _boost(name: str, where: policy.Expr, only: policy.Expr | None) -> policy.Rule:
    """A boost, which does not count what is unknown."""
    return policy.Boost(where.span, name, policy.Weight(where.span, 0.0, only), where, None, False)


def _block(name: str, *, sure: bool = False) -> str:
    return f"block {name}, surely" if sure else f"block {name}"


def _segment(number: int) -> str:
    return f"when {number}"
