"""Candidates and what targets are to reach in, how hard each must pull for the re-ranked slates to reach it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from recpolicy import metrics
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Rows, Slates
from recpolicy.rerank import rerank
from recpolicy.table import Codes, Floats

CAP = 50.0
"""Largest multiplier: a place adds about 1 / K of a metric, and all of a user's scores lie within 1."""
CLOSE = 0.02
"""Share of itself that a multiplier may be too large by."""
NEAR = 1.1
"""First step from where a multiplier was, as a factor."""
ROUNDS = 10
"""How often each multiplier is set anew, the others having moved."""


def solve(
    candidates: Codes,
    scores: Floats,
    rows: Rows,
    compiled: CompiledPolicy,
    mu: float,
    aims: Mapping[str, tuple[Literal[">=", "<="], float]],
    shown: Slates | None = None,
) -> dict[str, float]:
    """The smallest multipliers, by the target's name, with which `rerank` of these rows reaches the aims; 0 to CAP.

    An aim is a bound on the target's mean over the users it is about, or on its measure over all slates; the operator
    is the target's own, else ValueError. Aims of targets that need labels, or that are about none of the rows, get no
    multiplier. Each multiplier is set by bisection while the others stand (more of it is taken to move the metric no
    less), in turn, until none moves. Where an aim is not reached below CAP, its multiplier is the one that came
    nearest: whether all aims are reached is for the caller to see in the slates. The other arguments are those of
    `rerank`.
    """
    targets = {t.target.name: t for t in compiled.targets if t.target.name in aims and not t.needs_labels}
    if wrong := [name for name, t in targets.items() if t.target.op != aims[name][0]]:
        raise ValueError(f"`{wrong[0]}` asks for {targets[wrong[0]].target.op}, its aim for {aims[wrong[0]][0]}")
    found: dict[tuple[float, ...], dict[str, float]] = {}

    def short(name: str, multipliers: Mapping[str, float]) -> float:
        """How much the slates lack of the aim; negative where they go beyond."""
        if (key := tuple(multipliers.values())) not in found:
            slates = rerank(candidates, scores, rows, compiled, mu, multipliers, shown)
            values = compiled.target_values(rows, slates)
            means = {n: metrics.mean(v) for n, v in values.items() if n in targets} | compiled.population(rows, slates)
            found[key] = {n: aims[n][1] - v for n, v in means.items() if n in aims and not np.isnan(v)}
        return targets[name].sign * found[key].get(name, 0.0)

    out = dict.fromkeys(targets, 0.0)
    for _ in range(ROUNDS):
        before = dict(out)
        for name in targets:
            out[name] = _least(lambda multiplier, name=name: short(name, out | {name: multiplier}), out[name])  # type: ignore[misc]
        if len(targets) < 2 or all(abs(out[name] - before[name]) <= CLOSE * out[name] for name in targets):
            break
    return out


def _least(short: Callable[[float], float], start: float) -> float:
    """The smallest multiplier up to CAP at which nothing is short, within CLOSE; `start` is where it was before.

    In ever larger steps from there, until it lies between two of them.
    """
    if not start and short(0.0) <= 0.0:
        return 0.0
    low, high, step = 0.0, start or 1.0, NEAR if start else 2.0
    if short(high) <= 0.0:
        while (low := high / step if high > CLOSE else 0.0) and short(low) <= 0.0:
            high, step = low, step**2
        if not low and short(0.0) <= 0.0:
            return 0.0
    else:
        tried = {0.0: short(0.0)}
        while (lack := short(high)) > 0.0:
            tried[high] = lack
            if high == CAP:
                return min(tried, key=lambda multiplier: (tried[multiplier], multiplier))
            low, high, step = high, min(high * step, CAP), min(step**2, 2.0)
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) > 0.0 else (low, middle)
    return high
