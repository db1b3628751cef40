"""Reads values that must be written out as literals; a `param` may take the place of one."""

from __future__ import annotations

import datetime
from dataclasses import replace

from recpolicy.errors import composition, names, rules, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.scope import Scope

MAX_WEIGHT = 100


def literal(node: syntax.Expr, scope: Scope) -> syntax.Expr | None:
    """Returns `node` itself, or the value of the `param` that it names; reports any other name and returns None.

    The caller checks whether the literal fits.
    """
    if isinstance(node, syntax.Unreadable):
        return None
    if not isinstance(node, syntax.Name):
        return node
    name = node.name
    if name in scope.params:
        value = scope.params[name]
        return None if value is None else replace(value, span=node.span)
    if name in scope.lets:
        scope.report(composition.let_as_literal(node.span, name))
    elif name in scope.later or name in scope.defined or scope.may_be_unread(name):
        scope.unknown(node)
    else:
        scope.report(names.unknown_param(node.span, name, scope.near(name, scope.params)))
    return None


def shown(node: syntax.Expr, scope: Scope) -> str:
    """Renders the source of a literal for a message: a `param` is shown with its value."""
    text = scope.text(node.span)
    if isinstance(node, syntax.Name) and (value := scope.params.get(node.name)) is not None:
        return f"{text} = {written(value)}"
    return text


def written(value: syntax.Expr) -> str:
    """Renders a literal as a policy writes it."""
    match value:
        case syntax.Number(_, number):
            return f"{number:.15g}"
        case syntax.Percent(_, number):
            return f"{number:.15g}%"
        case syntax.Duration(_, number, unit):
            return f"{number:.15g} {unit}"
        case syntax.Date(_, text):
            return text
        case syntax.Text(_, text):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case syntax.Truth(_, truth):
            return "true" if truth else "false"
        case syntax.Negative(_, operand):
            return f"-{written(operand)}"
    raise TypeError(f"{type(value).__name__} is not a literal")


def weight(node: syntax.Weight, scope: Scope) -> policy.Level | None:
    """Returns the weight, or reports why there is none."""
    if not isinstance(node.value, syntax.Ramp):
        return _level(node.value, "weight ", scope)
    ramp = node.value
    start, end = _level(ramp.start, "", scope), _level(ramp.end, "", scope)
    over = literal(ramp.over, scope)
    match over:
        case syntax.Percent(_, percent) if 0 < percent <= 100:
            return None if start is None or end is None else policy.Ramp(ramp.span, start, end, percent / 100)
        case None:
            return None
        case syntax.Number(_, number) if 0 < number <= 1:
            write = f"{number * 100:g}%"
        case syntax.Number(_, number) if 0 < number <= 100:
            write = f"{number:g}%"
        case syntax.Percent(_, percent) if percent > 100:
            write = "100%"
        case _:
            write = "20%"
    scope.report(rules.bad_ramp(ramp.over.span, shown(ramp.over, scope), write))
    return None


def _level(node: syntax.Expr, before: str, scope: Scope) -> float | None:
    fix = None
    match literal(node, scope):
        case None:
            return None
        case syntax.Number(_, number) if number <= MAX_WEIGHT:
            return number
        case syntax.Number():
            help = "weights are shares of each other: scale them all down, as in `0.7`, `0.2` and `0.1`"
        case syntax.Percent(_, percent):
            help, fix = f"write `{before}{percent / 100:g}`", f"{percent / 100:g}"
        case syntax.Negative(_, syntax.Number()):
            help = "to count against a slate, use `bury` with a weight above 0"
        case _:
            help = "write a plain number, as in `weight 0.5`"
    fix = fix if not isinstance(node, syntax.Name) else None
    scope.report(rules.bad_weight(node.span, f"`{shown(node, scope)}`", help, fix))
    return None


def places(node: syntax.Expr, scope: Scope) -> int | None:
    """Returns the whole number of places, 1 to K, that `node` is; None, without a finding, if it is anything else."""
    match node:
        case syntax.Number(_, value) if value.is_integer() and 1 <= value <= (scope.slate or value):
            return int(value)
        case _:
            return None


def day(node: syntax.Expr, word: str, scope: Scope) -> datetime.date | None:
    """Returns the day behind `from` or `until`, or reports why there is none."""
    match literal(node, scope):
        case syntax.Date(_, text):
            try:
                return datetime.date.fromisoformat(text)
            except ValueError:
                scope.report(types.no_such_day(node.span, text))
        case None:
            pass
        case syntax.Text(_, text):
            scope.report(composition.not_a_day(node.span, word, text if _is_day(text) else None))
        case _:
            scope.report(composition.not_a_day(node.span, word, None))
    return None


def _is_day(text: str) -> bool:
    try:
        return bool(datetime.date.fromisoformat(text)) and len(text) == len("2026-01-31")
    except ValueError:
        return False
