"""A quota in, what it asks of a list and what earns how much of it out."""

from __future__ import annotations

import math
from typing import assert_never

from recpolicy.explain import values
from recpolicy.explain.expressions import condition, label
from recpolicy.explain.values import counted, part, plural, singular, spelled
from recpolicy.language.policy import Bound, Different, Per, Quota, Where


def length(node: Quota, k: int) -> int:
    """How many places the quota looks at once: its percentages are of them."""
    return k if node.window is None else node.window.length


def least(node: Quota, k: int) -> int | None:
    """The smallest number that is allowed; None where there is none. A share p of n places is ceil(p n)."""
    return None if node.at_least is None else math.ceil(_places(node.at_least, length(node, k)) - 1e-9)


def most(node: Quota, k: int) -> int | None:
    """The largest number that is allowed; None where there is none. A share p of n places is floor(p n)."""
    return None if node.at_most is None else math.floor(_places(node.at_most, length(node, k)) + 1e-9)


def asked(node: Quota, k: int) -> str:
    """`it asks that in at least 2 of the 10 places the item's age is below 90 days`."""
    match node.counted:
        case Where(predicate=predicate):
            return f"it asks that in {_number(node, k)} of {_whole(node, k)} {condition(predicate)}"
        case Per(column=column):
            limit = most(node, k)
            return f"it asks that no {singular(label(column))} stands in more than {limit} of {_whole(node, k)}"
        case Different(column=column):
            nouns = plural(singular(label(column)))
            return f"it asks for {_number(node, k)} different {nouns} in {_whole(node, k)}"
        case _:
            assert_never(node.counted)


def earned(node: Quota, k: int) -> str:
    """What a list gets that meets the quota in part, and what an unknown value does."""
    low, high = least(node, k), most(node, k)
    runs = ""
    if node.window is not None and node.window.sliding and low is not None:
        runs = f" The average over all {counted(k - node.window.length + 1, 'run')} of {_row(node)} counts."
    if low is not None and high is not None:
        return (
            f"Half of it is for reaching {low}, half for keeping to {high}; whoever gets there in part, gets a part."
            f"{runs} {_unknown(node)}"
        )
    return f"{_reached(node, low) if low is not None else _kept(node, k)}{runs} {_unknown(node)}"


def _reached(node: Quota, low: int) -> str:
    one = singular(label(node.counted.column)) if isinstance(node.counted, Different) else "such place"
    match low:
        case 0:
            return "Every list meets it; empty places alone lose their part."
        case 1:
            return f"One {one} earns all of it, none earns nothing."
        case 2:
            return f"Two {plural(one)} earn all of it, one earns half."
        case _:
            return f"{spelled(low).capitalize()} {plural(one)} earn all of it, and each of them {part(low)}."


def _kept(node: Quota, k: int) -> str:
    places = k if node.window is None or node.window.sliding else node.window.length
    share = "all" if places == 1 else part(places)
    return (
        f"Each place with an item within that limit earns {share} of it; an item in excess and an empty place nothing."
    )


def _unknown(node: Quota) -> str:
    only_least, only_most = node.at_most is None, node.at_least is None
    match node.counted:
        case Where():
            way = (
                "does not count" if only_least else "counts as one of them" if only_most else "counts against the list"
            )
            return f"A place where it is unknown {way}."
        case Per(column=column):
            return f"Items of unknown {singular(label(column))} count as having the same one."
        case Different(column=column):
            way = "adds none" if only_least else "adds another one" if only_most else "counts against the list"
            return f"An item of unknown {singular(label(column))} {way}."


def _number(node: Quota, k: int) -> str:
    low, high = least(node, k), most(node, k)
    shares = [values.percent(b.amount) for b in (node.at_least, node.at_most) if b is not None and b.percent]
    said = f" ({' to '.join(dict.fromkeys(shares))})" if shares else ""
    if low is None:
        return f"at most {high}{said}"
    if high is None:
        return f"at least {low}{said}"
    return f"exactly {low}{said}" if low == high else f"{low} to {high}{said}"


def _whole(node: Quota, k: int) -> str:
    if node.window is None:
        return f"the {counted(k, 'place')}"
    return f"any {_row(node)}" if node.window.sliding else f"the first {counted(node.window.length, 'place')}"


def _row(node: Quota) -> str:
    assert node.window is not None
    return f"{counted(node.window.length, 'place')} in a row"


def _places(bound: Bound, places: int) -> float:
    return bound.amount * places if bound.percent else bound.amount
