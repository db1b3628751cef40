"""What a `reward` measures: a call in the syntax tree in, the typed measure out."""

from __future__ import annotations

from typing import Any

from recpolicy.errors import names, rules, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.bounds import bounds
from recpolicy.language.checker.expressions import bounded, condition, expression
from recpolicy.language.checker.history import can_be_ranked
from recpolicy.language.checker.scope import Scope
from recpolicy.language.checker.vocabulary import AVERAGE, FORMS, FUNCTIONS, MEASURES, POPULATION, PORTION, RELEVANCE
from recpolicy.schema import Role
from recpolicy.types import Type

_TOLERANCE = 1e-9
_MEASURED = ("distance", "serendipity")
"""Measures that also work on numbers."""


def measure(node: syntax.Expr, missing: policy.Missing, scope: Scope) -> policy.Measure | None:
    """The typed measure, or None with a finding."""
    if isinstance(node, syntax.Unreadable):
        return None
    if not isinstance(node, syntax.Call) or node.function in FUNCTIONS:
        _not_a_measure(node, scope)
        return None
    name: Any = node.function
    if name in POPULATION:
        scope.report(rules.population_as_reward(node.head, name, scope.text(node.span)))
        return None
    if name == "count":
        scope.report(types.count_without_history(node.head))
        return None
    if name not in MEASURES:
        scope.report(names.unknown_measure(node.head, name, scope.near(name, MEASURES), MEASURES))
        return None
    if len(node.args) != 1:
        scope.report(types.argument_count(node.span, name, len(node.args), FORMS[name]))
        return None
    (argument,) = node.args
    if name in RELEVANCE:
        return _relevance(node, name, argument, scope)
    if name in PORTION:
        where = bounded(argument, condition(argument, scope), scope)
        return None if where is None else policy.Portion(node.span, name, where)
    if name in AVERAGE:
        return _average(node, name, argument, missing, scope)
    if name == "novelty":
        return _novelty(node, argument, scope)
    column = item_column(argument, f"`{name}`", f"write `{name}(item.COLUMN)`", scope)
    if column is None or not fits(column, f"`{name}`", scope, measured=name in _MEASURED):
        return None
    if name == "serendipity":
        return policy.Serendipity(node.span, column, missing)
    return policy.Spread(node.span, name, column, missing)


def item_column(node: syntax.Expr, what: str, help: str, scope: Scope) -> policy.Column | None:
    """The item column that `node` is, or None with a finding; a derived age is not a column by itself."""
    if not isinstance(node, syntax.Column):
        if isinstance(node, syntax.Name) and node.name not in scope.lets and node.name not in scope.params:
            scope.unknown(node)
        elif not isinstance(node, syntax.Unreadable):
            scope.report(rules.needs_column(node.span, what, help))
        return None
    if node.table == "user":
        scope.report(rules.needs_column(node.span, what, help))
        return None
    return scope.column(node)


def fits(column: policy.Column, what: str, scope: Scope, *, measured: bool) -> bool:
    """True where the column holds words or lists of words, or (with `measured`) numbers; else a finding."""
    kind = column.type
    if kind.is_word or kind is Type.LIST or (measured and kind.is_measured and not _is_age(column, scope)):
        return True
    allowed = "words, lists of words or numbers" if measured else "words or lists of words"
    known = scope.schema.item.values() if scope.schema is not None else ()
    good = next((c.name for c in known if c.type is Type.LIST or c.type is Type.CATEGORY), None)
    example = f", such as `item.{good}`" if good is not None else ""
    scope.report(rules.wrong_column(column.span, what, types.phrase(kind), f"take a column of {allowed}{example}"))
    return False


def _is_age(column: policy.Column, scope: Scope) -> bool:
    return (
        scope.schema is not None and scope.schema.item[column.name].derived is not None and column.type is Type.DURATION
    )


def _not_a_measure(node: syntax.Expr, scope: Scope) -> None:
    if isinstance(node, syntax.Aggregate):
        text = scope.text(node.call.span)
        help = f"the history is the same for every slate; of the slate itself, write `{text}`"
        scope.report(rules.not_a_measure(node.span, help))
        return
    if isinstance(node, syntax.Name) and node.name == "next_items":
        scope.report(rules.not_a_measure(node.span, "write `ndcg(next_items)`"))
        return
    if isinstance(node, syntax.Name) and node.name not in scope.lets and node.name not in scope.params:
        if node.name in MEASURES:
            scope.report(rules.not_a_measure(node.span, f"write `{FORMS[node.name]}`"))
        else:
            scope.unknown(node)
        return
    typed = expression(node, scope)
    if typed is None:
        return
    text = scope.text(node.span)
    if typed.type is Type.BOOL:
        help = f"write `share({text})`, or `exposure({text})` where places near the top count more"
    elif typed.type.is_number or typed.type is Type.RATIO:
        write = [f"{name}({text})" if _within_bounds(typed) else _scaled(name, text, typed) for name in AVERAGE]
        help = f"write `{write[0]}` or `{write[1]}`"
    elif typed.type is Type.LIST or typed.type.is_word:
        help = f"write `distance({text})` or `distinct({text})`"
    else:
        help = "measures are " + ", ".join(f"`{name}`" for name in MEASURES)
    scope.report(rules.not_a_measure(node.span, help))


def _relevance(node: syntax.Call, name: Any, argument: syntax.Expr, scope: Scope) -> policy.Measure | None:
    if argument == syntax.Name(argument.span, "next_items"):
        return policy.Relevance(node.span, name)
    if isinstance(argument, syntax.Name) and scope.near(argument.name, ("next_items",)) is not None:
        scope.report(names.unknown_name(argument.span, argument.name, "next_items"))
    else:
        scope.report(rules.needs_next_items(argument.span, name))
    return None


def _novelty(node: syntax.Call, argument: syntax.Expr, scope: Scope) -> policy.Measure | None:
    holder = scope.schema.with_role(Role.POPULARITY) if scope.schema is not None else None
    text = f"item.{holder.name}" if holder is not None else None
    column = item_column(argument, "`novelty`", f"write `novelty({text or 'item.popularity'})`", scope)
    if column is None:
        return None
    if holder is None or column.name != holder.name:
        scope.report(rules.not_popularity(argument.span, text))
        return None
    return policy.Novelty(node.span, column)


def _average(
    node: syntax.Call, name: Any, argument: syntax.Expr, missing: policy.Missing, scope: Scope
) -> policy.Measure | None:
    operand = bounded(argument, expression(argument, scope), scope)
    if operand is None:
        return None
    text = scope.text(argument.span)
    if not (operand.type.is_number or operand.type is Type.RATIO):
        if operand.type is Type.BOOL:
            write = f"{'share' if name == 'mean' else 'exposure'}({text})"
        elif operand.type is Type.DURATION:
            write = f"{name}(min(1, max(0, {text} / 90 days)))"
        elif operand.type is Type.DATE:
            write = f"{name}(min(1, max(0, (now - {text}) / 365 days)))"
        else:
            write = f"distance({text})"
        scope.report(rules.not_a_number(argument.span, name, types.phrase(operand.type), write))
        return None
    if not _within_bounds(operand):
        scope.report(rules.unbounded(argument.span, name, _scaled(name, text, operand), _cut(name, text, operand)))
        return None
    return policy.Average(node.span, name, operand, missing)


def _within_bounds(operand: policy.Expr) -> bool:
    low, high = bounds(operand)
    return low >= -_TOLERANCE and high <= 1 + _TOLERANCE


def _scaled(name: str, text: str, operand: policy.Expr) -> str:
    """How the mean of an unbounded number is written: of its rank among the items where it has one, else cut."""
    return f"{name}(percentile({text}))" if can_be_ranked(operand) else _cut(name, text, operand)


def _cut(name: str, text: str, operand: policy.Expr) -> str:
    if operand.type is Type.RATIO:
        return f"{name}(min(100%, max(0%, {text})))"
    scaled = f"({text}) / 10" if isinstance(operand, policy.Arithmetic) else f"{text} / 10"
    return f"{name}(min(1, max(0, {scaled})))"
