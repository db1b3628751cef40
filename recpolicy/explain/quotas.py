"""Describes quotas: what a quota demands of a slate, and what a slate earns that meets it in part."""

from __future__ import annotations

import math
from typing import assert_never

from recpolicy.explain import values
from recpolicy.explain.expressions import condition, label
from recpolicy.explain.values import counted, part, plural, singular, spelled
from recpolicy.language.policy import Bound, Different, Per, Quota, Where


def length(node: Quota, k: int) -> int:
    """Returns the number of places that a percentage in the quota refers to: those of the window, or else all `k`."""
    return k if node.window is None else node.window.length


def slides(node: Quota) -> bool:
    """Returns whether the quota holds for every window of its length, and not for the first places only."""
    return node.window is not None and node.window.sliding


def least(node: Quota, k: int) -> int | None:
    """Returns the smallest number allowed, or None without such a bound. A share p of n places is ceil(p n)."""
    return None if node.at_least is None else math.ceil(_places(node.at_least, length(node, k)) - 1e-9)


def most(node: Quota, k: int) -> int | None:
    """Returns the largest number allowed, or None without such a bound. A share p of n places is floor(p n)."""
    return None if node.at_most is None else math.floor(_places(node.at_most, length(node, k)) + 1e-9)


def demand(node: Quota, k: int) -> str:
    """Returns what the quota asks, after `it asks`: `that in at least 2 of the 10 places the item's price is 3`."""
    if node.window is None:
        whole = f"the {counted(k, 'place')}"
    else:
        whole = f"any {_run(node)}" if node.window.sliding else f"the first {counted(node.window.length, 'place')}"
    match node.counted:
        case Where(predicate=predicate):
            return f"that in {_number(node, k)} of {whole} {condition(predicate)}"
        case Per(column=column):
            return f"that no {singular(label(column))} stands in more than {most(node, k)} of {whole}"
        case Different(column=column):
            return f"for {_number(node, k)} different {plural(singular(label(column)))} in {whole}"
        case _:
            assert_never(node.counted)


def earned(node: Quota, k: int) -> str:
    """Returns what a slate earns that meets the quota in part, and what an unknown value does."""
    low, high = least(node, k), most(node, k)
    runs = ""
    if slides(node) and low is not None:
        runs = f" The average over all {counted(k - length(node, k) + 1, 'run')} of {_run(node)} counts."
    if low is None:
        places = k if slides(node) else length(node, k)
        text = (
            f"Each place with an item within that limit earns {'all' if places == 1 else part(places)} of it; "
            "an item in excess and an empty place nothing."
        )
    elif high is None:
        text = _earned_by_reaching(node, low)
    else:
        text = f"Half of it is for reaching {low}, half for keeping to {high}; whoever gets there in part, gets a part."
    return f"{text}{runs} {_unknown(node)}"


def _earned_by_reaching(node: Quota, low: int) -> str:
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


def _unknown(node: Quota) -> str:
    match node.counted:
        case Where():
            unknown, least_way, most_way = "A place where it is unknown", "does not count", "counts as one of them"
        case Per(column=column):
            return f"Items of unknown {singular(label(column))} count as having the same one."
        case Different(column=column):
            unknown = f"An item of unknown {singular(label(column))}"
            least_way, most_way = "adds none", "adds another one"
    way = least_way if node.at_most is None else most_way if node.at_least is None else "counts against the list"
    return f"{unknown} {way}."


def _number(node: Quota, k: int) -> str:
    low, high = least(node, k), most(node, k)
    shares = [values.percent(b.amount) for b in (node.at_least, node.at_most) if b is not None and b.percent]
    percents = f" ({' to '.join(dict.fromkeys(shares))})" if shares else ""
    if low is None:
        return f"at most {high}{percents}"
    if high is None:
        return f"at least {low}{percents}"
    return f"exactly {low}{percents}" if low == high else f"{low} to {high}{percents}"


def _run(node: Quota) -> str:
    assert node.window is not None
    return f"{counted(node.window.length, 'place')} in a row"


def _places(bound: Bound, places: int) -> float:
    return bound.amount * places if bound.percent else bound.amount
