"""Finds which of each rule's two outcomes the evaluated slates of a policy show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from recpolicy.language import policy
from recpolicy.policy_tests.evaluation import Evaluated, conditions

_NOTHING = 1e-9
"""A value below this is rounding."""


@dataclass(frozen=True)
class Coverage:
    """A rule, a block or the condition of a `when`: its two outcomes in words, and whether some slate shows each."""

    name: str
    outcomes: tuple[str, str]
    yes: bool
    no: bool


def coverage(tested: policy.Policy, slates: Sequence[Evaluated]) -> tuple[Coverage, ...]:
    """Returns the coverage of rules, then blocks, then conditions. Targets are about many users: no test covers them.

    A blocked slate shows the outcomes that it would show without the block. A slate of a user outside a rule's `when`
    shows no outcome of the rule.
    """
    return (
        *(_of_rule(rule, slates) for rule in tested.rules),
        *(_of_block(block, slates) for block in tested.blocks),
        *(_of_condition(condition, tested, slates) for condition in conditions(tested)),
    )


def _of_rule(rule: policy.Rule, slates: Sequence[Evaluated]) -> Coverage:
    known = [s for s in slates if not math.isnan(sum(s.free[rule.name]))]
    match rule:
        case policy.Boost() | policy.Reward(measure=policy.Portion()):
            seen = [v > _NOTHING for s in known for v in _held(s, s.free[rule.name])]
            return _coverage(rule.name, ("an item matches", "an item does not"), seen)
        case policy.Quota():
            return _coverage(rule.name, ("satisfied", "not satisfied"), [s.met[rule.name] for s in known])
        case policy.Reward():
            seen = [sum(s.free[rule.name]) > _NOTHING for s in known]
            return _coverage(rule.name, ("worth something", "worth nothing"), seen)
        case _:
            assert_never(rule)


def _of_block(block: policy.Block, slates: Sequence[Evaluated]) -> Coverage:
    here = [s for s in slates if block.only is None or s.inside[block.only] or any(s.hits[block.name])]
    seen = [hit > 0 for s in here for hit in _held(s, s.hits[block.name])]
    return _coverage(block.name, ("an item is blocked", "an item is not"), seen)


def _of_condition(condition: policy.Expr, tested: policy.Policy, slates: Sequence[Evaluated]) -> Coverage:
    outcomes = ("a user inside", "a user outside")
    return _coverage(f"when {_written(condition, tested)}", outcomes, [s.inside[condition] for s in slates])


def _coverage(name: str, outcomes: tuple[str, str], seen: Iterable[bool]) -> Coverage:
    values = set(seen)
    return Coverage(name, outcomes, True in values, False in values)


def _held(slate: Evaluated, places: Sequence[float]) -> list[float]:
    """The entries of the places that hold an item."""
    return [value for value, held in zip(places, slate.held, strict=True) if held]


def _written(condition: policy.Expr, tested: policy.Policy) -> str:
    """The condition as its file has it, on one line; its line number where no source holds it."""
    span = condition.span
    for source in tested.sources:
        if source.text[: span.start].rstrip().endswith("when"):
            return " ".join(source.text[span.start : span.end].split())
    return f"on line {span.line}"
