"""A typed policy and a training view in, vectorised rules over rows and slates out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from recpolicy.compiler import places, quotas, spread
from recpolicy.compiler.catalog import TRUE, UNKNOWN, Catalog, gather
from recpolicy.compiler.pool import EVERY_ITEM, Pool, with_known
from recpolicy.compiler.quotas import Demand
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.scan import Plan, Scan, ledger
from recpolicy.compiler.spread import Calibration, Failing
from recpolicy.dataset import Dataset, Rows, Slates
from recpolicy.policy import (
    Average,
    Block,
    Boost,
    Different,
    Expr,
    Measure,
    Novelty,
    Per,
    Policy,
    Portion,
    Quota,
    Relevance,
    Reward,
    Rule,
    Spread,
    Weight,
    Where,
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
    plan: Plan | Demand | Labelled

    @property
    def needs_labels(self) -> bool:
        """True where the value is known only against the items the user took next."""
        return isinstance(self.plan, Labelled)

    @property
    def sign(self) -> float:
        """-1 for a bury, which is subtracted, else 1."""
        return -1.0 if self.kind == "bury" else 1.0

    def marginals(self, pool: Pool) -> Floats:
        """What each place adds to the value of its slate, [B, K]; blocks and segments are not looked at."""
        return self.plan.marginals(pool) if isinstance(self.plan, Labelled) else ledger(self.plan.scan(pool), pool)

    def applicable(self, pool: Pool) -> Bools:
        """Rows the rule has a value for, [B]: inside its segment, and with the labels or the history it needs."""
        out = np.ones(len(pool.rows), np.bool_)
        if self.weight.only is not None:
            out &= _true(pool, self.weight.only)
        plan = self.plan.plan if isinstance(self.plan, Failing) else self.plan
        if isinstance(plan, Labelled):
            out &= pool.rows.next_items.lengths > 0
        elif isinstance(plan, Calibration):
            out &= plan.applicable(pool.rows.history)
        return out

    def weights(self, pool: Pool) -> Floats:
        """The weight for each row, [B]: of the last branch that is true, else the base; 0 where not applicable."""
        out = np.full(len(pool.rows), self.weight.base)
        for branch, weight in self.weight.changes:
            out = np.where(_true(pool, branch), weight, out)
        return np.where(self.applicable(pool), out, 0.0)


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
    catalog: Catalog

    def marginals(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per rule [B, K]: the value of the prefix up to each rank less that of the prefix before it."""
        out = {rule.name: np.zeros(slates.items.shape) for rule in self.rules}
        for part, pool in self._pools(rows, slates):
            first = self._first_blocked(pool)
            whole = first < self.policy.slate
            at_first = first[:, None] == np.arange(self.policy.slate)
            for rule in self.rules:
                lost = at_first.astype(np.float64) if rule.kind == "bury" else 0.0
                found = np.where(whole[:, None], lost, rule.marginals(pool))
                out[rule.name][part] = np.where(rule.applicable(pool)[:, None], found, np.nan)
        return out

    def values(self, rows: Rows, slates: Slates) -> dict[str, Floats]:
        """Per rule [B]: its value in [0, 1]."""
        return {name: found.sum(1) for name, found in self.marginals(rows, slates).items()}

    def total_marginals(self, rows: Rows, slates: Slates) -> Floats:
        """R per rank, [B, K]: weighted rules, buries subtracted, over the sum of the row's weights; 0 without any."""
        weights, found = self.weights(rows), self.marginals(rows, slates)
        out = np.zeros(slates.items.shape)
        for i, rule in enumerate(self.rules):
            out += rule.sign * weights[:, i, None] * np.nan_to_num(found[rule.name], nan=0.0)
        return out / _divisor(weights)[:, None]

    def total(self, rows: Rows, slates: Slates) -> Floats:
        """The whole reward R, [B], in [-1, 1]."""
        return np.asarray(self.total_marginals(rows, slates).sum(1), np.float64)

    def weights(self, rows: Rows) -> Floats:
        """Each row's weight of every rule in the order of `rules`, [B, rules]; 0 where not applicable."""
        pool = Pool(self.catalog, rows, np.zeros((len(rows), 0), np.int32))
        return np.array([rule.weights(pool) for rule in self.rules]).reshape(len(self.rules), len(rows)).T

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
                if not isinstance(rule.plan, Labelled):
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
            out[part] = ~self._hit(Pool(self.catalog, rows.take(np.arange(part.start, part.stop)), EVERY_ITEM))
        return out

    def growth(self, rows: Rows, candidates: Codes) -> Growth:
        """Slates to be built from candidates [B, C] place by place; rules that need labels are left out."""
        return Growth(self, Pool(self.catalog, rows, candidates))

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _pools(self, rows: Rows, slates: Slates) -> Iterator[tuple[slice, Pool]]:
        expected = (len(rows), self.policy.slate)
        if slates.items.shape != expected:
            raise ValueError(f"slates for these rows and this policy are {expected}, not {slates.items.shape}")
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
        self._rules = [rule for rule in compiled.rules if not isinstance(rule.plan, Labelled)]
        self._scans: list[Scan] = [r.plan.scan(pool) for r in self._rules if not isinstance(r.plan, Labelled)]
        weights = np.array([rule.weights(pool) for rule in self._rules]).reshape(len(self._rules), len(pool.rows))
        self._weights = weights / _divisor(weights.T)  # [rules, B]
        self.open: Bools = pool.held & ~compiled._hit(pool)
        """Candidates that are items and not blocked, [B, C]."""
        self._shape = pool.shape

    def gains(self) -> Floats:
        """What each candidate would add to R (over the rules without labels) at the next place, [B, C]."""
        out = np.zeros(self._shape)
        for rule, scan, weights in zip(self._rules, self._scans, self._weights, strict=True):
            if weights.any():
                out += rule.sign * weights[:, None] * scan.gains(slice(None))
        return out

    def take(self, at: Ints) -> None:
        """Put candidate `at[b]` at the next place of row b's slate."""
        for scan in self._scans:
            scan.take(at)


def compile(policy: Policy, dataset: Dataset) -> CompiledPolicy:
    """Compile a checked policy against the training view of its data.

    Every statistic a rule needs (popularity, ranges, values that occur) is counted here, on `dataset` alone.
    """
    roots = list(_expressions(policy))
    catalog = with_known(gather(dataset, roots), roots)
    return CompiledPolicy(policy, tuple(_rule(r, dataset, catalog, policy.slate) for r in policy.rules), catalog)


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


def _measure(measure: Measure, dataset: Dataset, catalog: Catalog, k: int) -> Plan | Labelled:
    match measure:
        case Relevance():
            return Labelled(measure.metric)
        case Spread():
            return spread.spread(measure, dataset, k)
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
            case Reward(measure=Portion(where=where)) | Boost(where=where) | Quota(counted=Where(predicate=where)):
                yield where
            case Reward(measure=Average(operand=operand)):
                yield operand
            case Reward(measure=Novelty(column=column)):
                yield column
            case Reward(measure=Relevance() | Spread()) | Quota(counted=Per() | Different()):
                pass
            case _:
                raise TypeError(f"no such rule: {type(rule).__name__}")
    for block in policy.blocks:
        yield from _of_block(block)


def _of_block(block: Block) -> tuple[Expr, ...]:
    return (block.where,) if block.only is None else (block.where, block.only)


def _true(pool: Pool, predicate: Expr) -> Bools:
    """Rows for which a predicate on user and history is true, [B]."""
    return np.broadcast_to(pool.truth(predicate) == TRUE, (len(pool.rows), 1))[:, 0]


def _divisor(weights: Floats) -> Floats:
    """Sum of each row's weights, [B]; 1 where they are all 0."""
    total = weights.sum(1)
    return np.where(total > 0, total, 1.0)
