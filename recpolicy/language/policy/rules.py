"""Defines the rules of the typed policy, and the policy itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Literal, TypeAlias

from recpolicy.language import Node
from recpolicy.language.policy.cases import Test
from recpolicy.language.policy.expressions import Expr
from recpolicy.language.policy.measures import Bound, Counted, Measure, Population, Window
from recpolicy.span import Source


class Ramp(Node):
    """A weight that goes from `start` to `end` in a straight line over the first `over` (0 to 1] of training."""

    start: float
    end: float
    over: float

    def at(self, progress: float) -> float:
        """Returns the weight at `progress`, the share of training that has passed, 0 to 1."""
        return self.start + (self.end - self.start) * min(1.0, progress / self.over)


Level: TypeAlias = float | Ramp
"""How much a rule weighs: the same all through training, or a ramp."""


def level(value: Level, progress: float = 1.0) -> float:
    """Returns the weight at `progress`, the share of training that has passed, 0 to 1; by default after training."""
    return value.at(progress) if isinstance(value, Ramp) else value


def highest(value: Level) -> float:
    """Returns the largest weight at any time in training."""
    return max(value.start, value.end) if isinstance(value, Ramp) else value


class Weight(Node):
    """A rule's weight for a user.

    `only`: if it is given, the rule is not applicable (NaN) to users for whom it is not true.
    `changes`: the weight of the last branch whose predicate is true, else `base`.
    """

    base: Level
    only: Expr | None = None
    changes: tuple[tuple[Expr, Level], ...] = ()


class Reward(Node):
    """`reward NAME weight W = MEASURE`."""

    name: str
    weight: Weight
    measure: Measure
    because: str | None = field(default=None, compare=False)


class Boost(Node):
    """`boost NAME weight W = PREDICATE limit N`, which adds to the reward; with `bury` it subtracts."""

    name: str
    weight: Weight
    where: Expr
    limit: int | None
    bury: bool
    because: str | None = field(default=None, compare=False)


class Quota(Node):
    """`quota NAME weight W = ... WINDOW`; a bound that is not stated is None, and `between` states both.

    A `hard` quota has weight 0: it adds nothing to the reward and cannot be shipped violated.
    """

    name: str
    weight: Weight
    at_least: Bound | None
    at_most: Bound | None
    counted: Counted
    window: Window | None = None
    hard: bool = False
    because: str | None = field(default=None, compare=False)


class Block(Node):
    """`block NAME = PREDICATE`: such an item must never be shown; an item for which it is unknown is blocked.

    `only`: the block holds for users for whom this is true or unknown (inside `when`), else for all (None).
    """

    name: str
    where: Expr
    only: Expr | None = None
    because: str | None = field(default=None, compare=False)


Rule: TypeAlias = Reward | Boost | Quota
"""Rules with a value and a weight."""


class Target(Node):
    """`target NAME = METRIC OP BOUND`: a demand on the mean over users (in `when`: over the users of `only`).

    `metric` is a measure, the name of a rule of the policy (then the mean of its value over the users it is applicable
    to), or a population measure. With `of_baseline` the bound is a share of what the baseline reaches.
    """

    name: str
    metric: Measure | Population | str
    op: Literal[">=", "<="]
    bound: float
    of_baseline: bool = False
    only: Expr | None = None
    because: str | None = field(default=None, compare=False)


class Param(Node):
    """`param NAME = LITERAL` as it holds: `written` is the literal's text, `given` whether `--set` gave it."""

    name: str
    written: str
    given: bool = False


class Dormant(Node):
    """A rule, block or target that holds only from a later day on, and is left out until then."""

    name: str
    since: date


@dataclass(frozen=True)
class Policy:
    """One checked policy. `rules` in the order of the file; names are unique over rules, blocks and targets.

    `as_of` is the day that `from` and `until` were compared with, None if no rule has dates. `sources` are the files
    it was read from, the policy's own file first.
    """

    name: str
    version: int
    data: str | None
    slate: int
    """K, the number of places."""
    rules: tuple[Rule, ...]
    blocks: tuple[Block, ...]
    owner: str | None = None
    targets: tuple[Target, ...] = ()
    params: tuple[Param, ...] = ()
    dormant: tuple[Dormant, ...] = ()
    tests: tuple[Test, ...] = ()
    as_of: date | None = None
    sources: tuple[Source, ...] = field(default=(), compare=False)
