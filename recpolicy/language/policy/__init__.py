"""Defines the typed policy, which the checker gives to the compiler: names resolved, `let`s inlined, types known.

The trees are frozen. Expressions that mean the same are equal (spans do not count): the compiler computes each once.
"""

from recpolicy.language import Node
from recpolicy.language.policy.cases import (
    Case,
    Expect,
    ExpectBlocked,
    ExpectOrder,
    ExpectSatisfied,
    ExpectValue,
    Record,
    Test,
    Value,
)
from recpolicy.language.policy.expressions import (
    Among,
    Arithmetic,
    Call,
    Column,
    Compare,
    Contains,
    Expr,
    IsMissing,
    Logic,
    Not,
    Now,
    Number,
    OfHistory,
    Percentile,
    Truth,
    Word,
    children,
    walk,
)
from recpolicy.language.policy.measures import (
    Average,
    Bound,
    Counted,
    Different,
    Measure,
    Missing,
    Novelty,
    Per,
    Population,
    Portion,
    Relevance,
    Serendipity,
    Spread,
    Where,
    Window,
)
from recpolicy.language.policy.rules import (
    Block,
    Boost,
    Dormant,
    Level,
    Param,
    Policy,
    Quota,
    Ramp,
    Reward,
    Rule,
    Target,
    Weight,
    highest,
    level,
)
