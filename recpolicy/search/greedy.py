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
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.measures import FailOnMissing, MeasureState, discount
from recpolicy.compiler.places import PlacesState
from recpolicy.compiler.population import PopulationMetric
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.dataset.slates import offered
from recpolicy.search.builder import TRIFLE, build, keeps

TargetFactors: TypeAlias = Sequence[tuple[CompiledTarget, float]]
"""Targets, each with the factor of its metric."""

TOGETHER = 400_000
"""Most (user, item) pairs at once: list columns and distances take many numbers a pair."""
STARTS = 8
"""How often lists begin anew with other first items, at most."""
FEW = 0.02
"""Share of users below which a new start that helped no more of them is the last."""
PASSES = 2
"""How often every place of a list is looked at again."""


def lists(
    compiled: CompiledPolicy, rows: Rows, targets: TargetFactors, first: np.random.Generator | None = None
) -> Slates:
    """Builds greedy lists for these targets; blocks, hard quotas and histories are kept.

    `first` draws the items of the first place. Targets on a mean are served place by place for all users at once. With
    a target on all users together, a place is filled user by user: what one user is shown counts for the next.
    """
    out = np.full((len(rows), compiled.policy.slate), -1, np.int32)
    population = [
        _PopulationGains(t.metric, t.sign * factor) for t, factor in targets if isinstance(t.metric, PopulationMetric)
    ]
    means = [(t.metric, t.sign * factor) for t, factor in targets if isinstance(t.metric, CompiledRule)]
    for part, batch in _parts(compiled, rows):
        out[part] = _lists(compiled, batch, means, population, first)
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
    parts = [_exchanged(compiled, metric, target.sign, batch, best[at]) for at, batch in _parts(compiled, rows)]
    adopt(np.concatenate(parts))
    return Slates(best)


# ---- inside ---------------------------------------------------------------------------------------------------------


class _PopulationGains:
    """A population measure while users are shown one item after another.

    The slope of `largest_share` sees only the largest value. The slope of `gini` takes its place: it evens out all the
    other values as well.
    """

    def __init__(self, metric: PopulationMetric, factor: float) -> None:
        self._metric = replace(metric, measure="gini") if metric.measure == "largest_share" else metric
        self._factor = factor
        self._exposure = np.zeros(metric.column.size + 1)  # the last is no value
        self._discount = discount(metric.k)

    def worth(self, rank: int) -> Floats:
        """Returns what each item, and a hole, would add at that rank, [items + 1]."""
        slopes = self._metric.slopes(self._exposure[:-1])
        return np.asarray(self._factor * self._metric.coefficients[rank] * self._metric.of_items(slopes), np.float64)

    def show(self, item: int, rank: int) -> None:
        """Counts that a user is shown the item at that rank."""
        share = self._metric.column.shares_of(np.array([item]))[0]
        self._exposure[self._metric.column.codes[item]] += share * self._discount[rank]
        self._exposure[-1] = 0.0


class _PartialLists:
    """Lists as they grow from the candidates of a batch, under blocks, hard quotas and histories, and some metrics."""

    def __init__(self, compiled: CompiledPolicy, batch: CandidateBatch, metrics: Iterable[CompiledRule]) -> None:
        allowed = np.zeros(batch.shape, np.bool_)
        allowed[:, :-1] = offered(batch.rows, compiled.catalog.items)  # the hole is never open
        self._guard = compiled.guard(batch.rows, batch.items, allowed)
        self.states = [_state(metric, batch) for metric in metrics]

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]."""
        return self._guard.open

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's list."""
        self._guard.take(at)
        for state in self.states:
            state.take(at)


def _lists(
    compiled: CompiledPolicy,
    batch: CandidateBatch,
    means: Sequence[tuple[CompiledRule, float]],
    population: Sequence[_PopulationGains],
    first: np.random.Generator | None,
) -> Codes:
    """Lists [B, K] for the rows of a batch."""
    partial_lists = _PartialLists(compiled, batch, (metric for metric, _ in means))
    factors = [(factor * metric.applicable(batch))[:, None] for metric, factor in means]
    ends = np.zeros(batch.shape)
    for (metric, _), factor in zip(means, factors, strict=True):
        ends += factor * _ends(metric, batch)

    def worth(rank: int, open_: Bools) -> Floats:
        if first is not None and rank == 0:
            out = first.random(batch.shape) - ends
        else:
            out = -TRIFLE * ends
            for factor, state in zip(factors, partial_lists.states, strict=True):
                out += factor * state.gains(slice(None))
        for b in np.flatnonzero(open_.any(1)) if population else ():
            out[b] += sum(metric.worth(rank) for metric in population)
            item = int(np.where(open_[b], out[b], -np.inf).argmax())
            for metric in population:
                metric.show(item, rank)
        return out

    assert batch.items is not None
    return build(partial_lists, batch.items, compiled.policy.slate, worth)


def _parts(compiled: CompiledPolicy, rows: Rows) -> Iterator[tuple[slice, CandidateBatch]]:
    """The rows a few at a time, with every item and a hole as candidates."""
    items = compiled.catalog.items
    every = np.append(np.arange(items), -1).astype(np.int32)
    for part, some in rows.batches(max(1, TOGETHER // max(1, items))):
        yield part, CandidateBatch(compiled.catalog, some, np.tile(every, (len(some), 1)))


def _state(metric: CompiledRule, batch: CandidateBatch) -> MeasureState:
    measure = metric.measure
    if not isinstance(measure, RelevanceMeasure | SerendipityMeasure):
        return measure.start(batch)
    return PlacesState(_alone(measure, batch), np.ones(batch.shape[1]), None)


def _alone(measure: RelevanceMeasure | SerendipityMeasure, batch: CandidateBatch) -> Floats:
    """What each item is worth by itself, [B, C]; of equal ones the one taken first is worth a trifle more."""
    out = np.zeros(batch.shape)
    lists, lengths = batch.rows.next_items, batch.rows.next_items.lengths
    for place in reversed(range(int(lengths.max(initial=0)))):
        rows = np.flatnonzero(lengths > place)
        items = lists.values[lists.offsets[rows] + place]
        single = CandidateBatch(batch.catalog, batch.rows.take(rows), np.asfortranarray(items[:, None]))
        out[rows, items] = measure.marginals(single)[:, 0] + TRIFLE * (lengths.max() - place)
    if isinstance(measure, SerendipityMeasure) and measure.fail:
        out[measure.missing(batch)] = -1.0  # such an item ends the value of its slate
    return out


def _ends(metric: CompiledRule, batch: CandidateBatch) -> Bools:
    """Items without a value that would end the value of their slate, [B, C]."""
    match metric.measure:
        case FailOnMissing() | SerendipityMeasure(fail=True):
            return metric.measure.missing(batch)
        case _:
            return np.zeros((1, 1), np.bool_)


def _exchanged(
    compiled: CompiledPolicy, metric: CompiledRule, sign: float, batch: CandidateBatch, start: Codes
) -> Codes:
    """Lists [B, K] after exchanges that add to (`sign` 1) or take from (-1) what the metric has of their items.

    What a place counts is left out: each is looked at as if it were the last.
    """
    own, hole, each = start.copy(), compiled.catalog.items, np.arange(len(start))
    for _ in range(PASSES):
        before = own.copy()
        for place in range(own.shape[1]):
            partial_lists = _PartialLists(compiled, batch, [metric])
            for other in np.delete(own, place, 1).T:
                partial_lists.take(np.where(other < 0, hole, other))
            gains = sign * np.broadcast_to(partial_lists.states[0].gains(slice(None)), batch.shape)
            at = np.where(partial_lists.open, gains, -np.inf).argmax(1)
            better = (own[:, place] >= 0) & (gains[each, at] > gains[each, own[:, place]] + TRIFLE)
            changed = own.copy()
            changed[better, place] = at[better]
            adopted = keeps(compiled, batch.rows, own, changed)
            own[adopted] = changed[adopted]
        if (own == before).all():
            break
    return own
