"""Finds out whether two user conditions certainly exclude each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal, TypeAlias

from recpolicy.language import policy

_TURNED: dict[str, Literal["<", "<=", ">", ">="]] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The same comparison with its sides exchanged."""
_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}

_MOST_CASES = 64
"""Conditions with more disjuncts, or more parts of one, count as overlapping."""

Edge: TypeAlias = tuple[float, int]
"""A place on the number line just below (-1), at (0) or just above (1) a value."""
_LOWEST: Edge = (float("-inf"), 0)
_HIGHEST: Edge = (float("inf"), 0)

Line: TypeAlias = tuple[policy.Expr, bool]
"""What is compared with literals, and whether with a moment before now."""


@dataclass(frozen=True)
class Part:
    """A condition without `and` and `or`, its opposite, and what it requires of a value."""

    whole: policy.Expr
    opposite: policy.Expr
    listed: tuple[policy.Expr, frozenset[policy.Number | policy.Word]] | None
    ranged: tuple[Line, Edge, Edge] | None


Disjuncts: TypeAlias = list[tuple[Part, ...]]
"""A condition in disjunctive normal form: it is true where all parts of one disjunct hold."""


def disjuncts(condition: policy.Expr) -> Disjuncts | None:
    """Returns the disjunctive normal form of `condition`; None if there are too many to look at."""
    every = _disjuncts(condition)
    return None if every is None else [w for w in every if not any(_contradict(x, y) for x, y in combinations(w, 2))]


def exclude(a: Disjuncts | None, b: Disjuncts | None) -> bool:
    """Returns whether no user matches both: every way to match `a` contradicts every way to match `b` in some part.

    Two parts contradict if one is the other with `not`, or if both compare the same value with literals that leave
    nothing in common (`user.age < 30` and `user.age >= 30`, `is "M"` and `is "F"`).
    """
    if a is None or b is None or len(a) * len(b) > _MOST_CASES:
        return False
    return all(any(_contradict(x, y) for x in one for y in other) for one in a for other in b)


def _contradict(x: Part, y: Part) -> bool:
    if x.listed is not None and y.listed is not None and x.listed[0] == y.listed[0]:
        return not x.listed[1] & y.listed[1]
    if x.ranged is not None and y.ranged is not None and x.ranged[0] == y.ranged[0]:
        return max(x.ranged[1], y.ranged[1]) > min(x.ranged[2], y.ranged[2])
    return x.whole == y.opposite or y.whole == x.opposite


def _disjuncts(expr: policy.Expr) -> Disjuncts | None:
    match expr:
        case policy.Logic(_, op, left, right):
            first, second = _disjuncts(left), _disjuncts(right)
            if first is None or second is None:
                return None
            joined = first + second if op == "or" else [x + y for x, y in product(first, second)]
            return joined if len(joined) <= _MOST_CASES and all(len(w) <= _MOST_CASES for w in joined) else None
        case policy.Not(span, policy.Logic(_, op, left, right)):
            opposite: Literal["and", "or"] = "or" if op == "and" else "and"
            return _disjuncts(policy.Logic(span, opposite, _negated(left), _negated(right)))
        case policy.Not(_, (policy.Not() | policy.Compare()) as inner):
            return _disjuncts(_negated(inner))
        case _:
            return [(Part(expr, _negated(expr), listed(expr), ranged(expr)),)]


def _negated(expr: policy.Expr) -> policy.Expr:
    match expr:
        case policy.Not(_, inner):
            return inner
        case policy.Compare(span, op, left, right):
            opposite: policy.Expr = policy.Compare(span, _OPPOSITE[op], left, right)  # type: ignore[arg-type]
            return opposite
        case _:
            return policy.Not(expr.span, expr)


def listed(expr: policy.Expr) -> tuple[policy.Expr, frozenset[policy.Number | policy.Word]] | None:
    """Returns what is compared, and the literals it may be; None for conditions of another form."""
    match expr:
        case policy.Compare(_, "is", operand, (policy.Number() | policy.Word()) as value):
            return operand, frozenset((value,))
        case policy.Among(_, operand, options):
            return operand, frozenset(options)
        case _:
            return None


def ranged(expr: policy.Expr) -> tuple[Line, Edge, Edge] | None:
    """Returns what is compared, and the range it must lie in; None for conditions of another form.

    `now - item.published < 3 days` is read as `item.published > now - 3 days`.
    """
    if not isinstance(expr, policy.Compare):
        return None
    left, right, op = expr.left, expr.right, expr.op
    if _value(right) is None:
        left, right, op = right, left, _TURNED.get(op, op)
    literal = _value(right)
    if literal is None:
        return None
    value, from_now = literal
    if isinstance(left, policy.Arithmetic) and (left.op, type(left.left)) == ("-", policy.Now) and not from_now:
        left, value, from_now, op = left.right, -value, True, _TURNED.get(op, op)
    match op:
        case "<":
            return (left, from_now), _LOWEST, (value, -1)
        case "<=":
            return (left, from_now), _LOWEST, (value, 0)
        case ">":
            return (left, from_now), (value, 1), _HIGHEST
        case ">=":
            return (left, from_now), (value, 0), _HIGHEST
        case "is":
            return (left, from_now), (value, 0), (value, 0)
        case _:
            return None


def _value(expr: policy.Expr) -> tuple[float, bool] | None:
    """The value of a literal and False, or the offset of `now` less a duration from now and True."""
    match expr:
        case policy.Number(_, value):
            return value, False
        case policy.Now():
            return 0.0, True
        case policy.Arithmetic(_, "-", policy.Now(), policy.Number(_, value)):
            return -value, True
        case _:
            return None
