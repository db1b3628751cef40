"""An expectation and the evaluated slates of its case in, whether it holds and what was found out."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    """One expectation held against what was found.

    `subject`, `expected` and `found` in words; `places` what each place adds, by slate (one, or two that are compared);
    `note` says more where it fails.
    """

    expect: policy.Expect
    passed: bool
    subject: str
    expected: str
    found: str
    places: tuple[tuple[str, Ledger], ...] = ()
    note: str = ""


def verdict(expect: policy.Expect, slates: _Slates, asked: policy.Policy, case: policy.Case) -> Expectation:
    """Whether the expectation holds, within `TOLERANCE`; it fails where its rule is not applicable to the user."""
    match expect:
        case policy.ExpectValue():
            return _value(expect, slates[expect.slate], asked, case)
        case policy.ExpectSatisfied():
            return _satisfied(expect, slates[expect.slate], asked, case)
        case policy.ExpectBlocked():
            return _blocked(expect, slates[expect.slate])
        case policy.ExpectOrder():
            return _order(expect, slates)
        case _:
            assert_never(expect)


def number(value: float) -> str:
    """A value as reports show it: up to four decimals, which is finer than the tolerance."""
    return f"{round(value, 4) + 0.0:g}"


def _value(expect: policy.ExpectValue, slate: Evaluated, asked: policy.Policy, case: policy.Case) -> Expectation:
    found, subject, expected = slate.values[expect.rule], _of(expect.rule, expect.slate), number(expect.value)
    if math.isnan(found):
        why = _why_not(expect.rule, slate, asked, case)
        return Expectation(expect, False, subject, expected, "not applicable", note=why)
    passed = abs(found - expect.value) <= TOLERANCE + _ROUNDING
    places = (("", _ledger(slate.ranks[expect.rule], slate)),)
    return Expectation(expect, passed, subject, expected, number(found), places, _if_blocked(slate))


def _satisfied(
    expect: policy.ExpectSatisfied, slate: Evaluated, asked: policy.Policy, case: policy.Case
) -> Expectation:
    subject, expected = _of(expect.quota, expect.slate), _state("satisfied", expect.negated)
    if math.isnan(slate.values[expect.quota]):
        why = _why_not(expect.quota, slate, asked, case)
        return Expectation(expect, False, subject, expected, "not applicable", note=why)
    found = slate.satisfied[expect.quota]
    places = (("", _ledger(slate.ranks[expect.quota], slate)),)
    passed = found is not expect.negated
    return Expectation(expect, passed, subject, expected, _state("satisfied", not found), places, _if_blocked(slate))


def _blocked(expect: policy.ExpectBlocked, slate: Evaluated) -> Expectation:
    name = expect.block
    found = slate.blocked if name is None else any(slate.hits[name])
    hits = _hits(slate) if name is None else slate.hits[name]
    subject, places = _of(name or "slate", expect.slate), (("", _ledger([float(hit) for hit in hits], slate)),)
    expected, seen = _state("blocked", expect.negated), _state("blocked", not found)
    note = _hit(slate, name) if name else _if_blocked(slate)
    return Expectation(expect, found is not expect.negated, subject, expected, seen, places, note)


def _order(expect: policy.ExpectOrder, slates: _Slates) -> Expectation:
    better, worse = slates[expect.better], slates[expect.worse]
    gap = better.total - worse.total
    subject = f"{expect.better} above {expect.worse}"
    found = f"{number(better.total)} and {number(worse.total)}"
    places = tuple((name, _ledger(slates[name].totals, slates[name])) for name in (expect.better, expect.worse))
    notes = [f"{name}: {note}" for name in (expect.better, expect.worse) if (note := _if_blocked(slates[name]))]
    note = "; ".join(notes)
    return Expectation(expect, gap > TOLERANCE + _ROUNDING, subject, "a higher reward", found, places, note)


def _of(subject: str, slate: str) -> str:
    return f"{subject} of {slate}" if slate else subject


def _state(state: str, negated: bool) -> str:
    return f"not {state}" if negated else state


def _ledger(ranks: list[float] | tuple[float, ...], slate: Evaluated) -> Ledger:
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


def _why_not(name: str, slate: Evaluated, asked: policy.Policy, case: policy.Case) -> str:
    """Why the rule or target is not applicable to the case's user."""
    target = next((t for t in asked.targets if t.name == name), None)
    metric = name if target is None else target.metric
    rule = next((r for r in asked.rules if r.name == metric), None)
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
