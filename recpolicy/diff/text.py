"""Two policies in, what changed in what they say out: by name, in the words of a product team."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from recpolicy import explain
from recpolicy.explain import values
from recpolicy.language.policy import Block, Policy, Rule, Target

Part: TypeAlias = Rule | Block | Target
P = TypeVar("P", Rule, Block, Target)


@dataclass(frozen=True)
class Change:
    """One thing that changed. `before` and `now` are sentences; empty where there is nothing to say."""

    name: str
    what: str
    before: str = ""
    now: str = ""


def changes(old: Policy, new: Policy) -> tuple[Change, ...]:
    """What changed, in the order of the new policy, what is gone last. Places in the file and `let`s do not matter."""
    found = [*_header(old, new)]
    for own in (_rules, _blocks, _targets):
        found += own(old, new)
    given = {p.name: p.written for p in old.params}
    for param in new.params:
        if given.get(param.name, param.written) != param.written:
            found.append(Change(param.name, "is set to another value", given[param.name], param.written))
    return tuple(found)


def _header(old: Policy, new: Policy) -> list[Change]:
    if old.slate == new.slate:
        return []
    before, now = (f"A list has {values.counted(p.slate, 'place')}." for p in (old, new))
    return [Change("slate", "changed", before, now)]


def _rules(old: Policy, new: Policy) -> list[Change]:
    def differing(was: Rule, now: Rule) -> tuple[str, str]:
        said = [(explain.asks(was, old.slate), explain.asks(now, new.slate))]
        if was.weight != now.weight:
            said.insert(0, (explain.weighs(was, old), explain.weighs(now, new)))
        unlike = [(a, b) for a, b in said if a != b]
        return " ".join(a for a, _ in unlike), " ".join(b for _, b in unlike)

    return _compared(
        old.rules, new.rules, lambda r: explain.said(r, old), lambda r: explain.said(r, new), differing, new
    )


def _blocks(old: Policy, new: Policy) -> list[Change]:
    def both(was: Block, now: Block) -> tuple[str, str]:
        return explain.block(was), explain.block(now)

    return _compared(old.blocks, new.blocks, explain.block, explain.block, both, new)


def _targets(old: Policy, new: Policy) -> list[Change]:
    def both(was: Target, now: Target) -> tuple[str, str]:
        return explain.target(was), explain.target(now)

    return _compared(old.targets, new.targets, explain.target, explain.target, both, new)


def _compared(
    old: Sequence[P],
    new: Sequence[P],
    was: Callable[[P], str],
    now: Callable[[P], str],
    differing: Callable[[P, P], tuple[str, str]],
    policy: Policy,
) -> list[Change]:
    """Parts of one kind, matched by name, and those without a match by what they say."""
    before = {part.name: part for part in old}
    names = {part.name for part in new}
    gone = {name: part for name, part in before.items() if name not in names}
    found = []
    for part in new:
        if part.name in before:
            if before[part.name] != part:
                found.append(Change(part.name, "changed", *differing(before[part.name], part)))
            continue
        renamed = next((name for name, p in gone.items() if replace(p, name=part.name) == part), None)
        if renamed is not None:
            del gone[renamed]
            found.append(Change(part.name, f"is the new name of `{renamed}`"))
        else:
            found.append(Change(part.name, "is new", now=now(part)))
    later = {d.name: d.since for d in policy.dormant}
    for name, part in gone.items():
        what = f"holds only from {values.day(later[name])} on" if name in later else "is gone"
        found.append(Change(name, what, was(part)))
    return found
