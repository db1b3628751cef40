"""Computes advantages: of whole slates, and of each choice of an item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.evaluation.group_stats import group_centered

OTHERS = 4
"""Other slates of the group whose items are tried at a slate's places."""

Worth = Callable[[Codes, Ints], Floats]
"""Returns the worth [N] of slates [N, K]; the second argument is the batch row of each slate [N]."""
Allowed = Callable[[Ints, Ints, Codes], Bools]
"""Returns whether each item [N] could have been chosen at its batch row [N] and place [N]."""


def slate_advantages(worth: Floats, generations: int) -> Floats:
    """Computes the advantage of each slate, A_b = worth_b - mean worth of b's group, [B].

    The `generations` slates of a prompt are adjacent and form a group.
    """
    return group_centered(worth[:, None], generations)[:, 0]


def place_advantages(slates: Codes, own: Floats, group: Codes, worth: Worth, allowed: Allowed) -> Floats:
    """Computes the advantage of the choice at each place, the items at all other places held fixed, [B, K].

    A_bk = worth(s_b) - mean over i in C_bk of worth(s_b with the item that slate i of the group has at place k).

    C_bk holds the other slates whose item at place k could have been chosen there. It is a difference reward (Wolpert
    and Tumer 2001) against the counterfactual baseline of COMA (Foerster et al., AAAI 2018, section 4), estimated by
    sampling: the items of the other slates are samples of the same choice. The noise that other places add to the worth
    of a slate is the same in both terms and cancels. If the tried item stands at another place of the slate, the two
    items change places. The advantage is 0 for a hole, and where C_bk is empty.

    `own` [B] is the worth of the slates [B, K]; `group` [others, B, K] are the other slates.
    """
    others, b, k = group.shape
    tried = np.broadcast_to(slates[None, :, None], (others, b, k, k)).copy()
    row, place = np.broadcast_to(np.arange(b)[:, None], (b, k)), np.broadcast_to(np.arange(k), (b, k))
    at = np.nonzero(slates[None, :, None] == group[..., None])  # where the slate already holds the item
    tried[at] = slates[at[1], at[2]]
    tried[:, row, place, place] = group
    counts = (group >= 0) & (slates >= 0)
    counted_row, counted_place = (np.broadcast_to(x, group.shape)[counts] for x in (row, place))
    counts[counts] = allowed(counted_row, counted_place, group[counts])
    new = counts & (group != slates)
    gain = np.zeros(group.shape)
    of = np.broadcast_to(row, group.shape)[new]
    gain[new] = worth(tried[new], of) - own[of]
    return np.asarray(-gain.sum(0) / np.maximum(counts.sum(0), 1), np.float64)
