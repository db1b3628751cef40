"""The language page's "Meaning" written out in plain Python, one slate and one item at a time. Slow on purpose."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from recpolicy.policy import (
    Among,
    Arithmetic,
    Average,
    Block,
    Boost,
    Bound,
    Call,
    Column,
    Compare,
    Contains,
    Different,
    Expr,
    IsMissing,
    Logic,
    Missing,
    Not,
    Novelty,
    Now,
    Number,
    Per,
    Policy,
    Portion,
    Quota,
    Relevance,
    Reward,
    Rule,
    Spread,
    Truth,
    Where,
    Word,
)
from tests.rewards.world import World

Slate = list[int | None]
"""Items by place; None is a hole."""


class Reference:
    """A policy's rules for one user of a world. `typical` is what an item without a value is worth, per rule."""

    def __init__(self, world: World, policy: Policy, user: int, typical: dict[str, float]) -> None:
        self.world, self.policy, self.user, self.typical = world, policy, user, typical
        self.k = policy.slate

    # ---- expressions: None is missing -------------------------------------------------------------------------------

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

    # ---- the policy -------------------------------------------------------------------------------------------------

    def weight(self, rule: Rule) -> float:
        if not self.applicable(rule):
            return 0.0
        weight = rule.weight.base
        for branch, changed in rule.weight.changes:
            if self.evaluate(branch, None) is True:
                weight = changed
        return weight

    def applicable(self, rule: Rule) -> bool:
        if rule.weight.only is not None and self.evaluate(rule.weight.only, None) is not True:
            return False
        match rule:
            case Reward(measure=Relevance()):
                return bool(self.world.future[self.user])
            case Reward(measure=Spread(measure="calibration", column=column)):
                return any(self.values_of(i, column.name) for i in self.world.history[self.user])
        return True

    def hits_block(self, block: Block, item: int) -> bool:
        if block.only is not None and self.evaluate(block.only, None) is False:
            return False
        return self.evaluate(block.where, item) is not False

    def blocked_item(self, item: int | None) -> bool:
        return item is not None and any(self.hits_block(b, item) for b in self.policy.blocks)

    def marginals(self, rule: Rule, slate: Slate) -> list[float]:
        if not self.applicable(rule):
            return [math.nan] * self.k
        blocked = [r for r, item in enumerate(slate) if self.blocked_item(item)]
        if blocked:
            bury = isinstance(rule, Boost) and rule.bury
            return [1.0 if bury and r == blocked[0] else 0.0 for r in range(self.k)]
        prefixes = [self.value(rule, slate[:r]) for r in range(self.k + 1)]
        return [after - before for before, after in pairwise(prefixes)]

    def total(self, slate: Slate) -> float:
        weights = [self.weight(rule) for rule in self.policy.rules]
        if not sum(weights):
            return 0.0
        signs = [-1 if isinstance(rule, Boost) and rule.bury else 1 for rule in self.policy.rules]
        values = [sum(self.marginals(rule, slate)) for rule in self.policy.rules]
        parts = [s * w * v for s, w, v in zip(signs, weights, values, strict=True) if w]
        return sum(parts) / sum(weights)

    # ---- values: `slate` may be a prefix; every denominator is that of K places -------------------------------------

    def value(self, rule: Rule, slate: Slate) -> float:
        match rule:
            case Boost():
                counted = [r for r, i in enumerate(slate, 1) if i is not None and self.counts(rule.where, i, rule.bury)]
                w = [1 / math.log2(r + 1) for r in counted[: rule.limit]]
                return sum(w) / sum(self.discounts(min(rule.limit or self.k, self.k)))
            case Quota():
                low = None if rule.at_least is None else self.at_least(rule, slate)
                high = None if rule.at_most is None else self.at_most(rule, slate)
                known = [v for v in (low, high) if v is not None]
                return sum(known) / len(known)
            case Reward(measure=Relevance() as measure):
                return self.relevance(measure, slate)
            case Reward(measure=Portion() as measure):
                matching = [r for r, i in enumerate(slate) if i is not None and self.counts(measure.where, i, False)]
                return sum(self.coefficients(measure.measure == "exposure")[r] for r in matching)
            case Reward(measure=Average() as measure):
                return self.average(measure, slate)
            case Reward(measure=Novelty() as measure):
                return sum(self.surprise(self.world.items[i]["popularity"]) for i in slate if i is not None) / self.k
            case Reward(measure=Spread() as measure):
                return self.spread(rule.name, measure, [i for i in slate if i is not None])
        raise AssertionError(rule)

    def counts(self, where: Expr, item: int, unknown: bool) -> bool:
        truth = self.evaluate(where, item)
        return unknown if truth is None else bool(truth)

    def discounts(self, n: int) -> list[float]:
        return [1 / math.log2(r + 1) for r in range(1, n + 1)]

    def coefficients(self, discounted: bool) -> list[float]:
        w = self.discounts(self.k) if discounted else [1.0] * self.k
        return [x / sum(w) for x in w]

    def relevance(self, measure: Relevance, slate: Slate) -> float:
        future = self.world.future[self.user]
        wanted = set(future)
        hits = [r for r, i in enumerate(slate, 1) if i in wanted]
        match measure.metric:
            case "ndcg":
                return sum(1 / math.log2(r + 1) for r in hits) / sum(self.discounts(min(self.k, len(wanted))))
            case "hit":
                return float(bool(hits))
            case "recall":
                return len(hits) / len(wanted)
            case "precision":
                return len(hits) / self.k
            case "mrr":
                return 1 / hits[0] if hits else 0.0
            case "lcs":
                return self.longest_common(slate, future) / min(self.k, len(wanted))

    def longest_common(self, a: Slate, b: list[int]) -> int:
        if not a or not b:
            return 0
        if a[-1] == b[-1]:
            return 1 + self.longest_common(a[:-1], b[:-1])
        return max(self.longest_common(a[:-1], b), self.longest_common(a, b[:-1]))

    def average(self, measure: Average, slate: Slate) -> float:
        def clipped(item: int) -> float | None:
            value = self.evaluate(measure.operand, item)
            return None if value is None else min(1.0, max(0.0, value))

        catalog = [v for v in map(clipped, range(len(self.world.items))) if v is not None]
        fill = sum(catalog) / len(catalog) if catalog and measure.missing is Missing.MEAN else 0.0
        coefficients, total = self.coefficients(measure.measure == "discounted"), 0.0
        for r, item in enumerate(slate):
            if item is not None:
                value = clipped(item)
                if value is None and measure.missing is Missing.FAIL:
                    return 0.0
                total += coefficients[r] * (fill if value is None else value)
        return total

    def surprise(self, count: int) -> float:
        users = sum(bool(h) for h in self.world.history)
        return 1.0 if count == 0 else -math.log2(count / users) / math.log2(users)

    def values_of(self, item: int, column: str) -> list[Any] | None:
        value = self.world.items[item][column]
        return value if value is None or isinstance(value, list) else [value]

    def mass(self, items: list[int], column: str) -> defaultdict[Any, float]:
        mass: defaultdict[Any, float] = defaultdict(float)
        for values in (self.values_of(i, column) for i in items):
            for value in values or ():
                mass[value] += 1 / len(values or ())
        return mass

    def spread(self, name: str, measure: Spread, items: list[int]) -> float:
        column = measure.column.name
        unknown = [i for i in items if self.values_of(i, column) is None]
        if unknown and measure.missing is Missing.FAIL:
            return 0.0
        lists = [v for v in (self.values_of(i, column) for i in range(len(self.world.items))) if v is not None]
        different, longest = len({v for values in lists for v in values}), max((len(v) for v in lists), default=1)
        most = min(different, self.k * max(longest, 1))
        match measure.measure:
            case "distance":
                pairs = [(a, b) for n, a in enumerate(items) for b in items[:n]]
                if self.k < 2:
                    return 0.0
                return sum(self.distance(name, a, b, column) for a, b in pairs) / (self.k * (self.k - 1) / 2)
            case "distinct":
                found = {v for i in items for v in self.values_of(i, column) or ()}
                return min(1.0, len(found) / max(most, 1) + len(unknown) * self.typical[name])
            case "entropy":
                mass = self.mass(items, column)
                size = sum(bool(self.values_of(i, column)) for i in items)
                entropy = -sum(m / size * math.log2(m / size) for m in mass.values())
                known = size / self.k * entropy / math.log2(most) if most > 1 else 0.0
                return known + len(unknown) * self.typical[name]
            case "calibration":
                return self.calibration(measure, items, unknown)

    def distance(self, name: str, a: int, b: int, column: str) -> float:
        x, y = self.world.items[a][column], self.world.items[b][column]
        if x is None or y is None:
            return self.typical[name]
        if isinstance(x, list):
            return 1 - len(set(x) & set(y)) / len(set(x) | set(y)) if x or y else 0.0
        if isinstance(x, int | float) and not isinstance(x, bool):
            known = [i[column] for i in self.world.items if i[column] is not None]
            return abs(x - y) / (max(known) - min(known)) if max(known) > min(known) else 0.0
        return float(x != y)

    def calibration(self, measure: Spread, items: list[int], unknown: list[int]) -> float:
        column = measure.column.name
        mass, size = self.mass(items, column), float(sum(bool(self.values_of(i, column)) for i in items))
        catalog = self.mass(list(range(len(self.world.items))), column)
        if measure.missing is Missing.MEAN and catalog:
            for value, m in catalog.items():
                mass[value] += len(unknown) * m / sum(catalog.values())
            size += len(unknown)
        if not size:
            return 0.0
        history = self.mass(self.world.history[self.user], column)
        p = {v: m / sum(history.values()) for v, m in history.items()}
        q = {v: m / size for v, m in mass.items()}

        def divergence(a: dict[Any, float], b: dict[Any, float]) -> float:
            middle = {v: (a.get(v, 0) + b.get(v, 0)) / 2 for v in a}
            return sum(x * math.log2(x / middle[v]) for v, x in a.items() if x)

        return size / self.k * (1 - (divergence(p, q) + divergence(q, p)) / 2)

    # ---- quotas -----------------------------------------------------------------------------------------------------

    def bound(self, bound: Bound, up: bool) -> int:
        places = round(bound.amount * self.k if bound.percent else bound.amount, 9)
        return math.ceil(places) if up else math.floor(places)

    def count(self, rule: Quota, slate: Slate, unknown: bool) -> int:
        items = [i for i in slate if i is not None]
        match rule.counted:
            case Where(predicate=predicate):
                return sum(self.counts(predicate, i, unknown) for i in items)
            case Different(column=column):
                lists = [self.values_of(i, column.name) for i in items]
                return len({v for values in lists for v in values or ()}) + unknown * lists.count(None)
        raise AssertionError(rule)

    def at_least(self, rule: Quota, slate: Slate) -> float:
        assert rule.at_least is not None
        n = self.bound(rule.at_least, True)
        if n == 0:
            return sum(i is not None for i in slate) / self.k
        return min(1.0, self.count(rule, slate, False) / n)

    def at_most(self, rule: Quota, slate: Slate) -> float:
        """1 / K for every item that does not take the count, or the count of one of its values, past the bound."""
        assert rule.at_most is not None
        n, within = self.bound(rule.at_most, False), 0
        for r, item in enumerate(slate):
            if item is None:
                continue
            if isinstance(rule.counted, Per):
                counts, own = self.per(rule, slate[: r + 1]), self.per(rule, [item])
                within += all(counts[v] <= n for v in own)
            else:
                before, after = self.count(rule, slate[:r], True), self.count(rule, slate[: r + 1], True)
                within += after == before or after <= n
        return within / self.k

    def per(self, rule: Quota, slate: Slate) -> Counter[Any]:
        assert isinstance(rule.counted, Per)
        lists = [self.values_of(i, rule.counted.column.name) for i in slate if i is not None]
        return Counter(v for values in lists for v in ([None] if values is None else values))

    def satisfied(self, rule: Quota, slate: Slate) -> bool:
        if not self.applicable(rule) or any(self.blocked_item(i) for i in slate):
            return False
        if rule.at_least is not None and self.count(rule, slate, False) < self.bound(rule.at_least, True):
            return False
        if rule.at_most is None:
            return True
        n = self.bound(rule.at_most, False)
        if isinstance(rule.counted, Per):
            return all(c <= n for c in self.per(rule, slate).values())
        return self.count(rule, slate, True) <= n
