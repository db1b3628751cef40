"""Builds slates place by place, and checks that a change of slates breaks no hard quota and no block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates

BATCH = 256
"""Rows whose slates are built at once: bounds the [rows, candidates, values of an item] temporaries."""
TRIFLE = 1e-9
"""Values that differ by no more count as equal."""


class SlateState(Protocol):
    """Slates of B rows that grow from C candidates each, such as a `PartialSlates`."""

    @property
    def open(self) -> Bools:
        """Candidates that may stand at the next place, [B, C]."""

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""


def with_hole(candidates: Codes) -> Codes:
    """Returns the candidates with a hole (-1) after each row's last, [B, C] -> [B, C + 1]."""
    return np.pad(candidates, ((0, 0), (0, 1)), constant_values=-1)


def build(slates: SlateState, candidates: Codes, places: int, worth: Callable[[int, Bools], Floats]) -> Codes:
    """Builds slates [B, places] greedily: at each place stands the candidate that is worth most there.

    `candidates` [B, C + 1] end with a hole, as `with_hole` gives them. `worth` gets the place (from 0) and what is
    open, [B, C + 1], and returns what each candidate is worth there. Worth of shape [B, C + 1] lets each row choose
    among its own open candidates. Worth of shape [C + 1] chooses one candidate for all rows. A row where the choice is
    not open gets a hole.
    """
    rows, hole = np.arange(len(candidates)), candidates.shape[1] - 1
    out = np.full((len(candidates), places), -1, np.int32)
    for place in range(places):
        open_ = slates.open
        values = worth(place, open_)
        at = (np.where(open_, values, -np.inf) if values.ndim == 2 else values).argmax(-1)
        at = np.where(open_[rows, at], at, hole)
        out[:, place] = candidates[rows, at]
        slates.take(at)
    return out


def keeps(compiled: CompiledPolicy, rows: Rows, before: Codes, after: Codes) -> Bools:
    """Checks which slates [B, K] keep every block and bound of a hard quota after a change that they kept before, [B].

    A bound that they did not keep, such as an at-least with too few items, must come no further away.
    """
    out = np.ones(len(rows), np.bool_)
    if compiled.blocks:
        out &= ~compiled.blocked(rows, Slates(after)) | compiled.blocked(rows, Slates(before))
    if not compiled.hard_quotas:
        return out
    then, now = (CandidateBatch(compiled.catalog, rows, np.asfortranarray(slates)) for slates in (before, after))
    for rule, demand in compiled.hard_quotas:
        sides = (replace(demand, at_most=None), replace(demand, at_least=None))
        for side in (side for side in sides if side.at_least is not None or side.at_most is not None):
            nearer = side.marginals(now).sum(1) >= side.marginals(then).sum(1) - TRIFLE
            out &= side.met(now) | (~side.met(then) & nearer) | ~rule.applicable(then)
    return out
