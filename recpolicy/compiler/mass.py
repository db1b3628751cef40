"""Slates and what each value weighs in, how much weight every value has had so far out."""

from __future__ import annotations

import numpy as np

from recpolicy.compiler.scan import A
from recpolicy.table import Codes, Floats, Ints

TINY = 1e-300


def before(slots: Ints, n: int, shares: Floats) -> Floats:
    """The weight each value has had before its place: slots [K, L, B] as of `Coded.slots_at`, shares the same."""
    k, _, b = slots.shape
    out, mass = np.empty(slots.shape), np.zeros((n + 1) * b)
    cells = slots * b + np.arange(b)
    for r in range(k):
        own = cells[r]
        out[r] = mass.take(own)
        mass[own] = out[r] + shares[r]  # an item has no value twice
    return out


def entries(table: A, codes: Codes) -> A:
    """Each row's own entries: table [B, V], codes [B, C, L] -> [B, C, L]."""
    return table[np.arange(len(codes))[:, None, None], codes]  # type: ignore[return-value]


def add(mass: Floats, codes: Codes, shares: Floats) -> None:
    """Add one item's shares to each row (mass [B, V + 1], codes [B, L], shares [B]), nothing past a list's end."""
    mass[np.arange(len(codes))[:, None], codes] += shares[:, None]  # an item has no value twice
    mass[:, -1] = 0.0


def xlogx(x: Floats) -> Floats:
    """x log2 x, 0 at 0."""
    return np.asarray(x * np.log2(np.maximum(x, TINY)), np.float64)
