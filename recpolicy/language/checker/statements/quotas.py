"""Checks a `quota` and builds its typed bounds and what they count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from recpolicy.errors import Diagnostic, rules
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions.build import whole_condition
from recpolicy.language.checker.expressions.literals import literal, shown
from recpolicy.language.checker.expressions.literals import places as places_in
from recpolicy.language.checker.scope import Scope
from recpolicy.language.checker.statements.measures import value_column
from recpolicy.types import Type

_SLACK = 1e-9
"""Rounding of p x K: 7% of 100 places is 7, not 7.000000000000001 and so 8."""


def places(bound: policy.Bound, slate: int, *, at_least: bool) -> int:
    """Computes the places a bound means in `slate` places: a percentage rounds up for at-least, down for at-most."""
    if not bound.percent:
        return int(bound.amount)
    exact = bound.amount * slate
    return math.ceil(exact - _SLACK) if at_least else math.floor(exact + _SLACK)


_Finding: TypeAlias = Diagnostic | None


@dataclass(frozen=True)
class _Places:
    """The places a quota looks at: how many (None if `slate` is not known), and its window."""

    count: int | None
    window: policy.Window | None = None

    @property
    def hold(self) -> str:
        """The places, as the subject of a message."""
        if self.window is None:
            return "the slate holds"
        return f"{self.count} places in a row hold" if self.window.sliding else f"the top {self.count} hold"

    @property
    def label(self) -> str:
        """The label under an amount that is too large."""
        return f"the {'slate has' if self.window is None else 'quota looks at'} {self.count} places"

    @property
    def more(self) -> str:
        """What gives a quota more room."""
        return "make `slate` longer" if self.window is None else "let it look at more places"


def quota(node: syntax.Quota, weight: policy.Weight | None, because: str | None, scope: Scope) -> policy.Quota | None:
    """Builds the typed quota, or reports why it cannot."""
    counted = _counted(node, scope)
    window = _places(node.window, scope)
    if isinstance(node.counted, syntax.Per) and not isinstance(node.amount, syntax.AtMost):
        scope.report(rules.at_least_per(node.counted.span))
        return None
    # After an error in the window nothing is known of the places, and no amount is too large.
    within = _Places(None) if window is None else window
    most = _countable(counted, within)
    low = high = finding = None
    match node.amount:
        case syntax.AtLeast(_, amount) as least:
            if (low := _bound(amount, node, scope)) is not None:
                finding = _useless_least(least, low, most, within, scope)
        case syntax.AtMost(_, amount) as at_most:
            if (high := _bound(amount, node, scope)) is not None:
                finding = _useless_most(at_most, high, most, within, scope)
        case syntax.Between(_, first, second) as between:
            low, high = _bound(first, node, scope), _bound(second, node, scope)
            if low is None or high is None:
                return None
            finding = _useless_between(between, low, high, most, within, scope)
    if finding is not None:
        scope.report(finding)
        return None
    if (low is None and high is None) or counted is None or weight is None or window is None:
        return None
    hard = isinstance(node.weight, syntax.Hard)
    return policy.Quota(
        node.span, node.name.text, weight, low, high, counted, window.window, hard=hard, because=because
    )


def _places(node: syntax.InTop | syntax.InARow | None, scope: Scope) -> _Places | None:
    """The places a quota looks at; None after an error in the window, which is reported."""
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
            where = whole_condition(predicate, scope)
            return None if where is None else policy.Where(span, where)
        case syntax.Per(span, argument):
            column = value_column(argument, "per", "at most N per item.COLUMN", scope)
            return None if column is None else policy.Per(span, column)
        case syntax.Distinct(span, argument):
            column = value_column(argument, "distinct", "at least N distinct item.COLUMN", scope)
            return None if column is None else policy.Different(span, column)


def _bound(node: syntax.Expr, of: syntax.Quota, scope: Scope) -> policy.Bound | None:
    percents = isinstance(of.counted, syntax.Where)
    match literal(node, scope):
        case None:
            pass
        case syntax.Number(span, value) if value.is_integer():
            return policy.Bound(span, value, percent=False)
        case syntax.Percent(span, _) if not isinstance(of.counted, syntax.Where):
            word, start = ("per", "at most 2") if isinstance(of.counted, syntax.Per) else ("distinct", "at least 4")
            write = f"{start} {word} {scope.text(of.counted.column.span)}"
            scope.report(rules.percent_of_values(span, word, write))
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
    """The most that can be counted, if the places limit it; one place may count several values of a list column."""
    if isinstance(counted, policy.Different) and counted.column.type is Type.LIST:
        return None
    return within.count


def _too_many(node: syntax.Expr, low: policy.Bound, most: int | None, within: _Places, scope: Scope) -> _Finding:
    if most is None or low.percent or low.amount <= most:
        return None
    return rules.out_of_places(node.span, shown(node, scope), most, within.hold, within.label, within.more)


def _useless_least(
    node: syntax.AtLeast, low: policy.Bound, most: int | None, within: _Places, scope: Scope
) -> _Finding:
    if low.amount == 0:
        help = "write at least 1, or leave the quota out"
        return rules.always_met(node.amount.span, scope.text(node.span), help)
    return _too_many(node.amount, low, most, within, scope)


def _useless_most(node: syntax.AtMost, high: policy.Bound, most: int | None, within: _Places, scope: Scope) -> _Finding:
    if most is None:
        return None
    text, span = scope.text(node.span), node.amount.span
    count = places(high, most, at_least=False)
    if count >= most:
        whose = "the slate's" if within.window is None else "its"
        return rules.always_met(span, text, f"write less than {whose} {most} places, or leave it out")
    if high.percent and count == 0 and high.amount > 0:
        one_place = f"{100 // most}%" if 100 % most == 0 else "1"
        return rules.no_whole_place(span, text, most, f"at most {one_place}", within.more)
    return None


def _useless_between(
    node: syntax.Between, low: policy.Bound, high: policy.Bound, most: int | None, within: _Places, scope: Scope
) -> _Finding:
    if low.percent is not high.percent:
        return rules.mixed_bounds(node.span)
    first, second = scope.text(low.span), scope.text(high.span)
    count = within.count
    if low.amount > high.amount:
        return rules.nothing_between(node.span, first, second, count or 0, f"write `between {second} and {first}`")
    if (finding := _too_many(node.low, low, most, within, scope)) is not None or count is None:
        return finding
    if places(low, count, at_least=True) > places(high, count, at_least=False):
        help = f"one place of {count} is {100 / count:g}%: write limits that a whole number of places fits between"
        return rules.nothing_between(node.span, first, second, count, help)
    return None
