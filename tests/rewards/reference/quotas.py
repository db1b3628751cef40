"""Quotas over one slate, or its first places, straight from the definitions."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from recpolicy.language.policy import Bound, Different, Per, Quota, Where
from tests.rewards.reference.expressions import Expressions

Slate = list[int | None]
"""Items by place; None is a hole."""


@dataclass(frozen=True)
class Quotas(Expressions):
    """The quotas of one user."""

    def value(self, rule: Quota, slate: Slate) -> float:
        low = None if rule.at_least is None else self.at_least(rule, slate)
        high = None if rule.at_most is None else self.at_most(rule, slate)
        known = [v for v in (low, high) if v is not None]
        return sum(known) / len(known)

    def satisfied(self, rule: Quota, slate: Slate) -> bool:
        """The true demand, window by window."""
        for window in self.windows(rule):
            items = [slate[r] for r in window if slate[r] is not None]
            if rule.at_least is not None and self.count(rule, items, False) < self.bound(rule, rule.at_least, True):
                return False
            if rule.at_most is not None and self.most(rule, items) > self.bound(rule, rule.at_most, False):
                return False
        return True

    def length(self, rule: Quota) -> int:
        """N."""
        return self.k if rule.window is None else min(rule.window.length, self.k)

    def windows(self, rule: Quota) -> list[range]:
        n = self.length(rule)
        starts = self.k - n + 1 if rule.window is not None and rule.window.sliding else 1
        return [range(s, s + n) for s in range(starts)]

    def bound(self, rule: Quota, bound: Bound, up: bool) -> int:
        places = round(bound.amount * self.length(rule) if bound.percent else bound.amount, 9)
        return math.ceil(places) if up else math.floor(places)

    def count(self, rule: Quota, slate: Slate, unknown: bool) -> int:
        """Items that match, or different values."""
        items = [i for i in slate if i is not None]
        match rule.counted:
            case Where(predicate=predicate):
                return sum(self.counts(predicate, i, unknown) for i in items)
            case Different(column=column):
                lists = [self.values_of(i, column.name) for i in items]
                return len({v for values in lists for v in values or ()}) + unknown * lists.count(None)
            case Per():
                raise AssertionError("an at-least counts no single values")

    def per(self, rule: Quota, slate: Slate) -> Counter[Any]:
        """How often each value stands there; all unknown ones are the value None."""
        assert isinstance(rule.counted, Per)
        lists = [self.values_of(i, rule.counted.column.name) for i in slate if i is not None]
        return Counter(v for values in lists for v in ([None] if values is None else values))

    def most(self, rule: Quota, slate: Slate) -> int:
        """What an at-most bounds: for `per` the most frequent value."""
        if isinstance(rule.counted, Per):
            return max(self.per(rule, slate).values(), default=0)
        return self.count(rule, slate, True)

    def at_least(self, rule: Quota, slate: Slate) -> float:
        """Mean over the windows of min(1, count / n); places that `slate` has not reached hold nothing."""
        assert rule.at_least is not None
        n, values = self.bound(rule, rule.at_least, True), []
        for window in self.windows(rule):
            items = [slate[r] for r in window if r < len(slate) and slate[r] is not None]
            values.append(min(1.0, self.count(rule, items, False) / n) if n else len(items) / self.length(rule))
        return sum(values) / len(values)

    def at_most(self, rule: Quota, slate: Slate) -> float:
        """Share of places that hold an item which is not in excess."""
        sliding = rule.window is not None and rule.window.sliding
        places = self.k if sliding else self.length(rule)
        within = self.within(rule, slate[:places])
        return sum(w and i is not None for w, i in zip(within, slate, strict=False)) / places

    def within(self, rule: Quota, slate: Slate) -> list[bool]:
        """Whether each place is not in excess, given those before it that are not."""
        assert rule.at_most is not None
        n, out = self.bound(rule, rule.at_most, False), list[bool]()
        for r, item in enumerate(slate):
            first = max(0, r - self.length(rule) + 1)
            before = [slate[q] for q in range(first, r) if out[q]]
            if item is None:
                out.append(True)
            elif isinstance(rule.counted, Per):
                counts = self.per(rule, [*before, item])
                out.append(all(counts[v] <= n for v in self.per(rule, [item])))
            else:
                counted = self.count(rule, [*before, item], True) > self.count(rule, before, True)
                out.append(not counted or self.count(rule, [*before, item], True) <= n)
        return out
