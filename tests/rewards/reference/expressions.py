"""Expressions for one user and one item, straight from the definitions; None is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from recpolicy.language.policy import (
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
)
from tests.rewards.world import World


@dataclass(frozen=True)
class Expressions:
    """What is known of one user of a world, for slates of `k` places."""

    world: World
    user: int
    k: int

    def evaluate(self, node: Expr, item: int | None) -> Any:
        match node:
            case Number() | Truth() | Word():
                return node.value
            case Column(table="item"):
                assert item is not None
                return self.world.items[item][node.name]
            case Column():
                return self.world.users[self.user][node.name]
            case Now():
                return self.world.now[self.user]
            case IsMissing():
                return self.evaluate(node.operand, item) is None
            case Not():
                inner = self.evaluate(node.operand, item)
                return None if inner is None else not inner
            case Logic():
                sides = [self.evaluate(node.left, item), self.evaluate(node.right, item)]
                decisive = node.op == "or"
                if decisive in sides:
                    return decisive
                return None if None in sides else not decisive
            case Arithmetic():
                return self.arithmetic(node, item)
            case Call():
                args = [self.evaluate(a, item) for a in node.args]
                if None in args:
                    return None
                if node.function == "log":
                    return math.log(args[0]) if args[0] > 0 else None
                return {"min": lambda: min(args), "max": lambda: max(args), "abs": lambda: abs(args[0])}[
                    node.function
                ]()
            case Compare():
                a, b = self.evaluate(node.left, item), self.evaluate(node.right, item)
                if a is None or b is None:
                    return None
                if node.op in ("is", "is not"):
                    return (a == b) == (node.op == "is")
                return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[node.op]
            case Among():
                value = self.evaluate(node.operand, item)
                return None if value is None else value in [o.value for o in node.options]
            case Contains():
                word, words = self.evaluate(node.word, item), self.evaluate(node.column, item)
                return None if word is None or words is None else word in words
            case Percentile():
                return self.percentile(node, item)
            case OfHistory():
                return self.of_history(node)
        raise AssertionError(node)

    def arithmetic(self, node: Arithmetic, item: int | None) -> float | None:
        a, b = self.evaluate(node.left, item), self.evaluate(node.right, item)
        if a is None or b is None or (node.op == "/" and b == 0):
            return None
        match node.op:
            case "+":
                return float(a + b)
            case "-":
                return float(a - b)
            case "*":
                return float(a * b)
            case "/":
                return float(a / b)

    def percentile(self, node: Percentile, item: int | None) -> float | None:
        """Share of the known values of the table that are lower, equal ones counting half."""
        own = self.evaluate(node.operand, item)
        if own is None:
            return None
        if node.table == "item":
            values = [self.evaluate(node.operand, other) for other in range(len(self.world.items))]
        else:
            others = (Expressions(self.world, other, self.k) for other in range(len(self.world.users)))
            values = [other.evaluate(node.operand, None) for other in others]
        known = [v for v in values if v is not None]
        return float((sum(v < own for v in known) + sum(v == own for v in known) / 2) / len(known))

    def of_history(self, node: OfHistory) -> float | None:
        found = [self.evaluate(node.operand, item) for item in self.world.history[self.user]]
        match node.function:
            case "count":
                return float(found.count(True))
            case "share":
                return found.count(True) / len(found) if found else None
            case "mean":
                known, total = [v for v in found if v is not None], 0.0
                for value in known:  # one after another: sum() would round less
                    total += value
                return total / len(known) if known else None

    def counts(self, where: Expr, item: int, unknown: bool) -> bool:
        """Whether an item matches, and `unknown` where that is missing."""
        truth = self.evaluate(where, item)
        return unknown if truth is None else bool(truth)

    def values_of(self, item: int, column: str) -> list[Any] | None:
        """The values of an item: one, or those of its list."""
        value = self.world.items[item][column]
        return value if value is None or isinstance(value, list) else [value]
