"""A compiled policy and rows of users in, the best value that lists made for nothing else find for each target out.

Of a metric in which each place counts by itself no lists are better than these greedy ones, where no hard quota holds.
Of others better ones may exist: where they fall short they are improved, and a margin is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recpolicy.compiler import CompiledPolicy, CompiledRule, CompiledTarget
from recpolicy.compiler.places import Averaged, Matching, Surprising
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.quotas import Demand
from recpolicy.compiler.relevance import Labelled
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.errors import Diagnostic
from recpolicy.errors import catalog as errors
from recpolicy.evaluation import metrics
from recpolicy.explain import values
from recpolicy.language.policy import Missing, Population, Target
from recpolicy.search import greedy
from recpolicy.span import Source, Span

USERS = 200
"""Users for whom lists are made."""
EVERYBODY = 4_000_000
"""Most (user, item) pairs for which a target on all users together is given lists of more than USERS users."""
ROUNDS = 8
"""Mixtures of two targets that are tried."""
SLACK = 1e-6
MARGIN = 0.05
"""How much better lists may be that were not looked at, where greedy ones need not be the best.

A share of the best found; for an at-most on a mean, where the best found may be near 0, of the whole scale; on all
users together, one list's share of everything shown is added.
"""


@dataclass(frozen=True)
class Feasibility:
    """How near lists made for a target alone come to its bound."""

    target: Target
    bound: float
    """As the metric counts; NaN where it is a share of a baseline that is not known."""
    best: float
    """Mean over users, or of all users together; NaN where it is not known."""
    users: int
    """How many users lists were made for."""
    error: float
    """How much better the mean over all users may be than that over those who were drawn: three standard errors."""
    certain: bool
    """No list is better than the best found."""
    margin: float = 0.0
    """How much better lists may be that were not looked at."""
    how: str = ""
    """How `best` came about."""

    @property
    def met(self) -> bool | None:
        """Whether the best found meets the bound; None where either is not known."""
        return None if np.isnan(self.short) else bool(self.short <= self.error + SLACK)

    @property
    def within(self) -> bool | None:
        """Whether the bound may be within reach, by other lists too; None where it or the best is not known."""
        return None if np.isnan(self.short) else bool(self.short <= self.error + self.margin + SLACK)

    @property
    def short(self) -> float:
        """How much the best found falls short of the bound; negative where it goes beyond."""
        return (self.bound - self.best) * (1.0 if self.target.op == ">=" else -1.0)


def of_targets(
    compiled: CompiledPolicy, rows: Rows, baseline: Mapping[str, float] | None = None, *, seed: int = 0
) -> tuple[Feasibility, ...]:
    """Every target of the policy, in its order. `rows` are everybody who will be judged, with what they took next.

    `baseline`: what the baseline has of each target's metric, by the target's name; without it a bound that is a share
    of the baseline is not judged, nor is a target that is about none of the rows.
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
    """One target; at most USERS of the users it is about are looked at. `drawn`: `rows` are some of more users."""
    bound, name = target.target.bound, target.target.name
    if target.target.of_baseline:
        bound *= (baseline or {}).get(name, np.nan)
    metric = target.metric
    if isinstance(metric, PopulationMetric):
        return _of_population(compiled, target, metric, bound, rows)
    about = np.flatnonzero(metric.applicable(Pool(compiled.catalog, rows, np.zeros((len(rows), 0), np.int32))))
    if not len(about) or np.isnan(bound):
        return Feasibility(target.target, bound, np.nan, 0, 0.0, False)
    some = rows.take(about).sample(USERS, seed)
    certain = _each_place_by_itself(metric) and not _hard(compiled)
    lists = greedy.lists(compiled, some, [(target, 1.0)])

    def found(lists: Slates) -> Feasibility:
        each = compiled.target_values(some, lists)[name]
        error = 3 * float(each.std() / np.sqrt(len(some))) if drawn or len(some) < len(about) else 0.0
        best = float(each.mean())
        how = f"the mean of the best lists found for {_users(len(some))}"
        margin = 0.0 if certain else MARGIN * best if target.sign > 0 else MARGIN
        return Feasibility(target.target, bound, best, len(some), error, certain, margin, how)

    out = found(lists)
    return out if out.met or certain else found(greedy.improved(compiled, some, target, lists, seed))


def by_counting(target: Target, metric: PopulationMetric, users: int, k: int) -> Feasibility:
    """The best that lists of `k` places for so many users can come to, whatever they hold.

    Not known where the target asks for what comes by itself: little coverage, much concentration.
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
    found: Feasibility, compiled: CompiledPolicy, span: Span | None = None, source: Source | None = None
) -> Diagnostic:
    """What is said of a target out of reach, where it stands or at `span`."""
    target, place = found.target, found.target.span if span is None else span
    best = found.best * target.bound / found.bound if target.of_baseline and found.bound else found.best
    of = " of baseline" if target.of_baseline else ""
    counted = isinstance(target.metric, Population) and found.certain
    barred = not counted and (bool(compiled.blocks) or _hard(compiled))
    return errors.out_of_reach(
        place, target.name, target.op, target.bound, best, of, found.how, found.certain, barred, source
    )


# ---- two targets ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two targets, each within reach alone, and the lists that come nearest to both."""

    names: tuple[str, str]
    found: tuple[float, float]
    together: bool

    @property
    def warning(self) -> str:
        """What to say of two targets that are not met together."""
        first, second = (values.share(value) for value in self.found)
        return (
            f"`{self.names[0]}` and `{self.names[1]}` are each within reach, but no lists were found that reach both: "
            f"those nearest to it have {first} and {second}"
        )


def pairs(compiled: CompiledPolicy, rows: Rows, reached: Sequence[Feasibility], *, seed: int = 0) -> tuple[Pair, ...]:
    """Every two targets that need no label and are met, as `reach` of the same policy found, made lists for.

    A list takes the items that add most to a mixture of both metrics; the mixture shifts to the one that lags behind
    its bound (bisection: the multipliers of two constraints, on a line) until both are met or none is. Then some users
    get the lists of one side and the others those of the other. On at most USERS of the rows; two targets of which one
    is not met on these by its own lists are left out. Better lists may exist: a reason to warn, not to refuse.
    """
    some = rows.sample(USERS, seed)
    bounds = {r.target.name: r.bound for r in reached if r.met}
    free = [t for t in compiled.targets if not t.needs_labels and t.target.name in bounds]
    alone = {t.target.name: greedy.lists(compiled, some, [(t, 1.0)]) for t in free} if len(free) > 1 else {}
    met = [
        t for t in free if t.target.name in alone and _short(compiled, some, alone[t.target.name], t, bounds) <= SLACK
    ]
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
    tried: list[tuple[float, tuple[float, float]]] = []

    def lacks(lists: Slates) -> tuple[float, float]:
        first, second = (_short(compiled, rows, lists, target, bounds) for target in both)
        value = bounds[names[0]] - both[0].sign * first, bounds[names[1]] - both[1].sign * second
        tried.append((max(first, second), value))
        return first, second

    low, high = 0.0, 1.0
    for _ in range(ROUNDS):
        mix = (low + high) / 2
        lists = greedy.lists(compiled, rows, [(both[0], 1.0 - mix), (both[1], mix)])
        first, second = lacks(lists)
        if (first <= SLACK) == (second <= SLACK):
            break
        if first <= SLACK:
            low, sides[0] = mix, lists
        else:
            high, sides[1] = mix, lists
    turn = np.random.default_rng(0).permutation(len(rows))[:, None] / len(rows)
    for part in range(1, ROUNDS) if min(tried)[0] > SLACK else ():
        lacks(Slates(np.where(turn < part / ROUNDS, sides[0].items, sides[1].items)))
    lack, nearest = min(tried)
    return Pair(names, nearest, lack <= SLACK)


def _short(
    compiled: CompiledPolicy, rows: Rows, lists: Slates, target: CompiledTarget, bounds: Mapping[str, float]
) -> float:
    """How much lists lack of a target's bound; infinitely much where it is about none of the rows."""
    name = target.target.name
    if isinstance(target.metric, PopulationMetric):
        return target.sign * (bounds[name] - target.metric.value(lists))
    value = metrics.mean(compiled.target_values(rows, lists)[name])
    return np.inf if np.isnan(value) else target.sign * (bounds[name] - value)


# ---- inside ---------------------------------------------------------------------------------------------------------


def _of_population(
    compiled: CompiledPolicy, target: CompiledTarget, metric: PopulationMetric, bound: float, rows: Rows
) -> Feasibility:
    """By counting; by lists too where they are made for all users, as fewer users can be shown less."""
    found = replace(by_counting(target.target, metric, len(rows), compiled.policy.slate), bound=bound)
    most = max(USERS, EVERYBODY // max(1, compiled.catalog.items))
    if found.within is False or len(rows) > most or not metric.column.size or not len(rows):
        return found
    best = metric.value(greedy.lists(compiled, rows, [(target, 1.0)]))
    how = f"the best lists found for {_users(len(rows))}, all together"
    return Feasibility(target.target, bound, best, len(rows), 0.0, False, MARGIN * best + 1.0 / len(rows), how)


def _users(count: int) -> str:
    return f"{count:,} users" if count != 1 else "the only user"


def _each_place_by_itself(metric: CompiledRule) -> bool:
    plan = metric.plan
    return isinstance(plan, Matching | Surprising | Labelled) or (
        isinstance(plan, Averaged) and plan.missing_as is not Missing.FAIL
    )


def _hard(compiled: CompiledPolicy) -> bool:
    return any(isinstance(rule.plan, Demand) and rule.plan.hard for rule in compiled.rules)
