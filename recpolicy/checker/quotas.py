"""The amount and the count of a `quota`: syntax in, typed bounds and what they count out."""

from __future__ import annotations

import math

from recpolicy import policy, syntax
from recpolicy.checker.expressions import bounded, condition
from recpolicy.checker.measures import fits, item_column
from recpolicy.checker.scope import Scope
from recpolicy.errors import rules
from recpolicy.types import Type

_SLACK = 1e-9
"""Rounding of p x K: 7% of 100 places is 7, not 7.000000000000001 and so 8."""


def places(bound: policy.Bound, slate: int, *, at_least: bool) -> int:
    """The places a bound stands for in a slate of `slate`: a percentage rounds up for at-least, down for at-most."""
    if not bound.percent:
        return int(bound.amount)
    exact = bound.amount * slate
    return math.ceil(exact - _SLACK) if at_least else math.floor(exact + _SLACK)


def quota(node: syntax.Quota, weight: policy.Weight | None, scope: Scope) -> policy.Quota | None:
    """The typed quota, or None with a finding."""
    counted = _counted(node, scope)
    match node.amount:
        case syntax.AtLeast(_, amount):
            if isinstance(node.counted, syntax.Per):
                scope.report(rules.at_least_per(node.counted.span))
                return None
            low, high = _bound(amount, node, scope), None
            ok = low is not None and _possible_least(node, amount, low, counted, scope)
        case syntax.AtMost(_, amount):
            low, high = None, _bound(amount, node, scope)
            ok = high is not None and _possible_most(node, amount, high, counted, scope)
        case syntax.Between(_, first, second):
            if isinstance(node.counted, syntax.Per):
                scope.report(rules.at_least_per(node.counted.span))
                return None
            low, high = _bound(first, node, scope), _bound(second, node, scope)
            ok = low is not None and high is not None and _possible_between(node, low, high, counted, scope)
    if not ok or counted is None or weight is None:
        return None
    return policy.Quota(node.span, node.name.text, weight, low, high, counted)


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
    match node:
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
        case syntax.Unreadable():
            pass
        case _:
            example = "`2` or `20%`" if percents else "`2`"
            scope.report(rules.bad_amount(node.span, f"write a whole number of places, such as {example}"))
    return None


def _countable(counted: policy.Counted | None, scope: Scope) -> int | None:
    """The most that can be counted, where the slate's length bounds it; a list column may count more than a place."""
    if isinstance(counted, policy.Different) and counted.column.type is Type.LIST:
        return None
    return scope.slate


def _possible_least(
    node: syntax.Quota, amount: syntax.Expr, low: policy.Bound, counted: policy.Counted | None, scope: Scope
) -> bool:
    text = scope.text(node.amount.span)
    if low.amount == 0:
        scope.report(rules.always_met(amount.span, text, "write at least 1, or leave the quota out"))
        return False
    most = _countable(counted, scope)
    if most is not None and not low.percent and low.amount > most:
        scope.report(rules.out_of_places(amount.span, scope.text(amount.span), most))
        return False
    return True


def _possible_most(
    node: syntax.Quota, amount: syntax.Expr, high: policy.Bound, counted: policy.Counted | None, scope: Scope
) -> bool:
    text = scope.text(node.amount.span)
    most = _countable(counted, scope)
    if most is None:
        return True
    count = places(high, most, at_least=False)
    if count >= most:
        scope.report(rules.always_met(amount.span, text, f"write less than the slate's {most} places, or leave it out"))
        return False
    if high.percent and count == 0 and high.amount > 0:
        scope.report(rules.no_whole_place(amount.span, text, most, f"at most {_one_place(most)}"))
        return False
    return True


def _one_place(slate: int) -> str:
    percent = 100 / slate
    return f"{percent:g}%" if percent.is_integer() else "1"


def _possible_between(
    node: syntax.Quota, low: policy.Bound, high: policy.Bound, counted: policy.Counted | None, scope: Scope
) -> bool:
    span = node.amount.span
    if low.percent is not high.percent:
        scope.report(rules.mixed_bounds(span))
        return False
    first, second = scope.text(low.span), scope.text(high.span)
    slate = scope.slate
    if low.amount > high.amount:
        help = f"write `between {second} and {first}`"
        scope.report(rules.nothing_between(span, first, second, slate or 0, help))
        return False
    if slate is None:
        return True
    most = _countable(counted, scope)
    if most is not None and not low.percent and low.amount > most:
        scope.report(rules.out_of_places(low.span, first, most))
        return False
    if places(low, slate, at_least=True) > places(high, slate, at_least=False):
        step = f"{100 / slate:g}%"
        help = f"one place of {slate} is {step}: write limits that a whole number of places fits between"
        scope.report(rules.nothing_between(span, first, second, slate, help))
        return False
    return True
