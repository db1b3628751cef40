"""Finds the best value of each target's metric, with lists that are built for this target alone.

The lists are greedy. Where each place counts by itself in a metric and there is no hard quota, no lists are better. For
other metrics better lists may exist: lists below the bound are improved, and the result has a margin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recpolicy.compiler import CompiledPolicy, CompiledRule, CompiledTarget
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.places import AverageMeasure, ConditionMeasure, NoveltyMeasure
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.errors import Diagnostic
from recpolicy.errors import data_findings as errors
from recpolicy.evaluation import metrics
from recpolicy.explain import values
from recpolicy.language.policy import Missing, Population, Target
from recpolicy.search import greedy
from recpolicy.span import Source, Span

USERS = 200
"""Most users for whom lists are built."""
PAIRS = 40_000_000
"""Most (user, item) pairs from which lists are built: beyond 200,000 items fewer users have lists."""
EVERYBODY = 4_000_000
"""Most (user, item) pairs for which a target on all users together has lists for more than USERS users."""
ROUNDS = 8
"""Number of mixtures of two targets."""
SLACK = 1e-6
MARGIN = 0.05
"""How much better other lists may be, where greedy ones are not always the best.

It is a share of the best value; for an at-most on a mean, where the best value may be near 0, a share of the whole
scale; for all users together, the share of one list in all lists is added.
"""


@dataclass(frozen=True)
class Feasibility:
    """The best value for a target alone, compared with its bound."""

    target: Target
    bound: float
    """In units of the metric; NaN where it is a share of an unknown baseline."""
    best: float
    """Mean over users, or the value of all users together; NaN where it is not known."""
    users: int
    """Number of users with lists."""
    error: float
    """How much better the mean over all users may be than that over the drawn users: three standard errors."""
    certain: bool
    """Whether no other lists are better."""
    margin: float = 0.0
    """How much better other lists may be."""
    how: str = ""
    """The origin of `best`, in words."""

    @property
    def met(self) -> bool | None:
        """Whether the best value meets the bound; None where either is not known."""
        return None if np.isnan(self.short) else bool(self.short <= self.error + SLACK)

    @property
    def within(self) -> bool | None:
        """Whether other lists may reach the bound; None where it or the best value is not known."""
        return None if np.isnan(self.short) else bool(self.short <= self.error + self.margin + SLACK)

    @property
    def short(self) -> float:
        """Distance of the best value to the bound; negative where it is better than the bound."""
        return (self.bound - self.best) * (1.0 if self.target.op == ">=" else -1.0)


def of_targets(
    compiled: CompiledPolicy, rows: Rows, baseline: Mapping[str, float] | None = None, *, seed: int = 0
) -> tuple[Feasibility, ...]:
    """Computes the feasibility of every target, in the policy's order. `rows` are all users, with their next items.

    `baseline`: the baseline's value of each target's metric, by the target's name. Without it a bound that is a share
    of the baseline is not judged; neither is a target that is about none of the rows.
    """
    return tuple(of_target(compiled, target, rows, baseline, seed=seed) for target in compiled.targets)


def of_target(
    compiled: CompiledPolicy,
    target: CompiledTarget,
    rows: Rows,
    baseline: Mapping[str, float] | None = None,
    *,
    drawn: bool = False,
    seed: int = 0,
) -> Feasibility:
    """Computes the feasibility of one target for at most USERS of its users. `drawn`: `rows` are some of all users."""
    bound, name = target.target.bound, target.target.name
    if target.target.of_baseline:
        bound *= (baseline or {}).get(name, np.nan)
    metric = target.metric
    if isinstance(metric, PopulationMetric):
        return _of_population(compiled, target, metric, bound, rows)
    about = np.flatnonzero(
        metric.applicable(CandidateBatch(compiled.catalog, rows, np.zeros((len(rows), 0), np.int32)))
    )
    if not len(about) or np.isnan(bound):
        return Feasibility(target.target, bound, np.nan, 0, 0.0, False)
    some = rows.take(about).sample(_most(compiled), seed)
    certain = _each_place_by_itself(metric) and not compiled.hard_quotas
    lists = greedy.lists(compiled, some, [(target, 1.0)])

    def result(lists: Slates) -> Feasibility:
        values = compiled.target_values(some, lists)[name]
        error = 3 * float(values.std() / np.sqrt(len(some))) if drawn or len(some) < len(about) else 0.0
        best = float(values.mean())
        how = f"the mean of the best lists found for {_users(len(some))}"
        margin = 0.0 if certain else MARGIN * best if target.sign > 0 else MARGIN
        return Feasibility(target.target, bound, best, len(some), error, certain, margin, how)

    out = result(lists)
    return out if out.met or certain else result(greedy.improved(compiled, some, target, lists, seed))


def by_counting(target: Target, metric: PopulationMetric, users: int, k: int) -> Feasibility:
    """Computes the best value that any lists of `k` places for so many users can have, by counting.

    It is not known where the target asks for little coverage or much concentration, which any lists can have.
    """
    size = metric.column.size
    shown = min(size, users * k * metric.column.longest)
    match metric.measure:
        case "coverage":
            best, op = shown / max(size, 1), ">="
        case "gini":  # equal among the values shown
            best, op = (size - shown) / max(size - 1, 1), "<="
        case "largest_share":
            best, op = 1 / max(shown, 1), "<="
    how = f"{users:,} lists of {k} places show {shown:,} of {size:,} values at the most"
    return Feasibility(target, target.bound, best if shown and target.op == op else np.nan, users, 0.0, True, how=how)


def finding(
    reach: Feasibility, compiled: CompiledPolicy, span: Span | None = None, source: Source | None = None
) -> Diagnostic:
    """Builds the finding about a target out of reach, at its own place or at `span`."""
    target, place = reach.target, reach.target.span if span is None else span
    best = reach.best * target.bound / reach.bound if target.of_baseline and reach.bound else reach.best
    of = " of baseline" if target.of_baseline else ""
    counted = isinstance(target.metric, Population) and reach.certain
    barred = not counted and bool(compiled.blocks or compiled.hard_quotas)
    return errors.out_of_reach(
        place, target.name, target.op, target.bound, best, of, reach.how, reach.certain, barred, source
    )


# ---- two targets ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two targets, each within reach alone, and their values for the lists that are nearest to both."""

    names: tuple[str, str]
    found: tuple[float, float]
    together: bool

    @property
    def warning(self) -> str:
        """The warning about two targets that are not met together."""
        first, second = (values.share(value) for value in self.found)
        return (
            f"`{self.names[0]}` and `{self.names[1]}` are each within reach, but no lists were found that reach both: "
            f"those nearest to it have {first} and {second}"
        )


def pairs(compiled: CompiledPolicy, rows: Rows, reached: Sequence[Feasibility], *, seed: int = 0) -> tuple[Pair, ...]:
    """Builds lists for every two targets that need no labels and are met in `reached`, the result of `of_targets`.

    A list takes the items that add most to a mixture of both metrics. The mixture shifts to the metric that is below
    its bound (bisection: the multipliers of two constraints, on a line) until both are met or none is. Then some users
    have the lists of one side and the others those of the other side. The lists are for at most USERS of the rows; a
    target that its own lists do not meet for these is left out. Better lists may exist, so this is only a warning.
    """
    some = rows.sample(_most(compiled), seed)
    bounds = {r.target.name: r.bound for r in reached if r.met}
    free = [t for t in compiled.targets if not t.needs_labels and t.target.name in bounds]
    if len(free) < 2:
        return ()
    alone = {t.target.name: greedy.lists(compiled, some, [(t, 1.0)]) for t in free}
    met = [t for t in free if _short(compiled, some, alone[t.target.name], t, bounds) <= SLACK]
    return tuple(_pair(compiled, some, (a, b), alone, bounds) for a, b in combinations(met, 2))


def _pair(
    compiled: CompiledPolicy,
    rows: Rows,
    both: tuple[CompiledTarget, CompiledTarget],
    alone: Mapping[str, Slates],
    bounds: Mapping[str, float],
) -> Pair:
    names = both[0].target.name, both[1].target.name
    sides = [alone[name] for name in names]
    tried: list[tuple[float, tuple[float, float]]] = []  # the larger distance to a bound, and both values

    def distances(lists: Slates) -> tuple[float, float]:
        first, second = (_short(compiled, rows, lists, target, bounds) for target in both)
        value = bounds[names[0]] - both[0].sign * first, bounds[names[1]] - both[1].sign * second
        tried.append((max(first, second), value))
        return first, second

    low, high = 0.0, 1.0
    for _ in range(ROUNDS):
        mix = (low + high) / 2
        lists = greedy.lists(compiled, rows, [(both[0], 1.0 - mix), (both[1], mix)])
        first, second = distances(lists)
        if (first <= SLACK) == (second <= SLACK):
            break
        if first <= SLACK:
            low, sides[0] = mix, lists
        else:
            high, sides[1] = mix, lists
    turn = np.random.default_rng(0).permutation(len(rows))[:, None] / len(rows)
    for part in range(1, ROUNDS) if min(tried)[0] > SLACK else ():
        distances(Slates(np.where(turn < part / ROUNDS, sides[0].items, sides[1].items)))
    distance, nearest = min(tried)
    return Pair(names, nearest, distance <= SLACK)


def _short(
    compiled: CompiledPolicy, rows: Rows, lists: Slates, target: CompiledTarget, bounds: Mapping[str, float]
) -> float:
    """The distance of lists to a target's bound, 0 or negative where it is met; infinite where it is about no row."""
    name = target.target.name
    if isinstance(target.metric, PopulationMetric):
        return target.sign * (bounds[name] - target.metric.value(lists))
    value = metrics.mean(compiled.target_values(rows, lists)[name])
    return np.inf if np.isnan(value) else target.sign * (bounds[name] - value)


# ---- inside ---------------------------------------------------------------------------------------------------------


def _of_population(
    compiled: CompiledPolicy, target: CompiledTarget, metric: PopulationMetric, bound: float, rows: Rows
) -> Feasibility:
    """By counting, and by lists where all users can have lists, since fewer users can be shown less."""
    counted = replace(by_counting(target.target, metric, len(rows), compiled.policy.slate), bound=bound)
    most = max(USERS, EVERYBODY // max(1, compiled.catalog.items))
    if counted.within is False or len(rows) > most or not metric.column.size or not len(rows):
        return counted
    best = metric.value(greedy.lists(compiled, rows, [(target, 1.0)]))
    how = f"the best lists found for {_users(len(rows))}, all together"
    return Feasibility(target.target, bound, best, len(rows), 0.0, False, MARGIN * best + 1.0 / len(rows), how)


def _most(compiled: CompiledPolicy) -> int:
    """The most users for whom lists are built."""
    return max(1, min(USERS, PAIRS // max(1, compiled.catalog.items)))


def _users(count: int) -> str:
    return f"{count:,} users" if count != 1 else "the only user"


def _each_place_by_itself(metric: CompiledRule) -> bool:
    measure = metric.measure
    return isinstance(measure, ConditionMeasure | NoveltyMeasure | RelevanceMeasure) or (
        isinstance(measure, AverageMeasure) and measure.missing_as is not Missing.FAIL
    )
