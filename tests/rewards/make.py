"""Short forms for tests: policies of one rule, slates, and rows by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language.policy import (
    Block,
    Boost,
    Counted,
    Expr,
    Measure,
    Policy,
    Quota,
    Reward,
    Rule,
    Target,
    Weight,
    Window,
)
from recpolicy.language.policy import Bound as Bound
from recpolicy.span import NOWHERE
from tests.rewards.world import ITEM, USER, Record, dataset

W = Weight(NOWHERE, 1.0)


def items(*records: Record) -> Dataset:
    """A data set of these items and one user; what a record leaves out is missing."""
    full = [dict.fromkeys(ITEM) | {"popularity": 0} | r for r in records]
    return dataset(full, [dict.fromkeys(USER)], [[]])


def rows(count: int = 1, *, history: Sequence[int] = (), future: Sequence[int] = ()) -> Rows:
    """The only user, `count` times."""
    return Rows(
        np.zeros(count, np.int64), np.zeros(count), Ragged.of([history] * count), Ragged.of([list(future)] * count)
    )


def slates(*lists: Sequence[int]) -> Slates:
    """Item rows, -1 a hole."""
    return Slates(np.array(lists, np.int32))


def policy(k: int, *rules: Rule, blocks: tuple[Block, ...] = (), targets: tuple[Target, ...] = ()) -> Policy:
    """A policy of these rules."""
    return Policy("made", 1, None, k, rules, blocks, targets=targets)


def reward(measure: Measure, name: str = "rule") -> Reward:
    """A reward of weight 1."""
    return Reward(NOWHERE, name, W, measure)


def boost(where: Expr, name: str = "rule", *, limit: int | None = None, bury: bool = False) -> Boost:
    """A boost or bury of weight 1."""
    return Boost(NOWHERE, name, W, where, limit, bury)


def quota(
    counted: Counted,
    name: str = "rule",
    *,
    at_least: Bound | None = None,
    at_most: Bound | None = None,
    window: Window | None = None,
    hard: bool = False,
    only: Expr | None = None,
) -> Quota:
    """A quota of weight 1, or hard."""
    weight = Weight(NOWHERE, 0.0 if hard else 1.0, only)
    return Quota(NOWHERE, name, weight, at_least, at_most, counted, window, hard)


def top(n: int) -> Window:
    """`in top N`."""
    return Window(NOWHERE, n, False)


def in_a_row(n: int) -> Window:
    """`in any N places in a row`."""
    return Window(NOWHERE, n, True)


def places(n: float) -> Bound:
    """A count of places."""
    return Bound(NOWHERE, n, False)


def percent(p: float) -> Bound:
    """A share of the places, in per cent."""
    return Bound(NOWHERE, p / 100, True)


def compiled(
    data: Dataset, k: int, *rules: Rule, blocks: tuple[Block, ...] = (), targets: tuple[Target, ...] = ()
) -> CompiledPolicy:
    """Compiled against `data`."""
    return compile(policy(k, *rules, blocks=blocks, targets=targets), data)
