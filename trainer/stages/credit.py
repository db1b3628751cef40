"""Slates of a batch and what was open at their places in, what each choice of an item was worth out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.evaluation.group_stats import group_centered

OTHERS = 4
"""Slates of the group whose items are tried at a slate's places."""

Worth = Callable[[Codes, Ints], Floats]
"""Slates [N, K] and the row of the batch that each is of [N] to their worth [N]."""
Allowed = Callable[[Ints, Ints, Codes], Bools]
"""Rows of the batch, places and items, [N] each, to whether the item could have been chosen there."""


def of_slates(worth: Floats, generations: int) -> Floats:
    """The worth of each slate beside the mean of its group, [B]; `copies` slates of a row are adjacent."""
    return group_centered(worth[:, None], generations)[:, 0]


def of_places(slates: Codes, own: Floats, group: Codes, worth: Worth, allowed: Allowed) -> Floats:
    """What the choice at each place was worth, [B, K], all that was chosen at the other places kept.

    The worth of the slate less the mean worth of the same slate with that place's items of others in its group, which
    are samples of the same choice: a difference reward (Wolpert and Tumer 2001) against the counterfactual baseline of
    COMA (Foerster et al., AAAI 2018, section 4), estimated by sampling. What all other places add to the noise of a
    slate's worth is the same on both sides and drops out. An item that stands at a later place of the slate changes
    places with the one that it replaces; what could not have been chosen there does not count. 0 for a hole, and where
    nothing else was tried.

    `own` [B]: the worth of the slates [B, K]. `group` [others, B, K]: the other slates.
    """
    others, b, k = group.shape
    tried = np.broadcast_to(slates[None, :, None], (others, b, k, k)).copy()
    row, place = np.broadcast_to(np.arange(b)[:, None], (b, k)), np.broadcast_to(np.arange(k), (b, k))
    at = np.nonzero(slates[None, :, None] == group[..., None])  # where the slate holds the item already
    tried[at] = slates[at[1], at[2]]
    tried[:, row, place, place] = group
    counts = (group >= 0) & (slates >= 0)
    asked, there = (np.broadcast_to(x, group.shape)[counts] for x in (row, place))
    counts[counts] = allowed(asked, there, group[counts])
    new = counts & (group != slates)
    gain = np.zeros(group.shape)
    of = np.broadcast_to(row, group.shape)[new]
    gain[new] = worth(tried[new], of) - own[of]
    return np.asarray(-gain.sum(0) / np.maximum(counts.sum(0), 1), np.float64)
