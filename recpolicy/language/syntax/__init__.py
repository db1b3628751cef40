"""Defines the syntax tree that the parser builds from a policy file: names not yet resolved, types not yet known.

Every class stands for the grammar rule of the same name (`AtLeast` for `at_least`). Spans do not count in comparison.
"""

from __future__ import annotations

from dataclasses import fields

from recpolicy.language import Node
from recpolicy.language.syntax.cases import (
    Ago,
    Case,
    Expect,
    ExpectOrder,
    ExpectState,
    ExpectValue,
    Field,
    Given,
    Hole,
    Record,
    Records,
    Test,
    Unknown,
)
from recpolicy.language.syntax.expressions import (
    Aggregate,
    AllOf,
    AnyOf,
    Arithmetic,
    Call,
    Column,
    Compare,
    Date,
    Duration,
    Expr,
    Ident,
    IsMissing,
    List,
    Membership,
    MoreThanAgo,
    Name,
    Negative,
    Not,
    Now,
    Number,
    Percent,
    Same,
    Text,
    Truth,
    Unreadable,
    WithinLast,
)
from recpolicy.language.syntax.statements import (
    AtLeast,
    AtMost,
    Because,
    Between,
    Block,
    Boost,
    Bury,
    Clause,
    Distinct,
    File,
    From,
    Hard,
    Header,
    InARow,
    InTop,
    Let,
    Limit,
    OfBaseline,
    OnMissing,
    Override,
    Param,
    Per,
    Quota,
    Ramp,
    Reward,
    Reweight,
    Rule,
    Setting,
    Statement,
    Target,
    Until,
    Use,
    Weight,
    When,
    Where,
)


def nodes(node: Node) -> list[Node]:
    """Returns the nodes directly inside `node`, in the order of the text."""
    inside: list[Node] = []
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Node):
            inside.append(value)
        elif isinstance(value, tuple):
            inside += [part for part in value if isinstance(part, Node)]
    return inside
