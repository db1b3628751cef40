"""What rewards measure of one slate, or its first places, straight from the definitions.

Every denominator is that of K places.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from recpolicy.language.policy import Average, Measure, Missing, Novelty, Portion, Relevance, Serendipity, Spread
from tests.rewards.reference.expressions import Expressions
from tests.rewards.reference.quotas import Slate


@dataclass(frozen=True)
class Measures(Expressions):
    """The measures of one user. `typical` is what an item without a value is worth, by the rule's name."""

    typical: dict[str, float]

    def value(self, name: str, measure: Measure, slate: Slate) -> float:
        match measure:
            case Relevance():
                return self.relevance(measure, slate)
            case Serendipity():
                return self.serendipity(name, measure, slate)
            case Portion():
                matching = [r for r, i in enumerate(slate) if i is not None and self.counts(measure.where, i, False)]
                return sum(self.coefficients(measure.measure == "exposure")[r] for r in matching)
            case Average():
                return self.average(measure, slate)
            case Novelty():
                return sum(self.surprise(self.world.items[i]["popularity"]) for i in slate if i is not None) / self.k
            case Spread():
                return self.spread(name, measure, [i for i in slate if i is not None])

    def applicable(self, measure: Measure) -> bool:
        """Whether the user has the next items or the history that the measure needs."""
        history, future = self.world.history[self.user], self.world.future[self.user]
        match measure:
            case Relevance():
                return bool(future)
            case Serendipity(column=column):
                return bool(future) and any(self.world.items[i][column.name] is not None for i in history)
            case Spread(measure="calibration", column=column):
                return any(self.values_of(i, column.name) for i in history)
        return True

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

    def serendipity(self, name: str, measure: Serendipity, slate: Slate) -> float:
        column, items, wanted = measure.column.name, self.world.items, set(self.world.future[self.user])
        if measure.missing is Missing.FAIL and any(i is not None and items[i][column] is None for i in slate):
            return 0.0
        history, total = [i for i in self.world.history[self.user] if items[i][column] is not None], 0.0
        for item in slate:
            if item is not None and item in wanted:
                total += sum(self.distance(name, item, seen, column) for seen in history) / len(history)
        return total / min(self.k, len(wanted))
