"""The typed policy: what the checker hands to the compiler. Frozen trees; names resolved, `let`s inlined, types known.

Two expressions that mean the same compare equal (spans do not count), so the compiler computes a shared one once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, TypeAlias

from recpolicy.span import Span
from recpolicy.types import Type

# ---- expressions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A place in the source; every node of the tree has one."""

    span: Span = field(compare=False)


@dataclass(frozen=True)
class Number(Node):
    """A literal of a measured type: a ratio as a fraction, a duration in seconds, a date in seconds since 1970."""

    value: float
    type: Type


@dataclass(frozen=True)
class Truth(Node):
    """`true` or `false`."""

    value: bool
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class Word(Node):
    """A string literal, compared with a category or text column."""

    value: str
    type: Type = field(default=Type.CATEGORY, init=False)


@dataclass(frozen=True)
class Column(Node):
    """`item.name` or `user.name`; missing values propagate."""

    table: Literal["item", "user"]
    name: str
    type: Type


@dataclass(frozen=True)
class Now(Node):
    """The row's own time: that of the user's last history event."""

    type: Type = field(default=Type.DATE, init=False)


@dataclass(frozen=True)
class Arithmetic(Node):
    """`+ - * /` on measured operands; x / 0 is missing. `type` is the result's."""

    op: Literal["+", "-", "*", "/"]
    left: Expr
    right: Expr
    type: Type


@dataclass(frozen=True)
class Call(Node):
    """`min(a, b, ...)`, `max(a, b, ...)`, `abs(a)`, `log(a)` (natural; of 0 or less it is missing)."""

    function: Literal["min", "max", "abs", "log"]
    args: tuple[Expr, ...]
    type: Type


@dataclass(frozen=True)
class Compare(Node):
    """An ordered comparison of measured operands, or `is` / `is not` of any two operands of one type.

    Words compare by text also across columns (`item.language is user.language`).
    """

    op: Literal["<", "<=", ">", ">=", "is", "is not"]
    left: Expr
    right: Expr
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class Among(Node):
    """`x in ["a", "b"]`: x is a word or a number, options are literals. Missing when x is."""

    operand: Expr
    options: tuple[Number | Word, ...]
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class Contains(Node):
    """`"Drama" in item.genres`: the list column holds the word (a literal or a word column). Missing when either is."""

    word: Expr
    column: Column
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class IsMissing(Node):
    """`x is missing`; never missing itself (`is not missing` is `Not(IsMissing(x))`)."""

    operand: Expr
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class Logic(Node):
    """Three-valued `and` / `or` (Kleene)."""

    op: Literal["and", "or"]
    left: Expr
    right: Expr
    type: Type = field(default=Type.BOOL, init=False)


@dataclass(frozen=True)
class Not(Node):
    """Three-valued `not`."""

    operand: Expr
    type: Type = field(default=Type.BOOL, init=False)


Expr: TypeAlias = (
    Number | Truth | Word | Column | Now | Arithmetic | Call | Compare | Among | Contains | IsMissing | Logic | Not
)

# ---- what rules measure ---------------------------------------------------------------------------------------------


class Missing(Enum):
    """`on missing ...`: what an item without the value contributes to a mean."""

    MEAN = "mean"
    ZERO = "zero"
    FAIL = "fail"


@dataclass(frozen=True)
class Relevance(Node):
    """A measure against the items the user really took next."""

    metric: Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]


@dataclass(frozen=True)
class Spread(Node):
    """`distance`, `distinct`, `entropy` or `calibration` of an item column."""

    measure: Literal["distance", "distinct", "entropy", "calibration"]
    column: Column
    missing: Missing = Missing.MEAN


@dataclass(frozen=True)
class Novelty(Node):
    """Mean self-information of the slate's items; `column` has the role popularity."""

    column: Column


@dataclass(frozen=True)
class Portion(Node):
    """`share` (plain) or `exposure` (rank-discounted) of the places that match."""

    measure: Literal["share", "exposure"]
    where: Expr


@dataclass(frozen=True)
class Average(Node):
    """`mean` (plain) or `discounted` (rank-discounted) of a number known to lie in [0, 1]."""

    measure: Literal["mean", "discounted"]
    operand: Expr
    missing: Missing = Missing.MEAN


Measure: TypeAlias = Relevance | Spread | Novelty | Portion | Average

# ---- quotas ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound(Node):
    """A count of places (`amount` 2) or a share of them (`amount` 0.2, `percent` True)."""

    amount: float
    percent: bool


@dataclass(frozen=True)
class Where(Node):
    """The places that match."""

    predicate: Expr


@dataclass(frozen=True)
class Per(Node):
    """For every value of the column by itself (at-most only)."""

    column: Column


@dataclass(frozen=True)
class Different(Node):
    """`distinct column`: the number of different values in the slate."""

    column: Column


Counted: TypeAlias = Where | Per | Different

# ---- rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weight(Node):
    """A rule's weight for a user.

    `only`: where it is given, the rule is not applicable (NaN) to users for whom it is not true.
    `changes`: the weight of the last branch whose predicate is true holds, else `base`.
    """

    base: float
    only: Expr | None = None
    changes: tuple[tuple[Expr, float], ...] = ()


@dataclass(frozen=True)
class Reward(Node):
    """`reward NAME weight W = MEASURE`."""

    name: str
    weight: Weight
    measure: Measure


@dataclass(frozen=True)
class Boost(Node):
    """`boost NAME weight W = PREDICATE limit N`, or with `bury` True what is subtracted instead of added."""

    name: str
    weight: Weight
    where: Expr
    limit: int | None
    bury: bool


@dataclass(frozen=True)
class Quota(Node):
    """`quota NAME weight W = ...`; a bound that is not stated is None, `between` states both."""

    name: str
    weight: Weight
    at_least: Bound | None
    at_most: Bound | None
    counted: Counted


@dataclass(frozen=True)
class Block(Node):
    """`block NAME = PREDICATE`: such an item must never be shown; an item for which it is unknown is blocked.

    `only`: the block holds for users for whom this is true or unknown (inside `when`), else for all (None).
    """

    name: str
    where: Expr
    only: Expr | None = None


Rule: TypeAlias = Reward | Boost | Quota
"""Rules with a value and a weight."""


@dataclass(frozen=True)
class Policy:
    """One checked policy. `rules` in the order of the file; names are unique over rules and blocks."""

    name: str
    version: int
    data: str | None
    slate: int
    """K, the number of places."""
    rules: tuple[Rule, ...]
    blocks: tuple[Block, ...]
    owner: str | None = None
