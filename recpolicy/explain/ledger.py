"""What each place of one list added to a rule in, a sentence that names the places out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

from recpolicy.explain.values import listed
from recpolicy.language.policy import Boost, Portion, Quota, Relevance, Reward, Rule, Serendipity

_NOTHING = 1e-12


def places(rule: Rule, added: Sequence[float], held: Sequence[bool], satisfied: bool | None) -> str:
    """Which places gained or lost.

    `added` is what each place added to the rule's value (its marginals, NaN where the rule says nothing of this user),
    `held` whether an item stands there, `satisfied` whether a quota's demand holds.
    """
    if any(math.isnan(m) for m in added):
        return f"says nothing here: {_silent(rule)}."
    gained = [r for r, m in enumerate(added, 1) if m > _NOTHING]
    idle = [r for r, m in enumerate(added, 1) if held[r - 1] and m <= _NOTHING]
    empty = [r for r, there in enumerate(held, 1) if not there]
    match rule:
        case Reward(measure=Relevance() | Serendipity()):
            said = f"{_named(gained, 'holds', 'hold')} what the user took next" if gained else "no place is a hit"
        case Reward(measure=Portion()) | Boost():
            way = ("counts against the list", "count against the list") if _is_bury(rule) else ("matches", "match")
            said = (
                _named(gained, *way) if gained else "no place counts against the list" if _is_bury(rule) else "no match"
            )
        case Reward():
            said = _most_and_least(added, held)
        case Quota():
            return f"{'met' if satisfied else 'not met'}; {_of_quota(rule, gained, idle)}{_empty(empty)}."
        case _:
            assert_never(rule)
    return f"{said}{_empty(empty)}."


def _silent(rule: Rule) -> str:
    if isinstance(rule, Reward) and isinstance(rule.measure, Relevance | Serendipity):
        return "what the user takes next is not known" + ("" if rule.weight.only is None else ", or it is for others")
    return "it is for other users" if rule.weight.only is not None else "too little is known of the user"


def _is_bury(rule: Rule) -> bool:
    return isinstance(rule, Boost) and rule.bury


def _of_quota(rule: Quota, gained: list[int], idle: list[int]) -> str:
    if rule.at_least is None:
        return _named(idle, "is in excess", "are in excess") if idle else "no place is in excess"
    if rule.at_most is None:
        return _named(gained, "counts towards it", "count towards it") if gained else "no place counts towards it"
    return _named(idle, "adds nothing", "add nothing") if idle else "every item adds to it"


def _most_and_least(added: Sequence[float], held: Sequence[bool]) -> str:
    filled = [r for r, there in enumerate(held, 1) if there]
    if not filled:
        return "nothing to go by"
    best, worst = max(filled, key=lambda r: added[r - 1]), min(filled, key=lambda r: added[r - 1])
    if added[best - 1] - added[worst - 1] <= _NOTHING:
        return "every item adds the same"
    return f"place {best} adds most ({added[best - 1]:.3f}), place {worst} least ({added[worst - 1]:.3f})"


def _empty(places: list[int]) -> str:
    return f"; {_named(places, 'is empty', 'are empty')}" if places else ""


def _named(places: list[int], one: str, several: str) -> str:
    """`place 4 is in excess`, `places 1 and 3 are in excess`."""
    if len(places) == 1:
        return f"place {places[0]} {one}"
    return f"places {listed([str(r) for r in places], 'and')} {several}"
