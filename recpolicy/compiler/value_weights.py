"""Sums the weight that each value has had in a slate so far."""

from __future__ import annotations

import numpy as np

from recpolicy.compiler.candidate_batch import A
from recpolicy.dataset.columns import Codes, Floats, Ints

TINY = 1e-300
"""Added to a number that is 0 or not nearly so small, it changes nothing but the logarithm of 0."""


def grown(slots: Ints, n: int, shares: Floats) -> Floats:
    """Computes the weight each value has had before its place and has with it, [2, K, L, B].

    Slots [K, L, B] as of `EncodedColumn.slots_at`, shares the same.
    """
    b = slots.shape[2]
    out, mass = np.empty((2, *slots.shape)), np.zeros((n + 1) * b)
    cells = slots * b
    cells += np.arange(b)
    for own, share, before, after in zip(cells, shares, *out, strict=True):
        mass.take(own, out=before, mode="wrap")
        mass[own] = np.add(before, share, out=after)  # an item has no value twice
    return out


def entries(table: A, codes: Codes) -> A:
    """Returns each row's own entries: table [B, V], codes [B, C, L] -> [B, C, L]."""
    return table[np.arange(len(codes))[:, None, None], codes]  # type: ignore[return-value]


def add(mass: Floats, codes: Codes, shares: Floats) -> None:
    """Adds one item's shares to each row (mass [B, V + 1], codes [B, L], shares [B]), nothing past a list's end."""
    mass[np.arange(len(codes))[:, None], codes] += shares[:, None]  # an item has no value twice
    mass[:, -1] = 0.0


def xlogx(x: Floats) -> Floats:
    """Computes x log2 x, 0 at 0."""
    out = x + TINY
    np.log2(out, out=out)
    out *= x
    return out
