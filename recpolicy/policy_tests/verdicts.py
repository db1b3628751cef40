"""Decides whether an expectation holds for the evaluated slates of its case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from recpolicy.language import policy
from recpolicy.policy_tests.evaluation import Evaluated

TOLERANCE = 5e-4
"""How far a value may lie from the expected one: tests state three decimals."""

_ROUNDING = 1e-9
"""So that 0.5005 is within the tolerance of 0.5."""

Ledger: TypeAlias = tuple[float | None, ...]
"""What each place adds; None at a hole."""

_Slates: TypeAlias = Mapping[str, Evaluated]


@dataclass(frozen=True)
class Expectation:
    """One expectation, compared with the evaluated slates.

    `subject`, `expected` and `actual` are in words. `places` holds what each place adds, by slate
    (one, or two that are compared). `note` explains a failure.
    """

    expect: policy.Expect
    passed: bool
    subject: str
    expected: str
    actual: str
    places: tuple[tuple[str, Ledger], ...] = ()
    note: str = ""


def verdict(expect: policy.Expect, slates: _Slates, tested: policy.Policy, case: policy.Case) -> Expectation:
    """Decides whether the expectation holds within `TOLERANCE`. It fails where its rule does not apply to the user."""
    match expect:
        case policy.ExpectValue() | policy.ExpectSatisfied():
            return _rule(expect, slates[expect.slate], tested, case)
        case policy.ExpectBlocked():
            return _blocked(expect, slates[expect.slate])
        case policy.ExpectOrder():
            return _order(expect, slates)
        case _:
            assert_never(expect)


def number(value: float) -> str:
    """Renders a value for reports: up to four decimals, which is finer than the tolerance."""
    return f"{round(value, 4) + 0.0:g}"


def _rule(
    expect: policy.ExpectValue | policy.ExpectSatisfied, slate: Evaluated, tested: policy.Policy, case: policy.Case
) -> Expectation:
    if isinstance(expect, policy.ExpectValue):
        name, value = expect.rule, slate.values[expect.rule]
        expected, actual = number(expect.value), number(value)
        passed = abs(value - expect.value) <= TOLERANCE + _ROUNDING
    else:
        name, value, met = expect.quota, slate.values[expect.quota], slate.satisfied[expect.quota]
        expected, actual = _state("satisfied", expect.negated), _state("satisfied", not met)
        passed = met is not expect.negated
    subject, places = _of(name, expect.slate), (("", _ledger(slate.ranks[name], slate)),)
    if math.isnan(value):
        why = _why_not(name, slate, tested, case)
        return Expectation(expect, False, subject, expected, "not applicable", note=why)
    return Expectation(expect, passed, subject, expected, actual, places, _if_blocked(slate))


def _blocked(expect: policy.ExpectBlocked, slate: Evaluated) -> Expectation:
    name = expect.block
    blocked = slate.blocked if name is None else any(slate.hits[name])
    hits = _hits(slate) if name is None else slate.hits[name]
    subject, places = _of(name or "slate", expect.slate), (("", _ledger(map(float, hits), slate)),)
    expected, actual = _state("blocked", expect.negated), _state("blocked", not blocked)
    note = _hit(slate, name) if name else _if_blocked(slate)
    return Expectation(expect, blocked is not expect.negated, subject, expected, actual, places, note)


def _order(expect: policy.ExpectOrder, slates: _Slates) -> Expectation:
    better, worse = slates[expect.better], slates[expect.worse]
    gap = better.total - worse.total
    subject = f"{expect.better} above {expect.worse}"
    totals = f"{number(better.total)} and {number(worse.total)}"
    places = tuple((name, _ledger(slates[name].totals, slates[name])) for name in (expect.better, expect.worse))
    notes = (f"{name}: {note}" for name in (expect.better, expect.worse) if (note := _if_blocked(slates[name])))
    passed = gap > TOLERANCE + _ROUNDING
    return Expectation(expect, passed, subject, "a higher reward", totals, places, "; ".join(notes))


def _of(subject: str, slate: str) -> str:
    return f"{subject} of {slate}" if slate else subject


def _state(state: str, negated: bool) -> str:
    return f"not {state}" if negated else state


def _ledger(ranks: Iterable[float], slate: Evaluated) -> Ledger:
    return tuple(value if held else None for value, held in zip(ranks, slate.held, strict=True))


def _hits(slate: Evaluated) -> tuple[bool, ...]:
    """Places whose item some block hits."""
    return tuple(any(hits) for hits in zip(*slate.hits.values(), strict=True)) or (False,) * len(slate.held)


def _if_blocked(slate: Evaluated) -> str:
    """What blocks the slate and where, or nothing."""
    return f"{_hit(slate, None)}; a blocked slate is worth nothing" if slate.blocked else ""


def _hit(slate: Evaluated, block: str | None) -> str:
    """The first place that the block (None: any block) hits, or nothing."""
    for name, hits in slate.hits.items():
        if block in (None, name) and any(hits):
            at = hits.index(True)
            why = ", because a column it looks at is missing" if slate.unsure[name][at] else ""
            return f"`{name}` blocks the item at place {at + 1}{why}"
    return ""


def _why_not(name: str, slate: Evaluated, tested: policy.Policy, case: policy.Case) -> str:
    """Why the rule or target does not apply to the case's user."""
    target = next((t for t in tested.targets if t.name == name), None)
    metric = name if target is None else target.metric
    rule = next((r for r in tested.rules if r.name == metric), None)
    only = [target.only if target is not None else None, rule.weight.only if rule is not None else None]
    if any(condition is not None and not slate.inside[condition] for condition in only):
        return f"`{name}` stands in a `when` that is not true of this user"
    measure = rule.measure if isinstance(rule, policy.Reward) else metric
    match measure:
        case policy.Relevance() | policy.Serendipity() if not case.next_items:
            return f"`{name}` needs to know what the user took next: give `next_items [...]`"
        case policy.Spread(column=column) | policy.Serendipity(column=column):
            return f"`{name}` needs a history with a known `{column.name}`: give `history [...]`"
        case _:
            return f"`{name}` has no value for this user"
