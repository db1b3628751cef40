"""Checks what a `reward` measures and builds the typed measure."""

from __future__ import annotations

from typing import Any

from recpolicy.errors import names, rules, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions.bounds import bounds
from recpolicy.language.checker.expressions.build import bounded, expression, whole_condition
from recpolicy.language.checker.expressions.history import can_be_ranked
from recpolicy.language.checker.expressions.vocabulary import (
    AVERAGE,
    FORMS,
    FUNCTIONS,
    MEASURES,
    POPULATION,
    PORTION,
    RELEVANCE,
)
from recpolicy.language.checker.scope import Scope
from recpolicy.schema import Role
from recpolicy.types import Type

_TOLERANCE = 1e-9
_MEASURED = ("distance", "serendipity")
"""Measures that also work on numbers."""


def measure(node: syntax.Expr, missing: policy.Missing, scope: Scope) -> policy.Measure | None:
    """Builds the typed measure, or reports why it cannot."""
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
        where = whole_condition(argument, scope)
        return None if where is None else policy.Portion(node.span, name, where)
    if name in AVERAGE:
        return _average(node, name, argument, missing, scope)
    if name == "novelty":
        return _novelty(node, argument, scope)
    column = value_column(argument, name, f"{name}(item.COLUMN)", scope, measured=name in _MEASURED)
    if column is None:
        return None
    if name == "serendipity":
        return policy.Serendipity(node.span, column, missing)
    return policy.Spread(node.span, name, column, missing)


def value_column(
    node: syntax.Expr, word: str, form: str, scope: Scope, *, measured: bool = False
) -> policy.Column | None:
    """Returns the item column `node`, which must hold words or lists of words, or with `measured` also numbers.

    Reports anything else and returns None; the message names `word` and shows its `form`.
    """
    column = _item_column(node, word, form, scope)
    if column is None:
        return None
    kind = column.type
    is_age = kind is Type.DURATION and scope.table("item")[column.name].derived is not None
    if kind.is_word or kind is Type.LIST or (measured and kind.is_measured and not is_age):
        return column
    allowed = "words, lists of words or numbers" if measured else "words or lists of words"
    known = scope.table("item").values()
    good = next((c.name for c in known if c.type is Type.LIST or c.type is Type.CATEGORY), None)
    example = f", such as `item.{good}`" if good is not None else ""
    help = f"take a column of {allowed}{example}"
    scope.report(rules.wrong_column(column.span, f"`{word}`", types.phrase(kind), help))
    return None


def _item_column(node: syntax.Expr, word: str, form: str, scope: Scope) -> policy.Column | None:
    """The item column that `node` is; a derived age is not a column by itself."""
    if isinstance(node, syntax.Column) and node.table == "item":
        return scope.column(node)
    if isinstance(node, syntax.Name) and node.name not in scope.lets and node.name not in scope.params:
        scope.unknown(node)
    elif not isinstance(node, syntax.Unreadable):
        scope.report(rules.needs_column(node.span, f"`{word}`", f"write `{form}`"))
    return None


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
        forms = [f"{name}({text})" if _within_bounds(typed) else _scaled(name, text, typed) for name in AVERAGE]
        help = f"write `{forms[0]}` or `{forms[1]}`"
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
    column = _item_column(argument, "novelty", f"novelty({text or 'item.popularity'})", scope)
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
    """How the mean of an unbounded number is written: that of its rank if it has one, else cut to 0 to 1."""
    return f"{name}(percentile({text}))" if can_be_ranked(operand) else _cut(name, text, operand)


def _cut(name: str, text: str, operand: policy.Expr) -> str:
    if operand.type is Type.RATIO:
        return f"{name}(min(100%, max(0%, {text})))"
    scaled = f"({text}) / 10" if isinstance(operand, policy.Arithmetic) else f"{text} / 10"
    return f"{name}(min(1, max(0, {scaled})))"
