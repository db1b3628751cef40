"""Finds what changed between the texts of two policies, by name and in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from recpolicy import explain
from recpolicy.explain import values
from recpolicy.language.policy import Block, Policy, Rule, Target

P = TypeVar("P", Rule, Block, Target)


@dataclass(frozen=True)
class Change:
    """One change. `before` and `now` are sentences, or empty."""

    name: str
    what: str
    before: str = ""
    now: str = ""


def changes(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Finds the changes in the order of the new policy, removed parts last. Lines and `let`s do not matter."""
    result = []
    if old.slate != new.slate:
        before, now = (f"A list has {values.counted(p.slate, 'place')}." for p in (old, new))
        result.append(Change("slate", "changed", before, now))
    result += _rules(old, new)
    result += _compared(old.blocks, new.blocks, explain.block, explain.block, new)
    result += _compared(old.targets, new.targets, explain.target, explain.target, new)
    given = {p.name: p.written for p in old.params}
    for param in new.params:
        if given.get(param.name, param.written) != param.written:
            result.append(Change(param.name, "is set to another value", given[param.name], param.written))
    return tuple(result)


def _rules(old: Policy, new: Policy) -> list[Change]:
    def differing(was: Rule, now: Rule) -> tuple[str, str]:
        pairs = [(explain.demand(was, old.slate), explain.demand(now, new.slate))]
        if was.weight != now.weight:
            pairs.insert(0, (explain.weighting(was, old), explain.weighting(now, new)))
        different = [(a, b) for a, b in pairs if a != b]
        return " ".join(a for a, _ in different), " ".join(b for _, b in different)

    return _compared(
        old.rules, new.rules, lambda r: explain.sentence(r, old), lambda r: explain.sentence(r, new), new, differing
    )


def _compared(
    old: Sequence[P],
    new: Sequence[P],
    was: Callable[[P], str],
    now: Callable[[P], str],
    policy: Policy,
    differing: Callable[[P, P], tuple[str, str]] | None = None,
) -> list[Change]:
    """Compares parts of one kind, matched by name; parts without a match are matched by their content."""
    before = {part.name: part for part in old}
    names = {part.name for part in new}
    gone = {name: part for name, part in before.items() if name not in names}
    result = []
    for part in new:
        if part.name in before:
            if (match := before[part.name]) != part:
                texts = differing(match, part) if differing else (was(match), now(part))
                result.append(Change(part.name, "changed", *texts))
            continue
        renamed = next((name for name, p in gone.items() if replace(p, name=part.name) == part), None)
        if renamed is not None:
            del gone[renamed]
            result.append(Change(part.name, f"is the new name of `{renamed}`"))
        else:
            result.append(Change(part.name, "is new", now=now(part)))
    later = {d.name: d.since for d in policy.dormant}
    for name, part in gone.items():
        what = f"holds only from {values.day(later[name])} on" if name in later else "is gone"
        result.append(Change(name, what, was(part)))
    return result
