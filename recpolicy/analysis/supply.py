"""Finds quotas and blocks that cannot be met for some users with the items that they may still be shown.

The items left for a user are those that no block hides and the user has not taken. A quota that these items cannot meet
cannot be met. A quota that they can meet alone may still be impossible together with other quotas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recpolicy.analysis.scene import Scene, hint, true_for
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.catalog import UNKNOWN, by_item_only
from recpolicy.compiler.encoded_column import EncodedColumn, encode
from recpolicy.dataset.columns import Bools, Ints
from recpolicy.dataset.slates import unseen
from recpolicy.errors import Diagnostic, Note
from recpolicy.errors import data_findings as errors
from recpolicy.language.checker.conflicts.model import QuotaBounds, demands
from recpolicy.language.policy import Block, Different, Per, Quota, Where
from recpolicy.types import Type


@dataclass(frozen=True, eq=False)
class Supply:
    """A quota over one stretch of places, and the items or values left for it."""

    quota: Quota
    demand: QuotaBounds
    values: EncodedColumn | None
    """The column whose values are counted."""
    places: int
    low: int | None
    high: int | None
    holds: Bools  # [rows], the users it is for
    available: Ints  # [rows], matching items, or different values, that are left
    room: Ints  # [rows], places that can be filled within the upper limit


def supply(scene: Scene) -> Iterator[Diagnostic]:
    """Finds quotas that the catalog or the items left for a user cannot meet, and blocks that leave too few items."""
    supplies = list(_supplies(scene))
    rows, blocks = len(scene.rows), scene.policy.blocks
    fresh, left = np.zeros((2, rows), np.int64)
    hidden, unknown = np.zeros((2, len(blocks), rows), np.int64)
    for part, batch in scene.parts():
        free = unseen(batch.rows, scene.items)
        fresh[part] = free.sum(1)
        for i, block in enumerate(blocks):
            hit = _hit(block, batch)
            hidden[i, part] = np.broadcast_to(hit, batch.shape).sum(1)
            doubtful = hit & (batch.truth(batch.catalog.term(block.where)) == UNKNOWN)
            unknown[i, part] = np.broadcast_to(doubtful, batch.shape).sum(1)
            free = free & ~hit
        left[part] = free.sum(1)
        for each in supplies:
            each.holds[part] = true_for(batch, each.demand.when)
            each.available[part], each.room[part] = _available(each, batch, free)
    for each in supplies:
        yield from _quota(scene, each, left)
    yield from _blocks(scene, fresh, left, hidden, unknown)


def _supplies(scene: Scene) -> Iterator[Supply]:
    k, rows = scene.policy.slate, len(scene.rows)
    for demand in demands(scene.policy):
        if isinstance(demand.rule, Quota):
            counted = demand.rule.counted
            values = None
            if isinstance(counted, Per | Different):
                values = encode(counted.column.name, scene.dataset.items.columns[counted.column.name])
            for stretch, low, high in demand.pieces((0, k)):
                holds, numbers = np.zeros(rows, np.bool_), np.zeros((2, rows), np.int64)
                yield Supply(demand.rule, demand, values, len(stretch), low, high, holds, *numbers)


def _hit(block: Block, batch: CandidateBatch) -> Bools:
    """Items that a block hides, [B or 1, items]."""
    term = batch.catalog.term
    hit = batch.matches(term(block.where), unknown=True)
    return hit if block.only is None else hit & (batch.truth(term(block.only)) >= UNKNOWN)


# ---- available items and values -------------------------------------------------------------------------------------


def _available(supply: Supply, batch: CandidateBatch, free: Bools) -> tuple[Ints, Ints]:
    """The items or values available among the `free` items [B, items], and the places that can be filled; both [B]."""
    left, high = free.sum(1), supply.high
    if supply.values is None:
        assert isinstance(supply.quota.counted, Where)
        predicate = batch.catalog.term(supply.quota.counted.predicate)
        matching = (batch.matches(predicate, unknown=False) & free).sum(1)
        counted = (batch.matches(predicate, unknown=True) & free).sum(1)
        return matching, left if high is None else left - counted + np.minimum(counted, high)
    counts, unknown = _counts(supply.values, free)
    different = (counts > 0).sum(1)
    single = isinstance(supply.quota.counted, Per | Different) and supply.quota.counted.column.type is not Type.LIST
    if high is None or not (single or supply.demand.per):
        return different, left
    if supply.demand.per:  # an item with several values counts towards several caps, so this is an upper bound
        empty = np.maximum(left - counts.sum(1) - unknown, 0) if single else _without(supply.values, free)
        return different, np.minimum(counts, high).sum(1) + np.minimum(unknown, high) + empty
    return different, _largest(counts, unknown, high)


def _counts(values: EncodedColumn, free: Bools) -> tuple[Ints, Ints]:
    """The number of free items with each value, [B, values], and with an unknown value, [B]."""
    row, item = np.nonzero(free)
    wide = values.size + 1
    counts = np.bincount((row[:, None] * wide + values.codes[item]).ravel(), minlength=len(free) * wide)
    return counts.reshape(len(free), wide)[:, : values.size], (free & values.missing[:-1]).sum(1)


def _without(values: EncodedColumn, free: Bools) -> Ints:
    """The number of free items with an empty list, [B]."""
    empty = (values.codes[:-1] == values.size).all(1) & ~values.missing[:-1]
    return np.asarray((free & empty).sum(1), np.int64)


def _largest(counts: Ints, unknown: Ints, high: int) -> Ints:
    """The number of items with one of the `high` most frequent values, [B]; each unknown value counts as different."""
    top = np.sort(counts, 1)[:, ::-1][:, :high]
    shown = (top > 0).sum(1)
    return np.asarray(top.sum(1) + np.minimum(unknown, np.maximum(high - shown, 0)), np.int64)


# ---- findings -------------------------------------------------------------------------------------------------------


def _quota(scene: Scene, supply: Supply, left: Ints) -> Iterator[Diagnostic]:
    """At most one finding for each bound; users with too few items `left` [rows] for any list do not count."""
    quota, users = supply.quota, int(supply.holds.sum())
    if not users:
        return
    within = supply.demand.when is not None
    concerned = supply.holds & (left >= supply.places)
    what = "different value" if supply.values is not None else "matching item"
    if supply.low is not None and quota.at_least is not None:
        short = concerned & (supply.available < supply.low)
        span, source, _ = scene.place(quota.name, quota.at_least, bool)
        total = _total(scene, supply)
        if total is not None and total < supply.low:
            help = hint(scene, quota.counted.predicate) if isinstance(quota.counted, Where) and not total else None
            yield errors.too_few_items(span, quota.name, supply.low, total, what, help, quota.hard, source)
        elif short.any():
            counted = scene.users(int(short.sum()), users, within=within)
            least = int(supply.available[short].min())
            yield errors.too_few_left(span, quota.name, counted, supply.low, least, what, quota.hard, source)
    if supply.high is not None and quota.at_most is not None:
        short = concerned & (supply.room < supply.places)
        if short.any():
            span, source, _ = scene.place(quota.name, quota.at_most, bool)
            counted = scene.users(int(short.sum()), users, within=within)
            least = int(supply.room[short].min())
            yield errors.too_few_allowed(span, quota.name, counted, supply.places, least, quota.hard, source)


def _total(scene: Scene, supply: Supply) -> int | None:
    """The number of items or values in the whole catalog for a quota; None where it depends on the user."""
    if supply.values is not None:
        return supply.values.size
    assert isinstance(supply.quota.counted, Where)
    predicate = supply.quota.counted.predicate
    if not by_item_only(predicate):
        return None
    term = scene.compiled.catalog.term(predicate)
    return next((int(batch.matches(term, unknown=False).sum()) for _, batch in scene.some(1).parts()), None)


def _blocks(scene: Scene, fresh: Ints, left: Ints, hidden: Ints, unknown: Ints) -> Iterator[Diagnostic]:
    """One finding for all blocks, at the block that hides most items from the users concerned."""
    k = scene.policy.slate
    short = (left < k) & (fresh >= k)
    if not short.any():
        return
    hidden, unknown = hidden[:, short], unknown[:, short]
    first, *others = (int(i) for i in np.argsort(-hidden.sum(1), kind="stable") if hidden[i].any())
    blocks = scene.policy.blocks
    span, source, _ = scene.place(blocks[first].name, blocks[first].where, bool)
    notes = []
    for i in others:
        place, file, _ = scene.place(blocks[i].name, blocks[i].where, bool)
        text = f"hides up to {int(hidden[i].max()):,}"
        notes.append(Note(place, text, None if file is source else file or scene.main))
    users = scene.users(int(short.sum()), len(left), within=False)
    least, blind = int(left[short].min()), bool(2 * unknown[first].sum() > hidden[first].sum())
    every, name = bool(short.all()), blocks[first].name
    yield errors.blocks_leave_too_few(span, name, users, k, least, blind, tuple(notes), every, source)
