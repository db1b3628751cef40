"""Targets and rows of users in, lists made for nothing but these targets out.

For each user the list takes, place by place, the item that moves the targets' metrics most, among those that blocks,
hard quotas and the user's history leave. A metric on what users took next is given those items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy, CompiledRule, CompiledTarget
from recpolicy.compiler.guard import Guard
from recpolicy.compiler.places import Averaged, PlacesScan
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.quotas import Demand
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.scan import Scan, discount
from recpolicy.compiler.serendipity import Serendipitous
from recpolicy.compiler.spread import Failing
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.dataset.slates import offered
from recpolicy.language.policy import Missing

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
TRIFLE = 1e-9
"""What decides between equals."""


def lists(compiled: CompiledPolicy, rows: Rows, pulls: Pulls, first: np.random.Generator | None = None) -> Slates:
    """Greedy lists for these targets, blocks, hard quotas and histories kept; `first` draws their first items.

    Rank by rank, and of targets on all users together user by user: what one is shown counts for the next.
    """
    k, hole = compiled.policy.slate, compiled.catalog.items
    out = np.full((len(rows), k), -1, np.int32)
    population_metrics = [
        _Crowding(t.metric, t.sign * pull) for t, pull in pulls if isinstance(t.metric, PopulationMetric)
    ]
    means = [(t.metric, t.sign * pull) for t, pull in pulls if isinstance(t.metric, CompiledRule)]
    for part, pool in _parts(compiled, rows):
        guard = _guard(compiled, pool)
        scans = [((factor * metric.applicable(pool))[:, None], _scan(metric, pool)) for metric, factor in means]
        ends = np.zeros(pool.shape)
        for (metric, _), (factors, _) in zip(means, scans, strict=True):
            ends += factors * _ends(metric, pool)
        for r in range(k):
            open_ = guard.open
            worth = -TRIFLE * ends
            if first is not None and r == 0:
                worth = first.random(pool.shape) - ends
            else:
                for factors, scan in scans:
                    worth += factors * scan.gains(slice(None))
            worth[~open_] = -np.inf
            at = np.where(open_.any(1), worth.argmax(1), hole)
            for b in np.flatnonzero(open_.any(1)) if population_metrics else ():
                at[b] = (worth[b] + sum(crowd.worth(r) for crowd in population_metrics)).argmax()
                for crowd in population_metrics:
                    crowd.show(int(at[b]), r)
            out[part, r] = np.where(at < hole, at, -1)
            guard.take(at)
            for _, scan in scans:
                scan.take(at)
    return Slates(out)


def improved(compiled: CompiledPolicy, rows: Rows, target: CompiledTarget, made: Slates, seed: int) -> Slates:
    """The lists `made` for a target on a mean over users, or better ones; `seed` draws.

    Of lists with several first items each user's best, in which then each place in turn gets the item that is worth
    most beside those at the other places, until no exchange helps or PASSES are through.
    """
    metric, best = target.metric, made.items.copy()
    assert isinstance(metric, CompiledRule)

    def worth(items: Codes) -> Floats:
        return target.sign * compiled.target_values(rows, Slates(items))[target.target.name]

    def adopt(other: Codes) -> Bools:
        better = worth(other) > worth(best) + TRIFLE
        best[better] = other[better]
        return better

    for start in range(STARTS):
        if adopt(lists(compiled, rows, [(target, 1.0)], np.random.default_rng((seed, start))).items).mean() < FEW:
            break
    adopt(
        np.concatenate(
            [_exchanged(compiled, metric, target.sign, pool, best[at]) for at, pool in _parts(compiled, rows)]
        )
    )
    return Slates(best)


# ---- inside ---------------------------------------------------------------------------------------------------------


class _Crowding:
    """A population measure while users are shown one item after another.

    The slope of `largest_share` sees nothing but the largest: that of `gini` stands in, which evens out all the others
    as well.
    """

    def __init__(self, crowd: PopulationMetric, factor: float) -> None:
        self._crowd = replace(crowd, measure="gini") if crowd.measure == "largest_share" else crowd
        self._factor = factor
        self._exposure = np.zeros(crowd.column.size + 1)  # the last is no value
        self._discount = discount(crowd.k)

    def worth(self, rank: int) -> Floats:
        """What each item would add at that rank, and a hole, [items + 1]."""
        slopes = self._crowd.slopes_of(self._exposure[:-1])
        return np.asarray(self._factor * self._crowd.coefficients[rank] * self._crowd.of_items(slopes), np.float64)

    def show(self, item: int, rank: int) -> None:
        """Somebody is shown the item at that rank."""
        share = self._crowd.column.shares_of(np.array([item]))[0]
        self._exposure[self._crowd.column.codes[item]] += share * self._discount[rank]
        self._exposure[-1] = 0.0


def _parts(compiled: CompiledPolicy, rows: Rows) -> Iterator[tuple[slice, Pool]]:
    """The rows a few at a time, with every item and a hole as candidates."""
    items = compiled.catalog.items
    step = max(1, TOGETHER // max(1, items))
    for first in range(0, len(rows), step):
        part = slice(first, min(first + step, len(rows)))
        of = rows.take(np.arange(part.start, part.stop))
        every = np.tile(np.append(np.arange(items), -1).astype(np.int32), (len(of), 1))
        yield part, Pool(compiled.catalog, of, every)


def _guard(compiled: CompiledPolicy, pool: Pool) -> Guard:
    """What keeps blocks, hard quotas, histories and candidate pools; the hole is never open."""
    allowed = np.zeros(pool.shape, np.bool_)
    allowed[:, :-1] = offered(pool.rows, compiled.catalog.items)
    return compiled.guard(pool.rows, pool.items, allowed)


def _scan(metric: CompiledRule, pool: Pool) -> Scan:
    plan = metric.plan
    if not isinstance(plan, Labelled | Serendipitous):
        return plan.scan(pool)
    return PlacesScan(_wanted(plan, pool), np.ones(pool.shape[1]), None)


def _wanted(plan: Labelled | Serendipitous, pool: Pool) -> Floats:
    """What each item is worth by itself, [B, C]; of equal ones the one taken first is worth a trifle more."""
    out = np.zeros(pool.shape)
    lists, lengths = pool.rows.next_items, pool.rows.next_items.lengths
    for place in reversed(range(int(lengths.max(initial=0)))):
        rows = np.flatnonzero(lengths > place)
        items = lists.values[lists.offsets[rows] + place]
        alone = Pool(pool.catalog, pool.rows.take(rows), np.asfortranarray(items[:, None]))
        out[rows, items] = plan.marginals(alone)[:, 0] + TRIFLE * (lengths.max() - place)
    if isinstance(plan, Serendipitous) and plan.fail:
        out[plan.missing(pool)] = -1.0  # such an item ends the value of its slate
    return out


def _ends(metric: CompiledRule, pool: Pool) -> Bools:
    """Items without a value that would end the value of their slate, [B, C]."""
    match metric.plan:
        case Failing() | Averaged(missing_as=Missing.FAIL) | Serendipitous(fail=True):
            return metric.plan.missing(pool)
        case _:
            return np.zeros((1, 1), np.bool_)


def _exchanged(compiled: CompiledPolicy, metric: CompiledRule, sign: float, pool: Pool, made: Codes) -> Codes:
    """Lists [B, K] after exchanges that add to (`sign` 1) or take from (-1) what the metric has of their items.

    What a place counts is left out: each is looked at as if it were the last.
    """
    own, hole, each = made.copy(), compiled.catalog.items, np.arange(len(made))
    for _ in range(PASSES):
        before = own.copy()
        for place in range(own.shape[1]):
            scan, guard = _scan(metric, pool), _guard(compiled, pool)
            for other in np.delete(own, place, 1).T:
                at = np.where(other < 0, hole, other)
                scan.take(at)
                guard.take(at)
            gains = sign * np.broadcast_to(scan.gains(slice(None)), pool.shape)
            at = np.where(guard.open, gains, -np.inf).argmax(1)
            better = (own[:, place] >= 0) & (gains[each, at] > gains[each, own[:, place]] + TRIFLE)
            changed = own.copy()
            changed[better, place] = at[better]
            kept = _kept(compiled, pool.rows, own, changed)
            own[kept] = changed[kept]
        if (own == before).all():
            break
    return own


def _kept(compiled: CompiledPolicy, rows: Rows, before: Codes, after: Codes) -> Bools:
    """Rows whose lists satisfy every hard quota after a change that they did before, [B]."""
    hard = [rule.name for rule in compiled.rules if isinstance(rule.plan, Demand) and rule.plan.hard]
    out = np.ones(len(rows), np.bool_)
    if hard:
        had, has = compiled.satisfied(rows, Slates(before)), compiled.satisfied(rows, Slates(after))
        for name in hard:
            out &= has[name] | ~had[name]
    return out
