"""Targets and lists made for nothing else in, the targets that even those do not reach out.

For each user the list takes, place by place, the item that moves the target's metric most, among those that blocks,
hard quotas and the user's history leave. Of a metric in which each place counts by itself no list is better, where no
hard quota holds; of others a better one may exist, and the finding is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recpolicy.analysis.scene import Scene
from recpolicy.compiler import CompiledRule, CompiledTarget
from recpolicy.compiler.places import Averaged, Matching, Surprising
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.population import Crowd
from recpolicy.compiler.relevance import Labelled
from recpolicy.compiler.scan import picked
from recpolicy.compiler.serendipity import Serendipitous
from recpolicy.dataset import Rows
from recpolicy.errors import Diagnostic
from recpolicy.errors import catalog as errors
from recpolicy.policy import Missing, Quota
from recpolicy.slate import unseen
from recpolicy.table import Floats

USERS = 200
"""Users for whom lists are made."""
TOGETHER = 400_000
"""Most (user, item) pairs at once: list columns and distances take many numbers a pair."""
SLACK = 1e-6


def targets(scene: Scene) -> Iterator[Diagnostic]:
    """Targets out of reach. Those relative to a baseline, and those on what users took next, are not looked at."""
    few = scene.some(USERS)
    for compiled in scene.compiled.targets:
        if compiled.target.of_baseline:
            continue
        if isinstance(compiled.metric, Crowd):
            yield from _population(scene, compiled, compiled.metric)
        elif not isinstance(compiled.metric.plan, Labelled | Serendipitous):
            yield from _mean(few, compiled, compiled.metric)


def _mean(scene: Scene, compiled: CompiledTarget, metric: CompiledRule) -> Iterator[Diagnostic]:
    target, least = compiled.target, compiled.target.op == ">="
    step = max(1, TOGETHER // max(1, scene.items))
    starts = range(0, len(scene.rows), step)
    parts = [scene.rows.take(np.arange(first, min(first + step, len(scene.rows)))) for first in starts]
    values = np.concatenate([np.zeros(0), *(_best(scene, metric, rows, 1.0 if least else -1.0) for rows in parts)])
    values = values[~np.isnan(values)]
    if not len(values):
        return
    best, error = float(values.mean()), 0.0
    if len(scene.rows) < scene.everybody:  # three standard errors, so that an unlucky draw does not decide
        error = 3 * float(values.std()) / float(np.sqrt(len(values)))
    if (best + error + SLACK < target.bound) if least else (best - error - SLACK > target.bound):
        span, source, _ = scene.place(target.name, target, bool)
        certain = _each_place_by_itself(metric) and not _hard(scene)
        found = f"the mean of the best lists found for {len(values):,} users"
        barred = bool(scene.policy.blocks) or _hard(scene)
        yield errors.out_of_reach(span, target.name, target.op, target.bound, best, found, certain, barred, source)


def _best(scene: Scene, metric: CompiledRule, rows: Rows, sign: float) -> Floats:
    """Each user's value of a list made to have as much (`sign` 1) or as little (-1) of the metric as there is, [B].

    NaN for users it is not about.
    """
    plan = metric.plan
    assert not isinstance(plan, Labelled | Serendipitous)
    every = np.tile(np.append(np.arange(scene.items), -1).astype(np.int32), (len(rows), 1))  # the last is a hole
    pool = Pool(scene.compiled.catalog, rows, every)  # [B, items + 1]
    fresh = np.concatenate([unseen(rows, scene.items), np.zeros((len(rows), 1), np.bool_)], 1)
    guard, scan = scene.compiled.guard(rows, every, fresh), plan.scan(pool)
    values = np.zeros(len(rows))
    for _ in range(scene.policy.slate):
        gains, open_ = np.broadcast_to(scan.gains(slice(None)), fresh.shape), guard.open
        at = np.where(open_.any(1), np.where(open_, sign * gains, -np.inf).argmax(1), scene.items)
        values += picked(gains, at)
        scan.take(at)
        guard.take(at)
    return np.where(metric.applicable(pool), values, np.nan)


def _each_place_by_itself(metric: CompiledRule) -> bool:
    plan = metric.plan
    return isinstance(plan, Matching | Surprising) or (
        isinstance(plan, Averaged) and plan.missing_as is not Missing.FAIL
    )


def _hard(scene: Scene) -> bool:
    return any(isinstance(rule, Quota) and rule.hard for rule in scene.policy.rules)


def _population(scene: Scene, compiled: CompiledTarget, crowd: Crowd) -> Iterator[Diagnostic]:
    """By counting: all users together are shown so many items, and so many values at the most."""
    target, size = compiled.target, crowd.column.size
    if not size:
        return
    shown = min(size, scene.everybody * scene.policy.slate * crowd.column.longest)
    match crowd.measure:
        case "coverage":
            best, least = shown / size, True
        case "gini":  # equal among the values shown
            best, least = (size - shown) / max(size - 1, 1), False
        case "largest_share":
            best, least = 1 / shown, False
    if (target.op == ">=") is least and ((best < target.bound) if least else (best > target.bound)):
        span, source, _ = scene.place(target.name, target, bool)
        found = (
            f"{scene.everybody:,} lists of {scene.policy.slate} places show {shown:,} of {size:,} values at the most"
        )
        yield errors.out_of_reach(span, target.name, target.op, target.bound, best, found, True, False, source)
