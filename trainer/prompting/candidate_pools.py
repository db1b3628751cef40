"""Rows and a retriever in, the candidate pool of each row out: what its slate may be chosen from."""

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
"""Rows whose scores of all items are held at once."""


def drawn(
    rows: Rows,
    retriever: Baseline,
    servable: Callable[[Rows], Bools],
    settings: Prompt,
    seed: int,
    *,
    answered: bool = False,
) -> Rows:
    """The rows with pools of `settings.pool` servable items each, [B, N]; fewer (then -1) where fewer are servable.

    The retriever's best, a share `settings.random_fraction` drawn evenly from the other servable items ([B, items]),
    all in random order: the place in a pool tells nothing. What is drawn for a row depends on its user, its history,
    the items it may be served and the seed, not on the rows beside it. Next items have no part in it, unless the rows are
    `answered` examples, whose answers must be in the pool: those next items that are servable and were not drawn then
    replace what was drawn last.
    """
    size = settings.pool
    best = size - round(size * settings.random_fraction)
    pools = np.empty((len(rows), size), np.int32)
    for first in range(0, len(rows), BATCH):
        part = np.arange(first, min(first + BATCH, len(rows)))
        some = rows.take(part)
        open_ = servable(some)
        noise = _noise(some, open_.shape[1] + size, seed)
        liked = top(retriever.scores(some), some, best, open_).items
        left = open_.copy()
        row, at = (liked >= 0).nonzero()
        left[row, liked[row, at]] = False
        found = np.concatenate([liked, top(noise[:, :-size], some, size - best, left).items], 1)
        if answered:
            for i, pool in enumerate(found):
                _answer(pool, [item for item in some.next_items.row(i).tolist() if open_[i, item]])
        pools[part] = np.take_along_axis(found, noise[:, -size:].argsort(1), 1)
    return replace(rows, pool=pools)


def recall(rows: Rows) -> float:
    """The share of the rows' next items that their pools hold."""
    assert rows.pool is not None, "the rows have no pools"
    held = [np.isin(rows.next_items.row(i), pool) for i, pool in enumerate(rows.pool)]
    return float(np.concatenate(held).mean())


def _noise(rows: Rows, width: int, seed: int) -> Scores:
    """Random numbers of each row, [B, width], the same wherever and whenever the row comes up."""
    keys = ([seed, int(user), zlib.crc32(rows.history.row(i).tobytes())] for i, user in enumerate(rows.user))
    return np.array([np.random.default_rng(key).random(width, np.float32) for key in keys]).reshape(len(rows), width)


def _answer(pool: Codes, answers: list[int]) -> None:
    """Put the answers that a pool lacks in the place of its last items that are none."""
    held = pool.tolist()
    missing = [item for item in dict.fromkeys(answers) if item not in held]
    others = [at for at, item in enumerate(held) if item not in answers]  # as many at least: N is not below K
    pool[others[len(others) - len(missing) :]] = missing
