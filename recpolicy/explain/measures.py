"""Describes what a reward or a target measures."""

from __future__ import annotations

from typing import assert_never

from recpolicy.explain import values
from recpolicy.explain.expressions import condition, label, quantity
from recpolicy.explain.values import a, plural, singular
from recpolicy.language.policy import (
    Average,
    Column,
    Measure,
    Missing,
    Novelty,
    Population,
    Portion,
    Relevance,
    Serendipity,
    Spread,
)
from recpolicy.types import Type

NEAR_THE_TOP = "places near the top count more: the first twice as much as the third"
UNKNOWN = "A place where it is unknown does not count."


def measure(node: Measure, k: int) -> str:
    """Returns what the measure asks of a slate of `k` places, and what earns all of it: two or three sentences."""
    places = values.counted(k, "place")
    match node:
        case Relevance(metric=metric):
            return _RELEVANCE[metric][1].format(places=places)
        case Spread(measure=name, column=column, missing=missing):
            one = singular(label(column))
            text = _SPREAD[name][1].format(one=one, several=plural(one), places=places, unlike=_unlike(column))
            return text + _MISSING[missing]
        case Serendipity(column=column, missing=missing):
            return (
                "It asks for items that the user really took next although they are unlike what the user took before, "
                f"by {label(column)}. It says nothing about users of whom no {singular(label(column))} is known."
                f"{_MISSING[missing]}"
            )
        case Average(measure=name, operand=operand, missing=missing):
            top = f"; {NEAR_THE_TOP}" if name == "discounted" else ""
            return f"It asks how high {quantity(operand)} is on average over the {places}{top}.{_MISSING[missing]}"
        case Novelty():
            return (
                "It asks how little known the items are. An item that nobody or one user has taken counts in full, one "
                "that every user has taken counts nothing."
            )
        case Portion(measure="share", where=where):
            return f"It asks in how many of the {places} {condition(where)}. {UNKNOWN}"
        case Portion(where=where):
            return f"It asks in how much of the list {condition(where)}; {NEAR_THE_TOP}. {UNKNOWN}"
        case _:
            assert_never(node)


def brief(node: Measure | Population) -> str:
    """Returns the measure as a noun phrase: `the share of the places where ...`."""
    match node:
        case Relevance(metric=metric):
            return _RELEVANCE[metric][0]
        case Spread(measure=name, column=column):
            by = f"in their {label(column)}" if column.type.is_measured else f"by {label(column)}"
            return f"{_SPREAD[name][0]} {by}"
        case Novelty():
            return "how little known the items are"
        case Serendipity(column=column):
            return f"how many unexpected items (unlike what the user took before, by {label(column)}) are taken next"
        case Portion(measure=name, where=where):
            top = " (near the top counting more)" if name == "exposure" else ""
            return f"the share of the places{top} where {condition(where)}"
        case Average(measure=name, operand=operand):
            top = " (places near the top counting more)" if name == "discounted" else ""
            return f"the average of {quantity(operand)}{top}"
        case Population(measure=name, column=column):
            noun = "item" if column.name == "id" else singular(label(column))
            return _POPULATION[name].format(one=a(noun), several=plural(noun))
        case _:
            assert_never(node)


# A noun phrase and a sentence for each measure.
_RELEVANCE = {
    "ndcg": (
        "how near the top the items the user took next stand",
        "It asks whether the items that the user really took next are in the list, and how near the top. "
        "A list that starts with them gets all of it.",
    ),
    "hit": (
        "the share of lists with an item the user took next",
        "It asks whether the list holds any item that the user really took next: one is enough to get all of it.",
    ),
    "recall": (
        "the share of the items the user took next that the list holds",
        "It asks how many of the items that the user really took next the list holds. All of them is all of it.",
    ),
    "precision": (
        "the share of the places that hold an item the user took next",
        "It asks how many of the {places} hold an item that the user really took next. All of them is all of it.",
    ),
    "mrr": (
        "how near the top the first item the user took next stands",
        "It asks where the first item stands that the user really took next: the first place gets all of it, the "
        "second half, the third a third.",
    ),
    "lcs": (
        "how many of the items the user took next the list holds in the same order",
        "It asks how many of the items that the user really took next the list holds in the order they were taken. "
        "All of them, or as many as the list has places, is all of it.",
    ),
}
_SPREAD = {
    "distance": (
        "how unlike the items of a list are",
        "It asks how unlike each other the items of a list are, pair by pair: {unlike}.",
    ),
    "distinct": (
        "how many different values a list holds",
        "It asks how many different {several} the list holds, of the most that {places} could hold.",
    ),
    "entropy": (
        "how evenly a list is spread",
        "It asks how evenly the list is spread over {several}. As many as fit, all equally often, is all of it; one "
        "alone is nothing.",
    ),
    "calibration": (
        "how like the user's history a list is",
        "It asks whether the mix of {several} in the list is that of what the user took before. It says nothing about "
        "users of whom no {one} is known.",
    ),
}
_POPULATION = {
    "coverage": "the share of all {several} that are shown to anybody",
    "gini": "how unevenly attention is spread over the {several} (0%: all get the same; 100%: one gets everything; "
    "places near the top count more)",
    "largest_share": "the share of all attention (places near the top count more) that {one} gets at most",
}
_MISSING = {
    Missing.MEAN: "",
    Missing.ZERO: " An item for which this is missing adds nothing.",
    Missing.FAIL: " One item for which this is missing, and the list gets nothing at all.",
}


def _unlike(column: Column) -> str:
    """What makes two items unlike each other."""
    name = label(column)
    if column.type.is_measured:
        return f"the difference in {name}, against the widest difference in the catalog"
    if column.type is Type.LIST:
        return f"two with no {singular(name)} in common are as unlike as can be, two with the same {name} not at all"
    return f"two of different {plural(singular(name))} are unlike, two of the same {singular(name)} are not"
