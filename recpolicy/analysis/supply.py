"""Quotas, blocks and what each user may still be shown in, the users for whom they cannot be met out.

What is left for a user is every item that no block hides and the user has not taken. A quota that cannot be met by
what is left cannot be met; the other way round, other quotas may still stand in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recpolicy.analysis.scene import Scene, hint, true_for
from recpolicy.compiler.catalog import UNKNOWN, by_item_only
from recpolicy.compiler.coded import Coded, coded
from recpolicy.compiler.pool import Pool
from recpolicy.dataset.columns import Bools, Ints
from recpolicy.dataset.slates import unseen
from recpolicy.errors import Diagnostic, Note
from recpolicy.errors import catalog as errors
from recpolicy.language.checker.conflicts.model import Demand, demands
from recpolicy.language.policy import Block, Different, Per, Quota, Where
from recpolicy.types import Type


@dataclass(frozen=True, eq=False)
class Asked:
    """A quota over one stretch of places, and what there is for it."""

    quota: Quota
    demand: Demand
    values: Coded | None
    """The column whose values are counted."""
    places: int
    low: int | None
    high: int | None
    holds: Bools  # [rows], the users it is for
    found: Ints  # [rows], items that match, or different values, left
    room: Ints  # [rows], places that can be filled without breaking the upper limit


def supply(scene: Scene) -> Iterator[Diagnostic]:
    """Quotas that the catalog or what is left for some users cannot satisfy, and blocks that leave too few items."""
    quotas = list(_asked(scene))
    rows, blocks = len(scene.rows), scene.policy.blocks
    fresh, left = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    hidden, unknown = np.zeros((2, len(blocks), rows), np.int64)
    for part, pool in scene.parts():
        new = unseen(pool.rows, scene.items)
        fresh[part], free = new.sum(1), new
        for i, block in enumerate(blocks):
            hit = _hit(block, pool)
            hidden[i, part] = np.broadcast_to(hit, pool.shape).sum(1)
            doubtful = hit & (pool.truth(pool.catalog.term(block.where)) == UNKNOWN)
            unknown[i, part] = np.broadcast_to(doubtful, pool.shape).sum(1)
            free = free & ~hit
        left[part] = free.sum(1)
        for asked in quotas:
            asked.holds[part] = true_for(pool, asked.demand.when)
            asked.found[part], asked.room[part] = _available(asked, pool, free)
    for asked in quotas:
        yield from _quota(scene, asked, left)
    yield from _blocks(scene, fresh, left, hidden, unknown)


def _asked(scene: Scene) -> Iterator[Asked]:
    k, rows = scene.policy.slate, len(scene.rows)
    for demand in demands(scene.policy):
        if isinstance(demand.rule, Quota):
            counted = demand.rule.counted
            values = None
            if isinstance(counted, Per | Different):
                values = coded(counted.column.name, scene.dataset.items.columns[counted.column.name])
            for stretch, low, high in demand.pieces((0, k)):
                nobody, nothing = np.zeros(rows, np.bool_), np.zeros((2, rows), np.int64)
                yield Asked(demand.rule, demand, values, len(stretch), low, high, nobody, *nothing)


def _hit(block: Block, pool: Pool) -> Bools:
    """Items that a block hides, [B or 1, items]."""
    term = pool.catalog.term
    hit = pool.matches(term(block.where), unknown=True)
    return hit if block.only is None else hit & (pool.truth(term(block.only)) >= UNKNOWN)


# ---- what there is --------------------------------------------------------------------------------------------------


def _available(asked: Asked, pool: Pool, free: Bools) -> tuple[Ints, Ints]:
    """Items or values found among the `free` ones [B, items], and the places that can be filled; both [B]."""
    left = free.sum(1)
    if asked.values is None:
        assert isinstance(asked.quota.counted, Where)
        predicate = pool.catalog.term(asked.quota.counted.predicate)
        found = (pool.matches(predicate, unknown=False) & free).sum(1)
        counted = (pool.matches(predicate, unknown=True) & free).sum(1)
        return found, left if asked.high is None else left - counted + np.minimum(counted, asked.high)
    counts, unknown = _counts(asked.values, free)
    found = (counts > 0).sum(1)
    single = isinstance(asked.quota.counted, Per | Different) and asked.quota.counted.column.type is not Type.LIST
    if asked.high is None or not (single or asked.demand.per):
        return found, left
    if asked.demand.per:  # an item of several values takes up several caps: then this is the most there can be
        empty = np.maximum(left - counts.sum(1) - unknown, 0) if single else _without(asked.values, free)
        return found, np.minimum(counts, asked.high).sum(1) + np.minimum(unknown, asked.high) + empty
    return found, _largest(counts, unknown, asked.high)


def _counts(values: Coded, free: Bools) -> tuple[Ints, Ints]:
    """How many of the free items have each value, [B, values], and how many have an unknown one, [B]."""
    row, item = np.nonzero(free)
    wide = values.size + 1
    counts = np.bincount((row[:, None] * wide + values.codes[item]).ravel(), minlength=len(free) * wide)
    return counts.reshape(len(free), wide)[:, : values.size], (free & values.missing[:-1]).sum(1)


def _without(values: Coded, free: Bools) -> Ints:
    """Free items that have no value and are not unknown, [B]: empty lists."""
    empty = (values.codes[:-1] == values.size).all(1) & ~values.missing[:-1]
    return np.asarray((free & empty).sum(1), np.int64)


def _largest(counts: Ints, unknown: Ints, high: int) -> Ints:
    """Items of the `high` most frequent values, [B]; an unknown value is one that no other item has."""
    if high == 0:
        return np.zeros(len(counts), np.int64)
    top = np.sort(counts, 1)[:, ::-1][:, :high]
    shown = (top > 0).sum(1)
    return np.asarray(top.sum(1) + np.minimum(unknown, np.maximum(high - shown, 0)), np.int64)


# ---- findings -------------------------------------------------------------------------------------------------------


def _quota(scene: Scene, asked: Asked, left: Ints) -> Iterator[Diagnostic]:
    """At most one finding for each bound; users with too few items `left` [rows] for any list do not count."""
    quota, users = asked.quota, int(asked.holds.sum())
    if not users:
        return
    within = asked.demand.when is not None
    what = "different value" if asked.values is not None else "matching item"
    if asked.low is not None and quota.at_least is not None:
        short = asked.holds & (asked.found < asked.low) & (left >= asked.places)
        span, source, _ = scene.place(quota.name, quota.at_least, bool)
        in_all = _in_all(scene, asked)
        if in_all is not None and in_all < asked.low:
            help = hint(scene, quota.counted.predicate) if isinstance(quota.counted, Where) and not in_all else None
            yield errors.too_few_items(span, quota.name, asked.low, in_all, what, help, quota.hard, source)
        elif short.any():
            counted = scene.users(int(short.sum()), users, within=within)
            least = int(asked.found[short].min())
            yield errors.too_few_left(span, quota.name, counted, asked.low, least, what, quota.hard, source)
    if asked.high is not None and quota.at_most is not None:
        short = asked.holds & (asked.room < asked.places) & (left >= asked.places)
        if short.any():
            span, source, _ = scene.place(quota.name, quota.at_most, bool)
            counted = scene.users(int(short.sum()), users, within=within)
            most = int(asked.room[short].min())
            yield errors.too_few_allowed(span, quota.name, counted, asked.places, most, quota.hard, source)


def _in_all(scene: Scene, asked: Asked) -> int | None:
    """Items or values that the whole catalog has for a quota; None where it depends on the user."""
    if asked.values is not None:
        return asked.values.size
    assert isinstance(asked.quota.counted, Where)
    predicate = asked.quota.counted.predicate
    if not by_item_only(predicate):
        return None
    term = scene.compiled.catalog.term(predicate)
    return next((int(pool.matches(term, unknown=False).sum()) for _, pool in scene.some(1).parts()), None)


def _blocks(scene: Scene, fresh: Ints, left: Ints, hidden: Ints, unknown: Ints) -> Iterator[Diagnostic]:
    """One finding for all blocks, at the one that hides most from the users concerned."""
    k = scene.policy.slate
    short = (left < k) & (fresh >= k)
    if not short.any():
        return
    blocks = scene.policy.blocks
    order = [int(i) for i in np.argsort(-hidden[:, short].sum(1), kind="stable") if hidden[i, short].any()]
    placed = [(blocks[i], *scene.place(blocks[i].name, blocks[i].where, bool)[:2]) for i in order]
    block, span, source = placed[0]
    main = scene.policy.sources[0] if scene.policy.sources else None
    notes = tuple(
        Note(other, f"hides up to {int(hidden[i, short].max()):,}", None if file is source else file or main)
        for i, (_, other, file) in zip(order[1:], placed[1:], strict=True)
    )
    users = scene.users(int(short.sum()), len(left), within=False)
    least, blind = int(left[short].min()), bool(2 * unknown[order[0], short].sum() > hidden[order[0], short].sum())
    yield errors.blocks_leave_too_few(span, block.name, users, k, least, blind, notes, bool(short.all()), source)
