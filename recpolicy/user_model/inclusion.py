"""Computes the probability that each item is among the next n a user takes, and draws lists of next items."""

from __future__ import annotations

import numpy as np

from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.evaluation.linear import Scores

STEPS = 100
"""Most steps of Newton's method; a few are enough unless the shares differ by orders of magnitude."""
EXACT = 1e-6
"""Largest relative error of the sum of the probabilities."""


def inclusion_probabilities(shares: Scores, count: Ints, weight: Scores | None = None) -> Scores:
    """Computes the probability that each item is among `count` [B] items drawn in turn without replacement, [B, items].

    Item i is drawn next with probability proportional to `shares` [B, items] among the remaining items. In continuous
    time each item waits exponentially with rate p_i, and the draw is the first n to arrive. If the time T of the n-th
    is taken as fixed, item i is among them with 1 - exp(-p_i T), and the sum of these is n (Rosen 1972). For n = 1 the
    probabilities are the shares. n is at most 95 % of the items that have a share; beyond that all are almost certain.
    Where an item stands for others, too, `weight` [B, items] says for how many together.
    """
    p = shares.astype(np.float64)

    def total(values: Floats | Bools) -> Floats:
        return np.asarray((values if weight is None else values * weight).sum(1), np.float64)

    n = np.minimum(count, 0.95 * total(p > 0))
    time = n.astype(np.float64)
    for _ in range(STEPS):  # the sum is concave in T: Newton's steps rise to the root and never pass it
        late = np.exp(-p * time[:, None])
        short = n - total(1.0 - late)
        if (short <= EXACT * n).all():
            break
        time += short / np.maximum(total(p * late), 1e-300)
    probabilities = -np.expm1(-p * time[:, None])
    one = count == 1
    probabilities[one] = p[one] / np.maximum(total(p)[one, None], 1e-300)
    return np.asarray(probabilities, np.float32)


def sample_next_items(shares: Scores, count: int, draws: int, rng: np.random.Generator) -> Codes:
    """Draws lists of `count` next items without replacement by `shares` [B, items], [draws, B, count], in order.

    They are the largest of log p + Gumbel noise (Yellott 1977; Kool et al., ICML 2019).
    """
    with np.errstate(divide="ignore"):
        logp = np.log(shares.astype(np.float64))
    out = np.empty((draws, len(shares), count), np.int32)
    for i in range(draws):
        noisy = logp + rng.gumbel(size=logp.shape)
        best = np.argpartition(-noisy, count - 1, 1)[:, :count]
        order = np.argsort(-np.take_along_axis(noisy, best, 1), 1)
        out[i] = np.take_along_axis(best, order, 1)
    return out
