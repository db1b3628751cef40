"""Compiles a typed policy against a training view into vectorised rules over rows and slates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler import places, quotas, rules, spread
from recpolicy.compiler.candidate_batch import A, CandidateBatch, bare, with_known
from recpolicy.compiler.catalog import Catalog, Term, gather
from recpolicy.compiler.encoded_column import Columns
from recpolicy.compiler.hard_quotas import HardQuotaMask
from recpolicy.compiler.measures import CompiledMeasure
from recpolicy.compiler.partial_slates import PartialSlates, divisor
from recpolicy.compiler.population import PopulationMetric, compile_population
from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.compiler.records import pack
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.rules import CompiledRule, CompiledTarget
from recpolicy.compiler.serendipity import SerendipityMeasure, serendipity
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.slates import offered
from recpolicy.language.policy import (
    Average,
    Boost,
    Expr,
    Logic,
    Measure,
    Novelty,
    Policy,
    Population,
    Portion,
    Quota,
    Relevance,
    Reward,
    Rule,
    Serendipity,
    Spread,
    Target,
    Weight,
    Where,
)

BATCH = 2048
"""Rows evaluated at once: bounds the [rows, values of a column] tables of entropy and calibration."""


@dataclass(frozen=True, eq=False)
class CompiledBlock:
    """Items that are not shown to the rows for which `only` may be true."""

    where: Term
    only: Term | None


@dataclass(frozen=True, eq=False)
class CompiledPolicy:
    """A policy as arrays: no state, picklable, the same numbers for the same input.

    B rows, K = `policy.slate` places. The value of a rule is the sum of its marginals over the ranks: in [0, 1], 0 for
    the empty slate. A slate that holds a blocked item has every marginal 0, except that every bury has its whole
    maximum, 1, at the first blocked place. A rule is NaN for the rows it is not applicable to.
    Every method that takes slates raises ValueError for another number of rows or places, or an item past the catalog.
    """

    policy: Policy
    rules: tuple[CompiledRule, ...]
    blocks: tuple[CompiledBlock, ...]
    targets: tuple[CompiledTarget, ...]
    catalog: Catalog
    present: Bools | None = None
    """Which items may still be shown, [items]; None: all."""

    def marginals(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Computes per rule, [B, K], the value of the prefix up to each rank less that of the prefix before it."""
        return self._marginals({rule.name: rule for rule in self.rules}, rows, slates)

    def values(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Computes per rule, [B], its value in [0, 1]."""
        return {name: marginals.sum(1) for name, marginals in self.marginals(rows, slates).items()}

    def target_marginals(self, rows: Rows, slates: Slates, exposure_slates: Slates | None = None) -> dict[str, Floats]:
        """Computes per target on a mean over users, [B, K], the marginals of its metric; NaN for users it is not about.

        A metric that is a rule has the rule's marginals. Any other has those of a reward, in blocked slates too. With
        `exposure_slates`, the slates of all users, the result also has the targets on all users together: what each
        place adds to the measure to first order (`PopulationMetric.slopes`), whether the slate is blocked or not. All
        values are as measured, whether the target is an at-least or an at-most.
        """
        metrics = {t.target.name: t.metric for t in self.targets if isinstance(t.metric, CompiledRule)}
        out = self._marginals(metrics, rows, slates)
        if exposure_slates is not None:
            batch = CandidateBatch(self.catalog, rows, np.asfortranarray(slates.items))
            out |= {name: metric.marginals(batch, exposure_slates) for name, metric in self.population_metrics.items()}
        return out

    def target_values(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Computes per target on a mean over users, [B], its value in [0, 1]; NaN for users it is not about."""
        return {name: marginals.sum(1) for name, marginals in self.target_marginals(rows, slates).items()}

    def population(self, rows: Rows, slates: Slates) -> dict[str, float]:
        """Computes per target on all users together its measure over these slates, in [0, 1]."""
        self._check(rows, slates)
        return {name: metric.value(slates) for name, metric in self.population_metrics.items()}

    @property
    def hard_quotas(self) -> list[tuple[CompiledRule, CompiledQuota]]:
        """The rules that are hard quotas, with their compiled forms."""
        return [
            (rule, rule.measure) for rule in self.rules if isinstance(rule.measure, CompiledQuota) and rule.measure.hard
        ]

    @property
    def needs_order(self) -> bool:
        """Whether a measure depends on the order in which next items are taken."""
        metrics = [*self.rules, *(t.metric for t in self.targets if isinstance(t.metric, CompiledRule))]
        return any(isinstance(rule.measure, RelevanceMeasure) and rule.measure.metric == "lcs" for rule in metrics)

    @property
    def population_metrics(self) -> dict[str, PopulationMetric]:
        """The metrics of the targets on all users together, by the target's name."""
        return {t.target.name: t.metric for t in self.targets if isinstance(t.metric, PopulationMetric)}

    def total_marginals(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Floats:
        """Computes R per rank, [B, K]: weighted rules, buries subtracted, over the sum of weights; 0 without weights.

        Ramps are where they are when a share `progress` (0 to 1) of training is done, here and in the methods below.
        """
        return self.combined(self.marginals(rows, slates), self.weights(rows, progress))

    def combined(self, marginals: Mapping[str, Floats], weights: Floats) -> Floats:
        """Computes R per rank, [B, K], from the results of `marginals` and `weights`."""
        shares = weights * [rule.sign for rule in self.rules] / divisor(weights)[:, None]  # [B, rules]
        out = np.zeros((len(weights), self.policy.slate), np.float64, "F")
        for rule, share in zip(self.rules, shares.T, strict=True):
            part = marginals[rule.name] * share[:, None]
            part[share == 0] = 0.0  # where the rule is not applicable its marginals are NaN
            out += part
        return out

    def total(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Floats:
        """Computes the whole reward R, [B], in [-1, 1]."""
        return np.asarray(self.total_marginals(rows, slates, progress).sum(1), np.float64)

    def weights(self, rows: Rows, progress: float = 1.0) -> Floats:
        """Returns each row's weight of every rule in the order of `rules`, [B, rules]; 0 where not applicable."""
        batch = CandidateBatch(self.catalog, rows, np.zeros((len(rows), 0), np.int32))
        return np.array([rule.weights(batch, progress) for rule in self.rules]).reshape(len(self.rules), len(rows)).T

    def satisfied(self, rows: Rows, slates: Slates) -> dict[str, Bools]:
        """Checks per quota, [B], whether the demand holds; False for a blocked slate and where it is not applicable."""
        out = {rule.name: np.zeros(len(rows), np.bool_) for rule in self.rules if rule.kind == "quota"}
        for part, batch in self._batches(rows, slates):
            clean = self._first_blocked(batch) == self.policy.slate
            for rule in self.rules:
                if isinstance(rule.measure, CompiledQuota):
                    out[rule.name][part] = rule.measure.met(batch) & clean & rule.applicable(batch)
        return out

    def abstained(self, rows: Rows, slates: Slates) -> dict[str, Ints]:
        """Counts per rule, [B], the places whose item has no value for it; 0 where it is not applicable."""
        out = {rule.name: np.zeros(len(rows), np.int64) for rule in self.rules}
        for part, batch in self._batches(rows, slates):
            for rule in self.rules:
                missing = np.broadcast_to(rule.measure.missing(batch), batch.shape).sum(1)
                out[rule.name][part] = np.where(rule.applicable(batch), missing, 0)
        return out

    def blocked(self, rows: Rows, slates: Slates) -> Bools:
        """Finds the slates that hold an item blocked for their user, [B]."""
        out = np.zeros(len(rows), np.bool_)
        for part, batch in self._batches(rows, slates):
            out[part] = self._first_blocked(batch) < self.policy.slate
        return out

    def legal(self, rows: Rows) -> Bools:
        """Finds the items that are present and that no block hits for a user, [B, items]; a block's unknown is true.

        Of rows with candidates it looks at those, [B, C].
        """
        width = self.catalog.items if rows.columns is None else rows.columns.shape[1]
        out = np.ones((len(rows), width), np.bool_)
        for part, some in rows.batches(max(1, places.CHUNK // max(1, width))) if self.blocks else ():
            out[part] = self._legal(CandidateBatch(self.catalog, some, some.columns))
        if self.present is not None:
            out &= self.present if rows.columns is None else self.present[rows.columns]
        return out

    def servable(self, rows: Rows) -> Bools:
        """Finds what each user may be shown, [B, items]: not blocked, not in the history, in the pool of candidates."""
        return self.legal(rows) & offered(rows, self.catalog.items)

    def partial_slates(
        self,
        rows: Rows,
        candidates: Codes,
        multipliers: Mapping[str, float] | None = None,
        exposure_slates: Slates | None = None,
    ) -> PartialSlates:
        """Starts slates that are built from candidates [B, C] place by place.

        Rules with labels count where rows have label probabilities.

        `multipliers` weigh each target's metric, by the target's name; 0 where it has none. A target on all users
        together is measured at `exposure_slates`, the slates of all users. Raises ValueError where such a target has a
        multiplier and they are not given.
        """
        batch = CandidateBatch(self.catalog, rows, candidates)
        legal = self._legal(batch)
        guard = self._guard(batch, legal)
        return PartialSlates(self.rules, self.targets, multipliers or {}, exposure_slates, batch, guard, legal)

    def guard(self, rows: Rows, candidates: Codes | None, allowed: Bools | None = None) -> HardQuotaMask:
        """Returns what keeps the hard quotas while slates are filled from candidates [B, C], or from EVERY_ITEM.

        Blocked candidates are never open, nor those that are not `allowed` [B, C], such as items already seen.
        """
        batch = CandidateBatch(self.catalog, rows, candidates)
        legal = self._legal(batch)
        return self._guard(batch, legal if allowed is None else legal & allowed)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _guard(self, batch: CandidateBatch, free: Bools) -> HardQuotaMask:
        return HardQuotaMask(batch, [(demand, rule.applicable(batch)) for rule, demand in self.hard_quotas], free)

    def _legal(self, batch: CandidateBatch) -> Bools:
        """Candidates that are items and not blocked, [B, C]."""
        return batch.held & ~self._hit(batch)

    def _marginals(self, metrics: Mapping[str, CompiledRule], rows: Rows, slates: Slates) -> dict[str, Floats]:
        parts = [self._part(metrics, batch) for _, batch in self._batches(rows, slates)]
        if len(parts) == 1:
            return parts[0]
        nothing = np.zeros((0, self.policy.slate))
        return {name: np.concatenate([nothing, *(part[name] for part in parts)]) for name in metrics}

    def _part(self, metrics: Mapping[str, CompiledRule], batch: CandidateBatch) -> dict[str, Floats]:
        first = self._first_blocked(batch)
        hit = np.flatnonzero(first < self.policy.slate)
        out: dict[str, Floats] = {}
        for name, metric in metrics.items():
            marginals = out[name] = metric.marginals(batch)
            if hit.size:
                marginals[hit] = 0.0
                if metric.kind == "bury":
                    marginals[hit, first[hit]] = 1.0
            if not metric.everywhere:
                marginals[~metric.applicable(batch)] = np.nan
        return out

    def _check(self, rows: Rows, slates: Slates) -> None:
        expected = (len(rows), self.policy.slate)
        if slates.items.shape != expected:
            raise ValueError(f"slates for these rows and this policy are {expected}, not {slates.items.shape}")
        if slates.items.max(initial=-1) >= self.catalog.items:
            raise ValueError(f"item {slates.items.max()} is beyond the catalog's {self.catalog.items}")

    def _batches(self, rows: Rows, slates: Slates) -> Iterator[tuple[slice, CandidateBatch]]:
        self._check(rows, slates)
        for part, some in rows.batches(BATCH):
            yield part, CandidateBatch(self.catalog, some, np.asfortranarray(slates.items[part]))

    def _hit(self, batch: CandidateBatch) -> Bools:
        """(row, candidate) pairs that some block hits, [B, C]."""
        out = np.zeros_like(batch.held, shape=batch.shape)
        for block in self.blocks:
            hit = batch.matches(block.where, unknown=True)
            out |= hit if block.only is None else hit & batch.holds(block.only, sure=False)
        return out

    def _first_blocked(self, batch: CandidateBatch) -> Ints:
        """The place (from 0) of the first blocked item, K where there is none, [B]."""
        hit = self._hit(batch)
        out = np.full(len(hit), batch.shape[1])
        rows = np.flatnonzero(hit.any(1)) if self.blocks else np.zeros(0, np.int64)
        out[rows] = hit[rows].argmax(1)
        return out


def compile(policy: Policy, dataset: Dataset) -> CompiledPolicy:
    """Compiles a checked policy against the training view of its data.

    Every statistic a rule needs (popularity, ranges, values that occur) is counted here, on `dataset` alone.
    """
    roots = list(_expressions(policy))
    catalog, columns, k = with_known(gather(dataset, roots), roots), Columns(dataset), policy.slate
    compiled = tuple(_rule(rule, columns, catalog, k) for rule in policy.rules)
    blocks = tuple(
        CompiledBlock(catalog.term(b.where), None if b.only is None else catalog.term(b.only)) for b in policy.blocks
    )
    targets = tuple(CompiledTarget(t, _metric(t, compiled, columns, catalog, k)) for t in policy.targets)
    out = CompiledPolicy(policy, compiled, blocks, targets, catalog)
    empty = _RecordingBatch(catalog, bare(np.zeros(0, np.int64)), np.zeros((0, k), np.int32, "F"))
    out._part({rule.name: rule for rule in compiled}, empty)
    return replace(out, catalog=replace(catalog, records=pack(empty.arrays, catalog.items)))


class _RecordingBatch(CandidateBatch):
    """A batch that records which arrays of values per item are read."""

    def __init__(self, catalog: Catalog, rows: Rows, items: Codes) -> None:
        super().__init__(catalog, rows, items)
        self.arrays: list[NDArray[Any]] = []

    def of_items(self, values: A) -> A:
        """Returns the values at the candidates, and records the array."""
        self.arrays.append(values)
        return super().of_items(values)


def _rule(rule: Rule, columns: Columns, catalog: Catalog, k: int) -> CompiledRule:
    weighed = rules.weight(rule.weight, catalog)
    match rule:
        case Reward():
            return CompiledRule(rule.name, "reward", weighed, _measure(rule.measure, columns, catalog, k))
        case Boost():
            measure = places.boost(catalog.term(rule.where), k, rule.limit, bury=rule.bury)
            return CompiledRule(rule.name, "bury" if rule.bury else "boost", weighed, measure)
        case Quota():
            return CompiledRule(rule.name, "quota", weighed, quotas.compile_quota(rule, catalog, columns, k))
        case _:
            assert_never(rule)


def _metric(
    target: Target, compiled: tuple[CompiledRule, ...], columns: Columns, catalog: Catalog, k: int
) -> CompiledRule | PopulationMetric:
    match target.metric:
        case str(name):
            rule = next(rule for rule in compiled if rule.name == name)
            own = None if rule.weight.only is None else rule.weight.only.node
            within = [only for only in (own, target.only) if only is not None]
            only = Logic(target.span, "and", *within) if len(within) == 2 else next(iter(within), None)
            return replace(rule, weight=rules.weight(Weight(target.span, 1.0, only), catalog))
        case Population():
            return compile_population(target.metric, columns, k)
        case node:
            measure = _measure(node, columns, catalog, k)
            weighed = rules.weight(Weight(target.span, 1.0, target.only), catalog)
            return CompiledRule(target.name, "reward", weighed, measure)


def _measure(
    measure: Measure, columns: Columns, catalog: Catalog, k: int
) -> CompiledMeasure | RelevanceMeasure | SerendipityMeasure:
    match measure:
        case Relevance():
            return RelevanceMeasure(measure.metric, k)
        case Spread():
            return spread.spread(measure, columns, k)
        case Serendipity():
            return serendipity(measure, columns, k)
        case Novelty():
            own = columns.dataset
            users = int(np.count_nonzero(np.diff(own.start))) if own.takers is None else own.takers
            return places.novelty(k, users, catalog.known[catalog.term(measure.column)].astype(np.float64))
        case Portion():
            return places.portion(catalog.term(measure.where), k, discounted=measure.measure == "exposure")
        case Average():
            discounted = measure.measure == "discounted"
            return places.average(catalog.term(measure.operand), k, measure.missing, discounted=discounted)
        case _:
            assert_never(measure)


def _expressions(policy: Policy) -> Iterator[Expr]:
    """Every outermost expression that is evaluated, but not the columns that spread measures and quotas count."""
    for rule in policy.rules:
        yield from (rule.weight.only,) if rule.weight.only is not None else ()
        yield from (branch for branch, _ in rule.weight.changes)
        match rule:
            case Reward(measure=measure):
                yield from _measured(measure)
            case Boost(where=where) | Quota(counted=Where(predicate=where)):
                yield where
            case Quota():
                pass
    for block in policy.blocks:
        yield from (block.where,) if block.only is None else (block.where, block.only)
    for target in policy.targets:
        yield from () if isinstance(target.metric, str | Population) else _measured(target.metric)
        yield from (target.only,) if target.only is not None else ()


def _measured(measure: Measure) -> tuple[Expr, ...]:
    match measure:
        case Portion(where=operand) | Average(operand=operand) | Novelty(column=operand):
            return (operand,)
        case Relevance() | Spread() | Serendipity():
            return ()
        case _:
            assert_never(measure)
