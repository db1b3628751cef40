"""Two user conditions in, whether they certainly exclude each other out."""

from __future__ import annotations

from itertools import combinations, product
from typing import Literal, TypeAlias

from recpolicy import policy

_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}


_MOST_CASES = 64
"""Beyond so many ways to match, conditions count as overlapping."""


def exclude(a: policy.Expr, b: policy.Expr) -> bool:
    """True where no user matches both: each way to match `a` and `b` holds two parts that contradict each other.

    Parts contradict where one is the other with `not`, or where both compare the same value with written values
    that leave nothing in common (`user.age < 30` and `user.age >= 30`, `is "M"` and `is "F"`).
    """
    ways = _ways(policy.Logic(a.span, "and", a, b))
    return ways is not None and all(any(_contradict(x, y) for x, y in combinations(way, 2)) for way in ways)


def _ways(expr: policy.Expr) -> list[tuple[policy.Expr, ...]] | None:
    """The ways in which `expr` is true, each a set of parts that all hold; None where there are too many."""
    match expr:
        case policy.Logic(_, op, left, right):
            first, second = _ways(left), _ways(right)
            if first is None or second is None:
                return None
            joined = first + second if op == "or" else [x + y for x, y in product(first, second)]
            return joined if len(joined) <= _MOST_CASES else None
        case policy.Not(span, policy.Logic(_, op, left, right)):
            opposite: Literal["and", "or"] = "or" if op == "and" else "and"
            return _ways(policy.Logic(span, opposite, _negated(left), _negated(right)))
        case policy.Not(_, (policy.Not() | policy.Compare()) as inner):
            return _ways(_negated(inner))
        case _:
            return [(expr,)]


def _negated(expr: policy.Expr) -> policy.Expr:
    match expr:
        case policy.Not(_, inner):
            return inner
        case policy.Compare(span, op, left, right):
            opposite: policy.Expr = policy.Compare(span, _OPPOSITE[op], left, right)  # type: ignore[arg-type]
            return opposite
        case _:
            return policy.Not(expr.span, expr)


def _contradict(x: policy.Expr, y: policy.Expr) -> bool:
    if x == _negated(y) or y == _negated(x):
        return True
    a, b = _words(x), _words(y)
    if a is not None and b is not None:
        return a[0] == b[0] and not a[1] & b[1]
    p, q = _range(x), _range(y)
    if p is None or q is None or p[0] != q[0]:
        return False
    return max(p[1], q[1]) > min(p[2], q[2])


def _words(expr: policy.Expr) -> tuple[policy.Expr, frozenset[policy.Number | policy.Word]] | None:
    """What is compared, and the written values it may have."""
    match expr:
        case policy.Compare(_, "is", operand, (policy.Number() | policy.Word()) as value):
            return operand, frozenset((value,))
        case policy.Among(_, operand, options):
            return operand, frozenset(options)
        case _:
            return None


_Edge: TypeAlias = tuple[float, int]
"""A place on the number line just below (-1), at (0) or just above (1) a value."""
_LOWEST: _Edge = (float("-inf"), 0)
_HIGHEST: _Edge = (float("inf"), 0)


def _range(expr: policy.Expr) -> tuple[tuple[policy.Expr, bool], _Edge, _Edge] | None:
    """What is compared (and whether with a moment before now), and the range it must lie in."""
    if not isinstance(expr, policy.Compare):
        return None
    left, right, op = expr.left, expr.right, expr.op
    if _value(right) is None:
        left, right, op = right, left, {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)  # type: ignore[assignment]
    written = _value(right)
    if written is None:
        return None
    value, from_now = written
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
    """The value of a literal, or of `now` less a written duration as an offset from now."""
    match expr:
        case policy.Number(_, value):
            return value, False
        case policy.Now():
            return 0.0, True
        case policy.Arithmetic(_, "-", policy.Now(), policy.Number(_, value)):
            return -value, True
        case _:
            return None
