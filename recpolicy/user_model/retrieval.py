"""Draws the candidates of a large catalog: the best items of every source, and a sample of all others."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recpolicy.dataset.candidates import Candidates
from recpolicy.dataset.columns import Codes, Ints
from recpolicy.dataset.rows import Rows

CANDIDATES = 1000
"""C, candidates of a row."""
BEST = 100
"""Items that each source brings in; all other candidates are drawn."""


def with_candidates(
    rows: Rows, best: Sequence[Codes], items: int, *, count: int | None = None, answered: bool = False
) -> Rows:
    """Returns the rows with `count` candidates each: the `best` items of each source ([B, M], -1 none), others drawn.

    Rows with pools have all items of these in the place of the best. For `answered` rows next items are candidates,
    too. Those drawn are a uniform sample of the other unseen items, and each stands for as many of them as there are
    for one drawn: a sum over all items of some f is then estimated without bias by the sum over candidates of
    weight x f (stratified sampling). The draw depends on the user and the history, not on the other rows. Seen items
    fill up where too few are unseen.
    """
    count = min(items, max(count or CANDIDATES, 0 if rows.pool is None else 2 * rows.pool.shape[1]))
    named = best if rows.pool is None else [rows.pool]
    drawn, log_weight = np.empty((len(rows), count), np.int32), np.zeros((len(rows), count), np.float32)
    for i, user in enumerate(rows.user.tolist()):
        history = rows.history.row(i)
        known = [source[i] for source in named] + [rows.next_items.row(i) if answered else history[:0]]
        seen = history[:0] if rows.repeatable else np.unique(history)
        liked = np.setdiff1d(np.concatenate(known), np.append(seen, -1))[:count]
        rng = np.random.default_rng([user, zlib.crc32(history.tobytes())])
        chosen = _drawn(rng, items, count, liked, seen)
        weights = np.zeros(count, np.float32)
        if new := int(np.count_nonzero(~np.isin(chosen, seen))):
            weights[len(liked) : len(liked) + new] = np.log((items - len(seen) - len(liked)) / new)
        order = np.argsort(both := np.append(liked, chosen))
        drawn[i], log_weight[i] = both[order], weights[order]
    return replace(rows, candidates=Candidates(drawn, log_weight))


def _drawn(rng: np.random.Generator, items: int, count: int, liked: Ints, seen: Codes) -> Ints:
    """Items that are neither liked nor seen, so that there are `count` with the liked; then seen ones, if needed."""
    some = rng.choice(items, min(items, 2 * count + len(seen)), replace=False)
    some = some[~np.isin(some, liked)]
    return np.concatenate([some[~np.isin(some, seen)], seen])[: count - len(liked)]
