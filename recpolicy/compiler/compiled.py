"""A typed policy and a training view in, vectorised rules over rows and slates out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

import numpy as np

from recpolicy.compiler import places, quotas, spread
from recpolicy.compiler.catalog import TRUE, UNKNOWN, Catalog, gather
from recpolicy.compiler.guard import Guard
from recpolicy.compiler.pool import EVERY_ITEM, Pool, with_known
from recpolicy.compiler.population import Crowd, crowd
from recpolicy.compiler.quotas import Demand
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.scan import Plan, Scan, ledger
from recpolicy.compiler.serendipity import Serendipitous, serendipity
from recpolicy.compiler.spread import Calibration, Failing
from recpolicy.dataset import Dataset, Rows, Slates
from recpolicy.policy import (
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
    level,
)
from recpolicy.table import Bools, Codes, Floats, Ints

BATCH = 2048
"""Rows evaluated at once: bounds the [rows, values of a column] tables of entropy and calibration."""


@dataclass(frozen=True, eq=False)
class CompiledRule:
    """One rule with a value: what it measures and for whom."""

    name: str
    kind: Literal["reward", "boost", "bury", "quota"]
    weight: Weight
    plan: Plan | Demand | Labelled | Serendipitous

    @property
    def needs_labels(self) -> bool:
        """True where the value is known only against the items the user took next."""
        return isinstance(self.plan, Labelled | Serendipitous)

    @property
    def sign(self) -> float:
        """-1 for a bury, which is subtracted, else 1."""
        return -1.0 if self.kind == "bury" else 1.0

    def marginals(self, pool: Pool) -> Floats:
        """What each place adds to the value of its slate, [B, K]; blocks and segments are not looked at."""
        plan = self.plan
        return plan.marginals(pool) if isinstance(plan, Labelled | Serendipitous) else ledger(plan.scan(pool), pool)

    def applicable(self, pool: Pool) -> Bools:
        """Rows the rule has a value for, [B]: inside its segment, and with the labels or the history it needs."""
        out = np.ones(len(pool.rows), np.bool_)
        if self.weight.only is not None:
            out &= _true(pool, self.weight.only)
        plan = self.plan.plan if isinstance(self.plan, Failing) else self.plan
        if isinstance(plan, Labelled | Serendipitous | Calibration):
            out &= plan.applicable(pool)
        return out

    def weights(self, pool: Pool, progress: float = 1.0) -> Floats:
        """The weight for each row, [B]: of the last branch that is true, else the base; 0 where not applicable.

        Ramps stand where they are when `progress` (0 to 1) of training is done.
        """
        out = np.full(len(pool.rows), level(self.weight.base, progress))
        for branch, weight in self.weight.changes:
            out = np.where(_true(pool, branch), level(weight, progress), out)
        return np.where(self.applicable(pool), out, 0.0)


@dataclass(frozen=True, eq=False)
class CompiledTarget:
    """A demand on a mean over users, or on all their slates together."""

    target: Target
    metric: CompiledRule | Crowd
    """What has a value for each user, and for whom; for a population measure, that."""


@dataclass(frozen=True, eq=False)
class CompiledPolicy:
    """A policy as arrays: no state, picklable, the same numbers for the same input.

    B rows, K = `policy.slate` places. The value of a rule is the sum of its marginals over the ranks: in [0, 1], 0 for
    the empty slate. A slate that holds a blocked item has every marginal 0, except that every bury has its whole
    maximum, 1, at the first blocked place. A rule is NaN for the rows it is not applicable to.
    Every method that takes slates raises ValueError for another number of rows or places.
    """

    policy: Policy
    rules: tuple[CompiledRule, ...]
    targets: tuple[CompiledTarget, ...]
    catalog: Catalog

    def marginals(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per rule [B, K]: the value of the prefix up to each rank less that of the prefix before it."""
        return self._marginals({rule.name: rule for rule in self.rules}, rows, slates)

    def values(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per rule [B]: its value in [0, 1]."""
        return {name: found.sum(1) for name, found in self.marginals(rows, slates).items()}

    def target_marginals(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per target on a mean over users, [B, K]: the marginals of its metric; NaN for users it is not about.

        A metric that is a rule has the rule's; any other those of a reward, in blocked slates too.
        """
        metrics = {t.target.name: t.metric for t in self.targets if isinstance(t.metric, CompiledRule)}
        return self._marginals(metrics, rows, slates)

    def target_values(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per target on a mean over users, [B]: each user's value in [0, 1]; NaN for users it is not about."""
        return {name: found.sum(1) for name, found in self.target_marginals(rows, slates).items()}

    def population(self, rows: Rows, slates: Slates) -> dict[str, float]:
        """Per target on all users together: its measure over these slates, in [0, 1]."""
        self._check(rows, slates)
        return {t.target.name: t.metric.value(slates) for t in self.targets if isinstance(t.metric, Crowd)}

    def total_marginals(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Floats:
        """R per rank, [B, K]: weighted rules, buries subtracted, over the sum of the row's weights; 0 without any.

        Ramps stand where they are when `progress` (0 to 1) of training is done, here and in the two methods below.
        """
        weights, found = self.weights(rows, progress), self.marginals(rows, slates)
        out = np.zeros(slates.items.shape)
        for i, rule in enumerate(self.rules):
            out += rule.sign * weights[:, i, None] * np.nan_to_num(found[rule.name], nan=0.0)
        return out / _divisor(weights)[:, None]

    def total(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Floats:
        """The whole reward R, [B], in [-1, 1]."""
        return np.asarray(self.total_marginals(rows, slates, progress).sum(1), np.float64)

    def weights(self, rows: Rows, progress: float = 1.0) -> Floats:
        """Each row's weight of every rule in the order of `rules`, [B, rules]; 0 where not applicable."""
        pool = Pool(self.catalog, rows, np.zeros((len(rows), 0), np.int32))
        return np.array([rule.weights(pool, progress) for rule in self.rules]).reshape(len(self.rules), len(rows)).T

    def satisfied(self, rows: Rows, slates: Slates) -> dict[str, Bools]:
        """Per quota [B]: whether the demand holds; False for a blocked slate and where it is not applicable."""
        out = {rule.name: np.zeros(len(rows), np.bool_) for rule in self.rules if rule.kind == "quota"}
        for part, pool in self._pools(rows, slates):
            clean = self._first_blocked(pool) == self.policy.slate
            for rule in self.rules:
                if isinstance(rule.plan, Demand):
                    scan = rule.plan.scan(pool)
                    ledger(scan, pool)
                    out[rule.name][part] = scan.met() & clean & rule.applicable(pool)
        return out

    def abstained(self, rows: Rows, slates: Slates) -> dict[str, Ints]:
        """Per rule [B]: places whose item has no value for the rule; 0 where it is not applicable."""
        out = {rule.name: np.zeros(len(rows), np.int64) for rule in self.rules}
        for part, pool in self._pools(rows, slates):
            for rule in self.rules:
                found = np.broadcast_to(rule.plan.missing(pool), pool.shape).sum(1)
                out[rule.name][part] = np.where(rule.applicable(pool), found, 0)
        return out

    def blocked(self, rows: Rows, slates: Slates) -> Bools:
        """Slates that hold an item blocked for their user, [B]."""
        out = np.zeros(len(rows), np.bool_)
        for part, pool in self._pools(rows, slates):
            out[part] = self._first_blocked(pool) < self.policy.slate
        return out

    def legal(self, rows: Rows) -> Bools:
        """[B, items], False for what a block hits for that user, known or not."""
        out = np.ones((len(rows), self.catalog.items), np.bool_)
        step = max(1, places.CHUNK // max(1, self.catalog.items))
        for first in range(0, len(rows) if self.policy.blocks else 0, step):
            part = slice(first, min(first + step, len(rows)))
            out[part] = self._legal(Pool(self.catalog, rows.take(np.arange(part.start, part.stop)), EVERY_ITEM))
        return out

    def growth(self, rows: Rows, candidates: Codes) -> Growth:
        """Slates to be built from candidates [B, C] place by place; rules that need labels are left out."""
        return Growth(self, Pool(self.catalog, rows, candidates))

    def guard(self, rows: Rows, candidates: Codes | None, allowed: Bools | None = None) -> Guard:
        """What keeps the hard quotas while slates are filled from candidates [B, C], or from EVERY_ITEM.

        Blocked candidates stay closed, and those that are not `allowed` [B, C], such as items already seen.
        """
        pool = Pool(self.catalog, rows, candidates)
        legal = self._legal(pool)
        return self._guard(pool, legal if allowed is None else legal & allowed)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _guard(self, pool: Pool, free: Bools) -> Guard:
        hard = [(r.plan, r.applicable(pool)) for r in self.rules if isinstance(r.plan, Demand) and r.plan.hard]
        return Guard(pool, hard, free)

    def _legal(self, pool: Pool) -> Bools:
        """Candidates that are items and not blocked, [B, C]."""
        return pool.held & ~self._hit(pool)

    def _marginals(self, metrics: Mapping[str, CompiledRule], rows: Rows, slates: Slates) -> dict[str, Floats]:
        out = {name: np.zeros(slates.items.shape) for name in metrics}
        for part, pool in self._pools(rows, slates):
            first = self._first_blocked(pool)
            whole = first < self.policy.slate
            at_first = first[:, None] == np.arange(self.policy.slate)
            for name, metric in metrics.items():
                lost = at_first.astype(np.float64) if metric.kind == "bury" else 0.0
                found = np.where(whole[:, None], lost, metric.marginals(pool))
                out[name][part] = np.where(metric.applicable(pool)[:, None], found, np.nan)
        return out

    def _check(self, rows: Rows, slates: Slates) -> None:
        expected = (len(rows), self.policy.slate)
        if slates.items.shape != expected:
            raise ValueError(f"slates for these rows and this policy are {expected}, not {slates.items.shape}")

    def _pools(self, rows: Rows, slates: Slates) -> Iterator[tuple[slice, Pool]]:
        self._check(rows, slates)
        for first in range(0, len(rows), BATCH):
            part = slice(first, min(first + BATCH, len(rows)))
            yield part, Pool(self.catalog, rows.take(np.arange(part.start, part.stop)), slates.items[part])

    def _hit(self, pool: Pool) -> Bools:
        """(row, candidate) pairs that some block hits, [B, C]."""
        out = np.zeros(pool.shape, np.bool_)
        for block in self.policy.blocks:
            hit = pool.matches(block.where, unknown=True)
            if block.only is not None:
                hit = hit & (pool.truth(block.only) >= UNKNOWN)
            out |= hit
        return out

    def _first_blocked(self, pool: Pool) -> Ints:
        """The place (from 0) of the first blocked item, K where there is none, [B]."""
        hit = self._hit(pool)
        return np.where(hit.any(1), hit.argmax(1), pool.shape[1])


class Growth:
    """Slates that grow from the candidates of a pool, and what each further candidate is worth to the policy."""

    def __init__(self, compiled: CompiledPolicy, pool: Pool) -> None:
        plans = [(rule, rule.plan) for rule in compiled.rules]
        scans = [(r, plan.scan(pool)) for r, plan in plans if not isinstance(plan, Labelled | Serendipitous)]
        self._rules = [rule for rule, _ in scans]
        self._scans: list[Scan] = [scan for _, scan in scans]
        weights = np.array([rule.weights(pool) for rule in self._rules]).reshape(len(self._rules), len(pool.rows))
        self._weights = weights / _divisor(weights.T)  # [rules, B]
        self.legal: Bools = compiled._legal(pool)
        """Candidates that are items and not blocked, [B, C]."""
        self._guard = compiled._guard(pool, self.legal)
        self._shape = pool.shape

    @property
    def open(self) -> Bools:
        """Those that may stand at the next place, [B, C]: not taken yet, and no hard quota against it."""
        return self._guard.open

    def gains(self) -> Floats:
        """What each candidate would add to R (over the rules without labels) at the next place, [B, C]."""
        out = np.zeros(self._shape)
        for rule, scan, weights in zip(self._rules, self._scans, self._weights, strict=True):
            if weights.any():
                out += rule.sign * weights[:, None] * scan.gains(slice(None))
        return out

    def take(self, at: Ints) -> None:
        """Put candidate `at[b]` at the next place of row b's slate."""
        self._guard.take(at)
        for scan in self._scans:
            scan.take(at)


def compile(policy: Policy, dataset: Dataset) -> CompiledPolicy:
    """Compile a checked policy against the training view of its data.

    Every statistic a rule needs (popularity, ranges, values that occur) is counted here, on `dataset` alone.
    """
    roots = list(_expressions(policy))
    catalog, k = with_known(gather(dataset, roots), roots), policy.slate
    rules = tuple(_rule(rule, dataset, catalog, k) for rule in policy.rules)
    targets = tuple(CompiledTarget(t, _metric(t, rules, dataset, catalog, k)) for t in policy.targets)
    return CompiledPolicy(policy, rules, targets, catalog)


def _rule(rule: Rule, dataset: Dataset, catalog: Catalog, k: int) -> CompiledRule:
    match rule:
        case Reward():
            return CompiledRule(rule.name, "reward", rule.weight, _measure(rule.measure, dataset, catalog, k))
        case Boost():
            plan = places.boosted(rule.where, k, rule.limit, bury=rule.bury)
            return CompiledRule(rule.name, "bury" if rule.bury else "boost", rule.weight, plan)
        case Quota():
            return CompiledRule(rule.name, "quota", rule.weight, quotas.demand(rule, dataset, k))
        case _:
            assert_never(rule)


def _metric(
    target: Target, rules: tuple[CompiledRule, ...], dataset: Dataset, catalog: Catalog, k: int
) -> CompiledRule | Crowd:
    match target.metric:
        case str(name):
            rule = next(rule for rule in rules if rule.name == name)
            within = [only for only in (rule.weight.only, target.only) if only is not None]
            only = Logic(target.span, "and", *within) if len(within) == 2 else next(iter(within), None)
            return replace(rule, weight=Weight(target.span, 1.0, only))
        case Population():
            return crowd(target.metric, dataset, k)
        case measure:
            plan = _measure(measure, dataset, catalog, k)
            return CompiledRule(target.name, "reward", Weight(target.span, 1.0, target.only), plan)


def _measure(measure: Measure, dataset: Dataset, catalog: Catalog, k: int) -> Plan | Labelled | Serendipitous:
    match measure:
        case Relevance():
            return Labelled(measure.metric)
        case Spread():
            return spread.spread(measure, dataset, k)
        case Serendipity():
            return serendipity(measure, dataset)
        case Novelty():
            users = int(np.count_nonzero(np.diff(dataset.start)))
            return places.surprising(measure.column, k, users, catalog.known[measure.column])
        case Portion():
            return places.portion(measure.where, k, discounted=measure.measure == "exposure")
        case Average():
            discounted = measure.measure == "discounted"
            return places.averaged(measure.operand, k, measure.missing, discounted=discounted)
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


def _true(pool: Pool, predicate: Expr) -> Bools:
    """Rows for which a predicate on user and history is true, [B]."""
    return np.broadcast_to(pool.truth(predicate) == TRUE, (len(pool.rows), 1))[:, 0]


def _divisor(weights: Floats) -> Floats:
    """Sum of each row's weights, [B]; 1 where they are all 0."""
    total = weights.sum(1)
    return np.where(total > 0, total, 1.0)
