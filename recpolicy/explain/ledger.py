"""Describes what each place of one slate added to a rule, in a sentence that names the places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

from recpolicy.explain.values import listed
from recpolicy.language.policy import Boost, Portion, Quota, Relevance, Reward, Rule, Serendipity

_NOTHING = 1e-12


def places(rule: Rule, added: Sequence[float], held: Sequence[bool], satisfied: bool | None) -> str:
    """Returns which places gained or lost.

    `added` is what each place added to the rule's value (its marginals, NaN where the rule does not apply to the user),
    `held` whether the place holds an item, `satisfied` whether a quota's demand holds.
    """
    if any(math.isnan(m) for m in added):
        return f"says nothing here: {_reason_not_applicable(rule)}."
    gained = [r for r, m in enumerate(added, 1) if m > _NOTHING]
    idle = [r for r, m in enumerate(added, 1) if held[r - 1] and m <= _NOTHING]
    empty = [r for r, filled in enumerate(held, 1) if not filled]
    match rule:
        case Reward(measure=Relevance() | Serendipity()):
            text = _named(gained, "holds", "hold", " what the user took next") or "no place is a hit"
        case Boost(bury=True):
            against = " against the list"
            text = _named(gained, "counts", "count", against) or f"no place counts{against}"
        case Reward(measure=Portion()) | Boost():
            text = _named(gained, "matches", "match") or "no match"
        case Reward():
            text = _most_and_least(added, held)
        case Quota(at_least=None):
            text = _named(idle, "is", "are", " in excess") or "no place is in excess"
        case Quota(at_most=None):
            text = _named(gained, "counts", "count", " towards it") or "no place counts towards it"
        case Quota():
            text = _named(idle, "adds", "add", " nothing") or "every item adds to it"
        case _:
            assert_never(rule)
    met = "" if not isinstance(rule, Quota) else "met" if satisfied else "not met"
    return "; ".join(filter(None, (met, text, _named(empty, "is", "are", " empty")))) + "."


def _reason_not_applicable(rule: Rule) -> str:
    if isinstance(rule, Reward) and isinstance(rule.measure, Relevance | Serendipity):
        return "what the user takes next is not known" + ("" if rule.weight.only is None else ", or it is for others")
    return "it is for other users" if rule.weight.only is not None else "too little is known of the user"


def _most_and_least(added: Sequence[float], held: Sequence[bool]) -> str:
    filled = [r for r, holds_item in enumerate(held) if holds_item]
    if not filled:
        return "nothing to go by"
    best, worst = max(filled, key=added.__getitem__), min(filled, key=added.__getitem__)
    if added[best] - added[worst] <= _NOTHING:
        return "every item adds the same"
    return f"place {best + 1} adds most ({added[best]:.3f}), place {worst + 1} least ({added[worst]:.3f})"


def _named(places: list[int], one: str, several: str, rest: str = "") -> str:
    """`place 4 is in excess`, `places 1 and 3 are in excess`; empty for no place. `one` and `several` are the verb."""
    if len(places) == 1:
        return f"place {places[0]} {one}{rest}"
    return f"places {listed([str(r) for r in places], 'and')} {several}{rest}" if places else ""
