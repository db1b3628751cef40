"""Draws the candidate pool of each row: the items that its slate may be chosen from."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recpolicy.dataset.columns import Bools, Codes
from recpolicy.dataset.rows import Rows
from recpolicy.evaluation.baselines import Baseline, Scores, top
from recpolicy.trainer.config import Prompt

BATCH = 512
"""Rows whose scores of all items are in memory at a time, at most."""
PAIRS = 25_000_000
"""Scores that are in memory at a time, at most."""


def draw(
    rows: Rows,
    retriever: Baseline,
    servable: Callable[[Rows], Bools],
    settings: Prompt,
    seed: int,
    *,
    answered: bool = False,
) -> Rows:
    """Returns the rows with pools of N = `settings.pool` servable items each, [B, N], padded with -1.

    A share `settings.random_fraction` is drawn evenly from the servable items ([B, items]) and the rest are the
    retriever's best, all in random order: the place in a pool has no meaning. The draw depends only on the user, the
    history, the servable items and the seed, and not on the other rows. Next items do not influence it, unless the rows
    are `answered` examples, whose answers must be in the pool: servable next items that were not drawn then replace
    those drawn last.
    """
    size = settings.pool
    best = size - round(size * settings.random_fraction)
    pools = np.empty((len(rows), size), np.int32)
    for first in range(0, len(rows), BATCH):
        part = np.arange(first, min(first + BATCH, len(rows)))
        some = rows.take(part)
        free = servable(some)
        noise = _noise(some, free.shape[1] + size, seed)
        liked = top(retriever.scores(some), some, best, free).items
        rest = free.copy()
        row, at = (liked >= 0).nonzero()
        rest[row, liked[row, at]] = False
        drawn = np.concatenate([liked, top(noise[:, :-size], some, size - best, rest).items], 1)
        if answered:
            for i, pool in enumerate(drawn):
                _insert(pool, [item for item in some.next_items.row(i).tolist() if free[i, item]])
        pools[part] = np.take_along_axis(drawn, noise[:, -size:].argsort(1), 1)
    return replace(rows, pool=pools)


def recall(rows: Rows) -> float:
    """Computes the share of the rows' next items that are in their pools, in [0, 1]."""
    assert rows.pool is not None, "the rows have no pools"
    hits = [np.isin(rows.next_items.row(i), pool) for i, pool in enumerate(rows.pool)]
    return float(np.concatenate(hits).mean())


def _noise(rows: Rows, width: int, seed: int) -> Scores:
    """Random numbers of each row, [B, width], the same whatever the other rows are."""
    keys = ([seed, int(user), zlib.crc32(rows.history.row(i).tobytes())] for i, user in enumerate(rows.user))
    return np.array([np.random.default_rng(key).random(width, np.float32) for key in keys]).reshape(len(rows), width)


def _insert(pool: Codes, answers: list[int]) -> None:
    """Replace the last items of a pool that are not answers by the answers that it lacks."""
    items = pool.tolist()
    missing = [item for item in dict.fromkeys(answers) if item not in items]
    others = [at for at, item in enumerate(items) if item not in answers]  # as many at least: N is not below K
    pool[others[len(others) - len(missing) :]] = missing
