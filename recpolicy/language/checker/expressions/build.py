"""Builds typed expressions from the syntax tree: names resolved, `let`s written out, units known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar, assert_never

from recpolicy.errors import names, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions import arithmetic, history
from recpolicy.language.checker.expressions.vocabulary import (
    FORMS,
    FUNCTIONS,
    HISTORY,
    HISTORY_FORMS,
    MEASURES,
    POPULATION,
)
from recpolicy.language.checker.scope import Scope
from recpolicy.schema import Derived, Role
from recpolicy.span import Span
from recpolicy.types import UNITS, Type

MAX_NODES = 5000
"""The largest number of nodes of an expression with its `let`s written out; the compiler walks all of them."""


def expression(node: syntax.Expr, scope: Scope) -> policy.Expr | None:
    """Builds the typed expression; reports an error and returns None."""
    match node:
        case syntax.Number(span, value):
            if not math.isfinite(value):
                scope.report(types.too_large(span))
                return None
            return policy.Number(span, value, Type.INT if value.is_integer() else Type.FLOAT)
        case syntax.Percent(span, value):
            return policy.Number(span, value / 100, Type.RATIO)
        case syntax.Duration():
            return _duration(node, scope)
        case syntax.Date():
            return _date(node, scope)
        case syntax.Text(span, text):
            return policy.Word(span, text)
        case syntax.Truth(span, truth):
            return policy.Truth(span, truth)
        case syntax.Now(span):
            return policy.Now(span)
        case syntax.Column():
            return _column(node, scope)
        case syntax.Name(span, name):
            if name in scope.lets:
                inlined = scope.lets[name]
                return None if inlined is None else replace(inlined, span=span)
            if name in scope.params:
                written = scope.params[name]
                return None if written is None else expression(replace(written, span=span), scope)
            if name == "next_items":
                scope.report(types.next_items_as_value(span))
            else:
                scope.unknown(node)
            return None
        case syntax.Call():
            return _call(node, scope)
        case syntax.Aggregate():
            return _aggregate(node, scope)
        case syntax.List(span):
            scope.report(types.list_out_of_place(span))
            return None
        case syntax.Negative():
            return _negative(node, scope)
        case syntax.Arithmetic(span, op, left, right):
            a, b = expression(left, scope), expression(right, scope)
            return None if a is None or b is None else arithmetic.compute(span, op, a, b, scope)
        case syntax.Compare(span, op, left, right):
            a, b = expression(left, scope), expression(right, scope)
            return None if a is None or b is None else arithmetic.order(span, op, a, b, scope)
        case syntax.Same():
            return _same(node, scope)
        case syntax.IsMissing(span, operand, negated):
            inner = expression(operand, scope)
            return None if inner is None else _unless(negated, span, policy.IsMissing(span, inner))
        case syntax.Membership():
            return _membership(node, scope)
        case syntax.WithinLast(span, date, duration):
            pair = _date_and_duration(date, duration, "within the last", scope)
            if pair is None:
                return None
            moment, start = pair
            # A future date is not "within the last".
            since = policy.Compare(span, ">=", moment, start)
            return policy.Logic(span, "and", since, policy.Compare(span, "<=", moment, policy.Now(span)))
        case syntax.MoreThanAgo(span, date, duration):
            pair = _date_and_duration(date, duration, "more than ... ago", scope)
            return None if pair is None else policy.Compare(span, "<", *pair)
        case syntax.Not(span, operand):
            inner = condition(operand, scope)
            return None if inner is None else policy.Not(span, inner)
        case syntax.AllOf(_, operands):
            return _logic("and", operands, scope)
        case syntax.AnyOf(_, operands):
            return _logic("or", operands, scope)
        case syntax.Unreadable():
            return None
    assert_never(node)


def condition(node: syntax.Expr, scope: Scope) -> policy.Expr | None:
    """Builds the typed expression if it is true or false of an item or a user; reports any other type."""
    typed = expression(node, scope)
    if typed is None or typed.type is Type.BOOL:
        return typed
    text = scope.text(node.span)
    if typed.type is Type.LIST:
        help = f'ask for a word in it, as in `"Drama" in {text}`'
    elif isinstance(typed, policy.Word):
        help = f'compare it, as in `item.COLUMN is {text}`; for several words, `item.COLUMN in ["a", "b"]`'
    elif typed.type.is_word:
        help = f'compare it, as in `{text} is "..."`'
    elif typed.type is Type.DATE:
        help = f"compare it, as in `{text} within the last 90 days`"
    else:
        example = {Type.RATIO: "2%", Type.DURATION: "90 days"}.get(typed.type, "3")
        help = f"compare it, as in `{text} > {example}`"
    scope.report(types.not_a_condition(node.span, typed.type, help))
    return None


def whole_condition(node: syntax.Expr, scope: Scope) -> policy.Expr | None:
    """Builds a condition that is no part of a larger one; reports it if it is too large for the compiler."""
    return bounded(node, condition(node, scope), scope)


def bounded(node: syntax.Expr, typed: policy.Expr | None, scope: Scope) -> policy.Expr | None:
    """Returns `typed` if it is small enough for the compiler; reports it if not."""
    if typed is None or extent(typed) <= MAX_NODES:
        return typed
    scope.report(types.too_big(node.span, MAX_NODES))
    return None


def extent(expr: policy.Expr) -> int:
    """Counts the nodes; returns more than `MAX_NODES` if the expression is too deep to walk."""
    todo: list[tuple[policy.Expr, int]] = [(expr, 0)]
    count = 0
    while todo and count <= MAX_NODES:
        node, depth = todo.pop()
        count += 1
        if depth > _MAX_DEPTH:
            return MAX_NODES + 1
        todo += [(child, depth + 1) for child in policy.children(node)]
    return count


_MAX_DEPTH = 150


# ---- single forms ---------------------------------------------------------------------------------------------------


def _duration(node: syntax.Duration, scope: Scope) -> policy.Expr | None:
    unit = node.unit if node.unit in UNITS else node.unit.removesuffix("s")
    if unit not in UNITS:
        plural = "" if node.value == 1 else "s"
        known = [f"{u}{plural}" for u in UNITS]
        before = node.span.end - len(node.unit) - node.span.start
        span = Span(node.span.start + before, node.span.end, node.span.line, node.span.column + before)
        scope.report(names.unknown_unit(span, node.unit, scope.near(node.unit, known), known))
        return None
    seconds = node.value * UNITS[unit]
    if not math.isfinite(seconds):
        scope.report(types.too_large(node.span))
        return None
    return policy.Number(node.span, seconds, Type.DURATION)


def _date(node: syntax.Date, scope: Scope) -> policy.Expr | None:
    try:
        moment = datetime.strptime(node.text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        scope.report(types.no_such_day(node.span, node.text))
        return None
    return policy.Number(node.span, moment.timestamp(), Type.DATE)


def _column(node: syntax.Column, scope: Scope) -> policy.Expr | None:
    column = scope.column(node)
    if column is None or scope.schema is None or node.table == "user":
        return column
    if scope.schema.item[column.name].derived is not Derived.AGE:
        return column
    published = scope.schema.with_role(Role.PUBLISHED)
    assert published is not None, "a schema with an age has a published column"
    date = policy.Column(node.span, "item", published.name, Type.DATE)
    return policy.Arithmetic(node.span, "-", policy.Now(node.span), date, Type.DURATION)


def _call(node: syntax.Call, scope: Scope) -> policy.Expr | None:
    name = node.function
    if name == "count":
        scope.report(types.count_without_history(node.head))
        return None
    if name in MEASURES or name in POPULATION:
        scope.report(types.measure_as_value(node.head, name, _instead(name)))
        return None
    args: _Typed | None = _all_of(expression(arg, scope) for arg in node.args)
    if name not in FUNCTIONS:
        close = scope.near(name, (*FUNCTIONS, *HISTORY))
        scope.report(names.unknown_function(node.head, name, close, FUNCTIONS))
        return None
    if args is None:
        return None
    if name != "percentile":
        return arithmetic.call(node, name, args, scope)
    if len(args) != 1:
        scope.report(types.argument_count(node.span, name, len(args), FORMS[name]))
        return None
    return history.percentile(node, args[0], scope)


def _instead(name: str) -> str:
    """How a measure's name is used."""
    if name in POPULATION:
        return f"use it as a target: `target NAME = {FORMS[name]} >= 20%`"
    reward = f"use it as a reward: `reward NAME weight W = {FORMS[name]}`"
    if name in HISTORY:
        return f"of the items the user took before, write `{HISTORY_FORMS[name]}`; or {reward}"
    return reward


def _aggregate(node: syntax.Aggregate, scope: Scope) -> policy.Expr | None:
    call, name = node.call, node.call.function
    if name not in HISTORY:
        scope.report(names.unknown_aggregate(call.head, name, scope.near(name, HISTORY)))
        return None
    if name == "count" and not call.args:
        return history.aggregate(node, "count", policy.Truth(call.span, True), scope)
    if len(call.args) != 1:
        scope.report(types.argument_count(node.span, name, len(call.args), HISTORY_FORMS[name]))
        return None
    (argument,) = call.args
    function: Any = name
    operand = expression(argument, scope) if name == "mean" else condition(argument, scope)
    return None if operand is None else history.aggregate(node, function, operand, scope)


def _negative(node: syntax.Negative, scope: Scope) -> policy.Expr | None:
    inner = expression(node.operand, scope)
    if inner is None:
        return None
    if not inner.type.is_measured or inner.type is Type.DATE:
        scope.report(types.needs_no_negation(node.operand.span, inner.type))
        return None
    if isinstance(inner, policy.Number):
        return policy.Number(node.span, -inner.value, inner.type)
    return policy.Arithmetic(node.span, "-", policy.Number(node.span, 0.0, inner.type), inner, inner.type)


def _same(node: syntax.Same, scope: Scope) -> policy.Expr | None:
    left, right = (_side(side, other, scope) for side, other in ((node.left, node.right), (node.right, node.left)))
    if left is None or right is None:
        return None
    return arithmetic.same(node.span, "is not" if node.negated else "is", left, right, scope)


def _side(node: syntax.Expr, other: syntax.Expr, scope: Scope) -> policy.Expr | None:
    """One side of `is`: an unknown word next to a column is most likely a text without its quotes."""
    if _is_unquoted(node, other, scope):
        scope.report(names.unquoted_word(node.span, scope.text(node.span)))
        return None
    return expression(node, scope)


def _is_unquoted(node: syntax.Expr, other: syntax.Expr, scope: Scope) -> bool:
    if not isinstance(node, syntax.Name) or not isinstance(other, syntax.Column) or scope.schema is None:
        return False
    if node.name in scope.lets or node.name in scope.later or scope.may_be_unread(node.name):
        return False
    spec = scope.table(other.table).get(other.name)
    known = scope.near(node.name, (*scope.lets, *scope.params)) is not None
    return spec is not None and (spec.type.is_word or spec.type is Type.LIST) and not known


def _membership(node: syntax.Membership, scope: Scope) -> policy.Expr | None:
    if isinstance(node.container, syntax.List):
        typed = _among(node.operand, node.container, node.span, scope)
    else:
        typed = _contains(node.operand, node.container, node.span, scope)
    return None if typed is None else _unless(node.negated, node.span, typed)


def _among(operand: syntax.Expr, container: syntax.List, span: Span, scope: Scope) -> policy.Expr | None:
    left = expression(operand, scope)
    options: tuple[policy.Number | policy.Word, ...] | None = _all_of(_option(item, scope) for item in container.items)
    if left is None or options is None:
        return None
    if left.type is Type.LIST:
        first = scope.text(container.items[0].span) if container.items else '"Drama"'
        help = f"write `{first} in {scope.text(operand.span)}`, joined with `or` for several words"
        scope.report(types.cannot_be_in(operand.span, "a list itself", help))
        return None
    if left.type is Type.BOOL:
        scope.report(types.cannot_be_in(operand.span, types.phrase(left.type), "use the condition by itself"))
        return None
    for option in options:
        if not arithmetic.comparable(left.type, option.type):
            scope.report(types.mixed_options(option.span, option.type, left.type))
            return None
    return policy.Among(span, left, options)


def _option(node: syntax.Expr, scope: Scope) -> policy.Number | policy.Word | None:
    """One of the values in the brackets behind `in`."""
    if isinstance(node, syntax.Name) and node.name not in scope.later and node.name != "next_items":
        scope.report(names.unquoted_word(node.span, node.name))
        return None
    option = expression(node, scope)
    if option is None or isinstance(option, policy.Number | policy.Word):
        return option
    scope.report(types.not_an_option(node.span, 'write numbers or quoted texts, as in `["Drama", "War"]`'))
    return None


def _contains(operand: syntax.Expr, container: syntax.Expr, span: Span, scope: Scope) -> policy.Expr | None:
    word, column = _side(operand, container, scope), expression(container, scope)
    if word is None or column is None:
        return None
    if not isinstance(column, policy.Column) or column.type is not Type.LIST:
        help = (
            f"write `{scope.text(container.span)} is {scope.text(operand.span)}`"
            if column.type.is_word and word.type.is_word
            else 'write a list column, or values in brackets, as in `x in ["a", "b"]`'
        )
        scope.report(types.not_a_list(container.span, column.type, help))
        return None
    if not word.type.is_word:
        help = f'{scope.text(container.span)} holds words: write one, as in `"Drama" in {scope.text(container.span)}`'
        scope.report(types.cannot_be_in(operand.span, types.phrase(word.type), help))
        return None
    return policy.Contains(span, word, column)


def _date_and_duration(
    date: syntax.Expr, duration: syntax.Expr, form: str, scope: Scope
) -> tuple[policy.Expr, policy.Expr] | None:
    """The date, and the moment that is the duration before now."""
    moment, length = expression(date, scope), expression(duration, scope)
    if moment is not None and moment.type is not Type.DATE:
        scope.report(types.not_a_date(date.span, form, moment.type))
        moment = None
    if length is not None and length.type is not Type.DURATION:
        write = f"{scope.text(duration.span)} days" if length.type.is_number else "90 days"
        scope.report(types.not_a_duration(duration.span, form, length.type, write))
        length = None
    if moment is None or length is None:
        return None
    span = duration.span
    return moment, policy.Arithmetic(span, "-", policy.Now(span), length, Type.DATE)


def _logic(op: Literal["and", "or"], operands: tuple[syntax.Expr, ...], scope: Scope) -> policy.Expr | None:
    level: _Typed | None = _all_of(condition(operand, scope) for operand in operands)
    if level is None:
        return None
    while len(level) > 1:  # a balanced tree, so that a long list of alternatives is not deep
        pairs = zip(level[::2], level[1::2], strict=False)
        joined = tuple(policy.Logic(a.span, op, a, b) for a, b in pairs)
        level = joined + level[len(joined) * 2 :]
    return level[0]


_Typed: TypeAlias = tuple[policy.Expr, ...]
_Part = TypeVar("_Part")


def _all_of(parts: Iterable[_Part | None]) -> tuple[_Part, ...] | None:
    """All parts of an expression, or None if one of them has an error; the others are still checked."""
    checked = tuple(parts)
    typed = tuple(part for part in checked if part is not None)
    return typed if len(typed) == len(checked) else None


def _unless(negated: bool, span: Span, typed: policy.Expr) -> policy.Expr:
    return policy.Not(span, typed) if negated else typed
