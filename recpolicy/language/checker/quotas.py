"""The amount and the count of a `quota`: syntax in, typed bounds and what they count out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recpolicy.errors import rules
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions import bounded, condition
from recpolicy.language.checker.literals import literal, shown
from recpolicy.language.checker.literals import places as places_in
from recpolicy.language.checker.measures import fits, item_column
from recpolicy.language.checker.scope import Scope
from recpolicy.types import Type

_SLACK = 1e-9
"""Rounding of p x K: 7% of 100 places is 7, not 7.000000000000001 and so 8."""


def places(bound: policy.Bound, slate: int, *, at_least: bool) -> int:
    """The places a bound stands for in a slate of `slate`: a percentage rounds up for at-least, down for at-most."""
    if not bound.percent:
        return int(bound.amount)
    exact = bound.amount * slate
    return math.ceil(exact - _SLACK) if at_least else math.floor(exact + _SLACK)


@dataclass(frozen=True)
class _Places:
    """The places a quota looks at: how many (None where `slate` is not known), and the window around them."""

    count: int | None
    window: policy.Window | None = None

    @property
    def hold(self) -> str:
        """The places as messages speak of them."""
        if self.window is None:
            return "the slate holds"
        return f"{self.count} places in a row hold" if self.window.sliding else f"the top {self.count} hold"

    @property
    def label(self) -> str:
        """What stands below an amount that is too large."""
        return f"the {'slate has' if self.window is None else 'quota looks at'} {self.count} places"

    @property
    def more(self) -> str:
        """What gives a quota more room."""
        return "make `slate` longer" if self.window is None else "let it look at more places"


def quota(node: syntax.Quota, weight: policy.Weight | None, because: str | None, scope: Scope) -> policy.Quota | None:
    """The typed quota, or None with a finding."""
    counted = _counted(node, scope)
    seen = _places(node.window, scope)
    # What follows needs to know how many places there are; without a window that can be used, nothing is said of them.
    within = _Places(None) if seen is None else seen
    match node.amount:
        case syntax.AtLeast(_, amount) as least:
            if isinstance(node.counted, syntax.Per):
                scope.report(rules.at_least_per(node.counted.span))
                return None
            low, high = _bound(amount, node, scope), None
            ok = low is not None and _possible_least(least, low, counted, within, scope)
        case syntax.AtMost(_, amount) as at_most:
            low, high = None, _bound(amount, node, scope)
            ok = high is not None and _possible_most(at_most, high, counted, within, scope)
        case syntax.Between(_, first, second) as between:
            if isinstance(node.counted, syntax.Per):
                scope.report(rules.at_least_per(node.counted.span))
                return None
            low, high = _bound(first, node, scope), _bound(second, node, scope)
            ok = low is not None and high is not None and _possible_between(between, low, high, counted, within, scope)
    if not ok or counted is None or weight is None or seen is None:
        return None
    hard = isinstance(node.weight, syntax.Hard)
    return policy.Quota(node.span, node.name.text, weight, low, high, counted, seen.window, hard=hard, because=because)


def _places(node: syntax.InTop | syntax.InARow | None, scope: Scope) -> _Places | None:
    """The places a quota looks at, or None with a finding."""
    if node is None:
        return _Places(scope.slate)
    value = literal(node.length, scope)
    if value is None:
        return None
    length = places_in(value, scope)
    if length is None:
        scope.report(rules.bad_window(node.length.span, shown(node.length, scope), scope.slate))
        return None
    if length == scope.slate:
        scope.report(rules.whole_slate(node.span, scope.text(node.span), length))
        return None
    return _Places(length, policy.Window(node.span, length, sliding=isinstance(node, syntax.InARow)))


def _counted(node: syntax.Quota, scope: Scope) -> policy.Counted | None:
    match node.counted:
        case syntax.Where(span, predicate):
            where = bounded(predicate, condition(predicate, scope), scope)
            return None if where is None else policy.Where(span, where)
        case syntax.Per(span, argument):
            column = item_column(argument, "`per`", "write `at most N per item.COLUMN`", scope)
            if column is None or not fits(column, "`per`", scope, measured=False):
                return None
            return policy.Per(span, column)
        case syntax.Distinct(span, argument):
            column = item_column(argument, "`distinct`", "write `at least N distinct item.COLUMN`", scope)
            if column is None or not fits(column, "`distinct`", scope, measured=False):
                return None
            return policy.Different(span, column)


def _bound(node: syntax.Expr, of: syntax.Quota, scope: Scope) -> policy.Bound | None:
    percents = isinstance(of.counted, syntax.Where)
    match literal(node, scope):
        case None:
            pass
        case syntax.Number(span, value) if value.is_integer():
            return policy.Bound(span, value, percent=False)
        case syntax.Percent(span, _) if isinstance(of.counted, syntax.Per):
            write = f"at most 2 per {scope.text(of.counted.column.span)}"
            scope.report(rules.percent_of_values(span, "per", write))
        case syntax.Percent(span, _) if isinstance(of.counted, syntax.Distinct):
            write = f"at least 4 distinct {scope.text(of.counted.column.span)}"
            scope.report(rules.percent_of_values(span, "distinct", write))
        case syntax.Percent(span, value) if value <= 100:
            return policy.Bound(span, value / 100, percent=True)
        case syntax.Percent(span, _):
            scope.report(rules.bad_amount(span, "a percentage of the slate lies between 0% and 100%"))
        case syntax.Number(span, value) if percents and 0 < value < 1:
            scope.report(rules.bad_amount(span, f"write `{value * 100:g}%`, or a count such as `2`"))
        case _:
            example = "`2` or `20%`" if percents else "`2`"
            scope.report(rules.bad_amount(node.span, f"write a whole number of places, such as {example}"))
    return None


def _countable(counted: policy.Counted | None, within: _Places) -> int | None:
    """The most that can be counted, where the number of places bounds it; a list column may count more than a place."""
    if isinstance(counted, policy.Different) and counted.column.type is Type.LIST:
        return None
    return within.count


def _too_many(amount: syntax.Expr, most: int, within: _Places, scope: Scope) -> None:
    text = shown(amount, scope)
    scope.report(rules.out_of_places(amount.span, text, most, within.hold, within.label, within.more))


def _possible_least(
    node: syntax.AtLeast, low: policy.Bound, counted: policy.Counted | None, within: _Places, scope: Scope
) -> bool:
    if low.amount == 0:
        text = scope.text(node.span)
        scope.report(rules.always_met(node.amount.span, text, "write at least 1, or leave the quota out"))
        return False
    most = _countable(counted, within)
    if most is not None and not low.percent and low.amount > most:
        _too_many(node.amount, most, within, scope)
        return False
    return True


def _possible_most(
    node: syntax.AtMost, high: policy.Bound, counted: policy.Counted | None, within: _Places, scope: Scope
) -> bool:
    text, span = scope.text(node.span), node.amount.span
    most = _countable(counted, within)
    if most is None:
        return True
    count = places(high, most, at_least=False)
    if count >= most:
        whose = "the slate's" if within.window is None else "its"
        scope.report(rules.always_met(span, text, f"write less than {whose} {most} places, or leave it out"))
        return False
    if high.percent and count == 0 and high.amount > 0:
        scope.report(rules.no_whole_place(span, text, most, f"at most {_one_place(most)}", within.more))
        return False
    return True


def _one_place(slate: int) -> str:
    percent = 100 / slate
    return f"{percent:g}%" if percent.is_integer() else "1"


def _possible_between(
    node: syntax.Between,
    low: policy.Bound,
    high: policy.Bound,
    counted: policy.Counted | None,
    within: _Places,
    scope: Scope,
) -> bool:
    span = node.span
    if low.percent is not high.percent:
        scope.report(rules.mixed_bounds(span))
        return False
    first, second = scope.text(low.span), scope.text(high.span)
    count = within.count
    if low.amount > high.amount:
        help = f"write `between {second} and {first}`"
        scope.report(rules.nothing_between(span, first, second, count or 0, help))
        return False
    if count is None:
        return True
    most = _countable(counted, within)
    if most is not None and not low.percent and low.amount > most:
        _too_many(node.low, most, within, scope)
        return False
    if places(low, count, at_least=True) > places(high, count, at_least=False):
        step = f"{100 / count:g}%"
        help = f"one place of {count} is {step}: write limits that a whole number of places fits between"
        scope.report(rules.nothing_between(span, first, second, count, help))
        return False
    return True
