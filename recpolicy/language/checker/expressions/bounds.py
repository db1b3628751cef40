"""Computes the range that a typed number is known to lie in."""

from __future__ import annotations

import math
from itertools import product
from typing import TypeAlias

from recpolicy.language import policy
from recpolicy.types import Type

Range: TypeAlias = tuple[float, float]
UNKNOWN: Range = (-math.inf, math.inf)


def bounds(expr: policy.Expr) -> Range:
    """Returns the smallest and largest value that the form of `expr` allows; missing values do not count."""
    match expr:
        case policy.Number(_, value):
            return value, value
        case policy.Column(_, _, _, Type.RATIO) | policy.Percentile() | policy.OfHistory(_, "share"):
            return 0.0, 1.0
        case policy.OfHistory(_, "count"):
            return 0.0, math.inf
        case policy.OfHistory(_, "mean", operand):
            return bounds(operand)
        case policy.Arithmetic(_, op, left, right):
            return _arithmetic(op, bounds(left), bounds(right))
        case policy.Call(_, ("min" | "max") as function, args):
            pick = min if function == "min" else max
            lows, highs = zip(*map(bounds, args), strict=True)
            return pick(lows), pick(highs)
        case policy.Call(_, "abs", (arg,)):
            low, high = bounds(arg)
            return max(low, -high, 0.0), max(abs(low), abs(high))
        case policy.Call(_, "log", (arg,)):
            low, high = bounds(arg)
            return _log(low), _log(high)
        case _:
            return UNKNOWN


def _arithmetic(op: str, a: Range, b: Range) -> Range:
    match op:
        case "+":
            return a[0] + b[0], a[1] + b[1]
        case "-":
            return a[0] - b[1], a[1] - b[0]
        case "/" if not (b[0] > 0 or b[1] < 0):
            return UNKNOWN
        case _:
            ends = [_times(x, y) if op == "*" else _over(x, y) for x, y in product(a, b)]
            return min(ends), max(ends)


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y  # 0 x infinity: the 0 is attained, the infinity is not


def _over(x: float, y: float) -> float:
    if math.isinf(y):
        return 0.0 if not math.isinf(x) else math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def _log(value: float) -> float:
    return math.log(value) if 0 < value < math.inf else math.copysign(math.inf, value - 1)
