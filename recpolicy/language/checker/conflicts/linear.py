"""Finds linear inequalities over whole numbers that cannot hold together."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import TypeAlias

Row: TypeAlias = dict[int, int]
"""Coefficients by the number of the variable; every variable is 0 or more."""

Inequality: TypeAlias = tuple[Row, int]
"""`sum of coefficient x variable <= bound`."""

MOST_STEPS = 200
"""Pivots after which the search stops; a policy of a few dozen quotas needs about ten."""


def refute(inequalities: Sequence[Inequality]) -> set[int] | None:
    """Finds the indices of inequalities that contradict each other; None if real numbers meet all, or after MOST_STEPS.

    Dual simplex (Lemke 1954) with nothing to minimise, on rows of whole numbers, so it is exact. The row that stops it
    is a sum of the inequalities returned, each with a positive factor, that says `0 or more <= less than 0`. Short rows
    go first: they keep the others short.
    """
    first_slack = 1 + max((v for left, _ in inequalities for v in left), default=-1)
    table = [{**{v: c for v, c in left.items() if c}, first_slack + i: 1} for i, (left, _) in enumerate(inequalities)]
    bounds = [bound for _, bound in inequalities]
    for _ in range(MOST_STEPS):
        at = min((i for i, bound in enumerate(bounds) if bound < 0), key=lambda i: len(table[i]), default=None)
        if at is None:
            return None
        entering = min((v for v, c in table[at].items() if c < 0), default=None)
        if entering is None:
            return {v - first_slack for v in table[at] if v >= first_slack}
        pivot = table[at], bounds[at] = {v: -c for v, c in table[at].items()}, -bounds[at]
        for i, row in enumerate(table):
            if i != at and entering in row:
                table[i], bounds[i] = _without(entering, (row, bounds[i]), pivot)
    return None


def _without(variable: int, inequality: Inequality, pivot: Inequality) -> Inequality:
    """The inequality less a multiple of `pivot`, in which `variable` is positive, so that `variable` vanishes."""
    (row, bound), (other, other_bound) = inequality, pivot
    scale, factor = other[variable], row[variable]
    out = {v: c * scale for v, c in row.items()}
    for v, c in other.items():
        if not (changed := out.get(v, 0) - factor * c):
            del out[v]
        else:
            out[v] = changed
    bound = bound * scale - factor * other_bound
    shared = gcd(bound, *out.values()) or 1
    return {v: c // shared for v, c in out.items()}, bound // shared
