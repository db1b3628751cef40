"""Measures over the slates of all users, straight from the definitions."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from recpolicy.language.policy import Population
from tests.rewards.reference.expressions import Expressions
from tests.rewards.reference.quotas import Slate
from tests.rewards.world import World


def exposures(measure: Population, world: World, slates: list[Slate]) -> dict[Any, float]:
    """Of every value of the catalog, over one slate a user."""
    of = Expressions(world, 0, len(slates[0]))
    exposure: defaultdict[Any, float] = defaultdict(float)
    for item in range(len(world.items)):
        for value in of.values_of(item, measure.column.name) or ():
            exposure[value] += 0.0
    for slate in slates:
        for r, shown in enumerate(slate, 1):
            values = [] if shown is None else of.values_of(shown, measure.column.name) or []
            for value in values:
                exposure[value] += 1 / math.log2(r + 1) / len(values)
    return exposure


def population(measure: Population, world: World, slates: list[Slate]) -> float:
    """Over one slate a user."""
    return evenness(measure, list(exposures(measure, world, slates).values()))


def slopes(measure: Population, exposure: dict[Any, float]) -> dict[Any, float]:
    """Central differences in the exposure of each value, scaled as `Crowd.slopes` says."""
    x, names, small = list(exposure.values()), list(exposure), 1e-6
    if measure.measure == "coverage":
        return {name: math.exp(-e) for name, e in exposure.items()}
    f, out = evenness(measure, x), {}
    for i, name in enumerate(names):
        after, before = ([e + side * small * (i == j) for j, e in enumerate(x)] for side in (1, -1))
        out[name] = (evenness(measure, after) - evenness(measure, before)) / (2 * small) * sum(x)
    if measure.measure == "gini":
        return {name: slope / (1 + f) for name, slope in out.items()}
    largest = [name for name in names if abs(exposure[name] - max(x)) < small]
    return {name: (1 / len(largest) if name in largest else 0.0) - f if sum(x) else 0.0 for name in names}


def evenness(measure: Population, x: list[float]) -> float:
    """Of these exposures."""
    n = len(x)
    if not sum(x):
        return 0.0
    match measure.measure:
        case "coverage":
            return sum(v > 0 for v in x) / n
        case "largest_share":
            return max(x) / sum(x)
        case "gini":  # mean absolute difference of different values, over twice the mean
            if n == 1:
                return 0.0
            differences = [abs(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
            return sum(differences) / len(differences) / (2 * sum(x) / n)
