"""Typed operands of `percentile(...)` and `... of history` in, the typed number out, or the finding that mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from recpolicy.errors import types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.scope import Scope
from recpolicy.schema import Derived, Role
from recpolicy.types import Type


def percentile(node: syntax.Call, operand: policy.Expr, scope: Scope) -> policy.Expr | None:
    """`percentile(operand)`, or None with a finding."""
    argument = node.args[0]
    text = scope.text(argument.span)
    if not operand.type.is_measured:
        help = "it ranks numbers, percentages, dates and durations"
        if operand.type is Type.BOOL:
            help = f"{help}; a condition is counted, as in `share({text})`"
        scope.report(types.wrong_argument(argument.span, "percentile", operand.type, help))
        return None
    if (write := _published(argument, scope)) is not None:
        scope.report(types.changes_with_time(argument.span, text, write))
        return None
    parts = list(_walk(operand))
    tables = {part.table for part in parts if isinstance(part, policy.Column)}
    if any(isinstance(part, policy.Now) for part in parts):
        scope.report(types.changes_with_time(argument.span, text, "compare with `now` outside of it"))
    elif any(isinstance(part, (policy.Percentile, policy.OfHistory)) for part in parts):
        scope.report(types.not_of_a_table(argument.span, "not a column's own value", "rank a column by itself"))
    elif len(tables) != 1:
        seen = "columns of both tables" if tables else "no column"
        help = "rank one table's columns, as in `percentile(item.price)` or `percentile(user.age)`"
        scope.report(types.not_of_a_table(argument.span, seen, help))
    else:
        return policy.Percentile(node.span, operand, tables.pop())
    return None


def can_be_ranked(operand: policy.Expr) -> bool:
    """True where `percentile(operand)` checks."""
    parts = list(_walk(operand))
    allowed = all(not isinstance(part, (policy.Now, policy.Percentile, policy.OfHistory)) for part in parts)
    return allowed and len({part.table for part in parts if isinstance(part, policy.Column)}) == 1


def _published(node: syntax.Expr, scope: Scope) -> str | None:
    """What to write instead of an age that is derived from the date of publication."""
    if not isinstance(node, syntax.Column) or node.table == "user" or scope.schema is None:
        return None
    spec, published = scope.schema.item.get(node.name), scope.schema.with_role(Role.PUBLISHED)
    if spec is None or spec.derived is not Derived.AGE or published is None:
        return None
    name = published.name if published.name.isidentifier() else f"`{published.name}`"
    return f"rank the date: write `100% - percentile(item.{name})`"


def aggregate(
    node: syntax.Aggregate, function: Literal["count", "share", "mean"], operand: policy.Expr, scope: Scope
) -> policy.Expr | None:
    """`function(operand) of history`, or None with a finding; the operand of count and share is a condition."""
    call = node.call
    argument = call.args[0] if call.args else call
    if any(isinstance(part, policy.OfHistory) for part in _walk(operand)):
        scope.report(types.history_of_history(argument.span))
        return None
    if function == "count":
        return policy.OfHistory(node.span, function, operand, Type.INT)
    if function == "share":
        return policy.OfHistory(node.span, function, operand, Type.RATIO)
    if not operand.type.is_measured:
        text = scope.text(argument.span)
        write = f"share({text})" if operand.type is Type.BOOL else f'share({text} is "...")'
        if operand.type is Type.LIST:
            write = f'share("Drama" in {text})'
        scope.report(types.wrong_argument(argument.span, "mean", operand.type, f"write `{write} of history`"))
        return None
    return policy.OfHistory(node.span, function, operand, Type.FLOAT if operand.type is Type.INT else operand.type)


def _walk(expr: policy.Expr) -> Iterator[policy.Expr]:
    todo = [expr]
    while todo:
        node = todo.pop()
        yield node
        todo += policy.children(node)
