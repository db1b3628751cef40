"""Defines what rules measure and count."""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from recpolicy.language import Node
from recpolicy.language.policy.expressions import Column, Expr


class Missing(Enum):
    """`on missing ...`: what an item without the value adds to a mean."""

    MEAN = "mean"
    ZERO = "zero"
    FAIL = "fail"


class Relevance(Node):
    """A measure of how well the slate matches the items the user took next."""

    metric: Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]


class Spread(Node):
    """`distance`, `distinct`, `entropy` or `calibration` of an item column."""

    measure: Literal["distance", "distinct", "entropy", "calibration"]
    column: Column
    missing: Missing = Missing.MEAN


class Novelty(Node):
    """Mean self-information of the slate's items; `column` has the role popularity."""

    column: Column


class Portion(Node):
    """`share` (plain) or `exposure` (rank-discounted) of the places that match."""

    measure: Literal["share", "exposure"]
    where: Expr


class Average(Node):
    """`mean` (plain) or `discounted` (rank-discounted) of a number known to lie in [0, 1]."""

    measure: Literal["mean", "discounted"]
    operand: Expr
    missing: Missing = Missing.MEAN


class Serendipity(Node):
    """The distance of the next items in the slate to the history.

    sum over hits of d(item) / min(K, different next items), d = mean distance in `column` to the known items of the
    history, as in `distance`. Not applicable without next items or without a known value in the history.
    """

    column: Column
    missing: Missing = Missing.MEAN


Measure: TypeAlias = Relevance | Spread | Novelty | Portion | Average | Serendipity


class Population(Node):
    """A measure over the slates of all users together; targets only. The column holds words or lists, or is the id.

    Exposure of a value: sum of w(r) over the places whose item has it (shared equally among an item's values).
    `coverage`: values shown to any user over values in the catalog. `gini`: of the exposure of the catalog's values,
    0 equal, towards 1 all on one (unbiased: n/(n-1), so that 1 is reached). `largest_share`: the largest share of all
    exposure that one value has.
    """

    measure: Literal["coverage", "gini", "largest_share"]
    column: Column


# ---- quotas ---------------------------------------------------------------------------------------------------------


class Bound(Node):
    """A count of places (`amount` 2) or a share of them (`amount` 0.2, `percent` True)."""

    amount: float
    percent: bool


class Where(Node):
    """The places that match."""

    predicate: Expr


class Per(Node):
    """For every value of the column by itself (at-most only)."""

    column: Column


class Different(Node):
    """`distinct column`: the number of different values in the slate."""

    column: Column


Counted: TypeAlias = Where | Per | Different


class Window(Node):
    """The places a quota looks at: the first `length` (`sliding` False), or any `length` in a row (True).

    Percentages are of `length`, which is 1 to K.
    """

    length: int
    sliding: bool
