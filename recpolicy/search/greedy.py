"""Builds lists that are made for nothing but given targets.

For each user the list takes, place by place, the item that moves the targets' metrics most, among those that blocks,
hard quotas and the user's history leave. A metric on what users took next is given those items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy, CompiledRule, CompiledTarget
from recpolicy.compiler.places import PlacesScan
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.scan import Failing, Scan, discount
from recpolicy.compiler.serendipity import Serendipitous
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.dataset.slates import offered
from recpolicy.search.builder import TRIFLE, build, keeps

Pulls: TypeAlias = Sequence[tuple[CompiledTarget, float]]
"""Targets, and how hard each pulls."""

TOGETHER = 400_000
"""Most (user, item) pairs at once: list columns and distances take many numbers a pair."""
STARTS = 8
"""How often lists begin anew with other first items, at most."""
FEW = 0.02
"""Share of users below which a new start that helped no more of them is the last."""
PASSES = 2
"""How often every place of a list is looked at again."""


def lists(compiled: CompiledPolicy, rows: Rows, pulls: Pulls, first: np.random.Generator | None = None) -> Slates:
    """Builds greedy lists for these targets; blocks, hard quotas and histories are kept.

    `first` draws the items of the first place. Targets on a mean are served place by place for all users at once. With
    a target on all users together, a place is filled user by user: what one user is shown counts for the next.
    """
    out = np.full((len(rows), compiled.policy.slate), -1, np.int32)
    population = [_Crowding(t.metric, t.sign * pull) for t, pull in pulls if isinstance(t.metric, PopulationMetric)]
    means = [(t.metric, t.sign * pull) for t, pull in pulls if isinstance(t.metric, CompiledRule)]
    for part, pool in _parts(compiled, rows):
        out[part] = _lists(compiled, pool, means, population, first)
    return Slates(out)


def improved(compiled: CompiledPolicy, rows: Rows, target: CompiledTarget, start: Slates, seed: int) -> Slates:
    """Improves lists for a target on a mean over users, from `start`; `seed` draws.

    Lists are built from several first items, and each user keeps the best. Then each place in turn gets the item that
    is worth most beside those at the other places, until no exchange helps or PASSES are through.
    """
    metric, best = target.metric, start.items.copy()
    assert isinstance(metric, CompiledRule)

    def worth(items: Codes) -> Floats:
        return target.sign * compiled.target_values(rows, Slates(items))[target.target.name]

    def adopt(other: Codes) -> Bools:
        better = worth(other) > worth(best) + TRIFLE
        best[better] = other[better]
        return better

    for turn in range(STARTS):
        if adopt(lists(compiled, rows, [(target, 1.0)], np.random.default_rng((seed, turn))).items).mean() < FEW:
            break
    parts = [_exchanged(compiled, metric, target.sign, pool, best[at]) for at, pool in _parts(compiled, rows)]
    adopt(np.concatenate(parts))
    return Slates(best)


# ---- inside ---------------------------------------------------------------------------------------------------------


class _Crowding:
    """A population measure while users are shown one item after another.

    The slope of `largest_share` sees only the largest value. The slope of `gini` takes its place: it evens out all the
    other values as well.
    """

    def __init__(self, crowd: PopulationMetric, factor: float) -> None:
        self._crowd = replace(crowd, measure="gini") if crowd.measure == "largest_share" else crowd
        self._factor = factor
        self._exposure = np.zeros(crowd.column.size + 1)  # the last is no value
        self._discount = discount(crowd.k)

    def worth(self, rank: int) -> Floats:
        """Returns what each item, and a hole, would add at that rank, [items + 1]."""
        slopes = self._crowd.slopes(self._exposure[:-1])
        return np.asarray(self._factor * self._crowd.coefficients[rank] * self._crowd.of_items(slopes), np.float64)

    def show(self, item: int, rank: int) -> None:
        """Counts that a user is shown the item at that rank."""
        share = self._crowd.column.shares_of(np.array([item]))[0]
        self._exposure[self._crowd.column.codes[item]] += share * self._discount[rank]
        self._exposure[-1] = 0.0


class _Growing:
    """Lists as they grow from the candidates of a pool, under blocks, hard quotas and histories, and some metrics."""

    def __init__(self, compiled: CompiledPolicy, pool: Pool, metrics: Iterable[CompiledRule]) -> None:
        allowed = np.zeros(pool.shape, np.bool_)
        allowed[:, :-1] = offered(pool.rows, compiled.catalog.items)  # the hole is never open
        self._guard = compiled.guard(pool.rows, pool.items, allowed)
        self.scans = [_scan(metric, pool) for metric in metrics]

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]."""
        return self._guard.open

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's list."""
        self._guard.take(at)
        for scan in self.scans:
            scan.take(at)


def _lists(
    compiled: CompiledPolicy,
    pool: Pool,
    means: Sequence[tuple[CompiledRule, float]],
    population: Sequence[_Crowding],
    first: np.random.Generator | None,
) -> Codes:
    """Lists [B, K] for the rows of a pool."""
    growing = _Growing(compiled, pool, (metric for metric, _ in means))
    factors = [(factor * metric.applicable(pool))[:, None] for metric, factor in means]
    ends = np.zeros(pool.shape)
    for (metric, _), factor in zip(means, factors, strict=True):
        ends += factor * _ends(metric, pool)

    def worth(rank: int, open_: Bools) -> Floats:
        if first is not None and rank == 0:
            out = first.random(pool.shape) - ends
        else:
            out = -TRIFLE * ends
            for factor, scan in zip(factors, growing.scans, strict=True):
                out += factor * scan.gains(slice(None))
        for b in np.flatnonzero(open_.any(1)) if population else ():
            out[b] += sum(crowd.worth(rank) for crowd in population)
            item = int(np.where(open_[b], out[b], -np.inf).argmax())
            for crowd in population:
                crowd.show(item, rank)
        return out

    assert pool.items is not None
    return build(growing, pool.items, compiled.policy.slate, worth)


def _parts(compiled: CompiledPolicy, rows: Rows) -> Iterator[tuple[slice, Pool]]:
    """The rows a few at a time, with every item and a hole as candidates."""
    items = compiled.catalog.items
    every = np.append(np.arange(items), -1).astype(np.int32)
    for part, some in rows.batches(max(1, TOGETHER // max(1, items))):
        yield part, Pool(compiled.catalog, some, np.tile(every, (len(some), 1)))


def _scan(metric: CompiledRule, pool: Pool) -> Scan:
    plan = metric.plan
    if not isinstance(plan, Labelled | Serendipitous):
        return plan.scan(pool)
    return PlacesScan(_alone(plan, pool), np.ones(pool.shape[1]), None)


def _alone(plan: Labelled | Serendipitous, pool: Pool) -> Floats:
    """What each item is worth by itself, [B, C]; of equal ones the one taken first is worth a trifle more."""
    out = np.zeros(pool.shape)
    lists, lengths = pool.rows.next_items, pool.rows.next_items.lengths
    for place in reversed(range(int(lengths.max(initial=0)))):
        rows = np.flatnonzero(lengths > place)
        items = lists.values[lists.offsets[rows] + place]
        single = Pool(pool.catalog, pool.rows.take(rows), np.asfortranarray(items[:, None]))
        out[rows, items] = plan.marginals(single)[:, 0] + TRIFLE * (lengths.max() - place)
    if isinstance(plan, Serendipitous) and plan.fail:
        out[plan.missing(pool)] = -1.0  # such an item ends the value of its slate
    return out


def _ends(metric: CompiledRule, pool: Pool) -> Bools:
    """Items without a value that would end the value of their slate, [B, C]."""
    match metric.plan:
        case Failing() | Serendipitous(fail=True):
            return metric.plan.missing(pool)
        case _:
            return np.zeros((1, 1), np.bool_)


def _exchanged(compiled: CompiledPolicy, metric: CompiledRule, sign: float, pool: Pool, start: Codes) -> Codes:
    """Lists [B, K] after exchanges that add to (`sign` 1) or take from (-1) what the metric has of their items.

    What a place counts is left out: each is looked at as if it were the last.
    """
    own, hole, each = start.copy(), compiled.catalog.items, np.arange(len(start))
    for _ in range(PASSES):
        before = own.copy()
        for place in range(own.shape[1]):
            growing = _Growing(compiled, pool, [metric])
            for other in np.delete(own, place, 1).T:
                growing.take(np.where(other < 0, hole, other))
            gains = sign * np.broadcast_to(growing.scans[0].gains(slice(None)), pool.shape)
            at = np.where(growing.open, gains, -np.inf).argmax(1)
            better = (own[:, place] >= 0) & (gains[each, at] > gains[each, own[:, place]] + TRIFLE)
            changed = own.copy()
            changed[better, place] = at[better]
            adopted = keeps(compiled, pool.rows, own, changed)
            own[adopted] = changed[adopted]
        if (own == before).all():
            break
    return own
