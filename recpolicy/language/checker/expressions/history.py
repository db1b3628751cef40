"""Builds `percentile(...)` and `... of history` from typed operands, or reports how to mend them."""

from __future__ import annotations

from typing import Literal

from recpolicy.errors import Diagnostic, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.scope import Scope
from recpolicy.schema import Derived, Role
from recpolicy.span import Span
from recpolicy.types import Type


def percentile(node: syntax.Call, operand: policy.Expr, scope: Scope) -> policy.Expr | None:
    """Builds `percentile(operand)`, or reports why it cannot."""
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
    table = _table(operand, argument.span, text)
    if isinstance(table, Diagnostic):
        scope.report(table)
        return None
    return policy.Percentile(node.span, operand, table)


def can_be_ranked(operand: policy.Expr) -> bool:
    """Returns whether `percentile(operand)` is allowed."""
    return not isinstance(_table(operand, operand.span, ""), Diagnostic)


def _table(operand: policy.Expr, span: Span, text: str) -> Literal["item", "user"] | Diagnostic:
    """The table in which `operand` is ranked, or the finding that says why it cannot be ranked."""
    parts = list(policy.walk(operand))
    if any(isinstance(part, policy.Now) for part in parts):
        return types.changes_with_time(span, text, "compare with `now` outside of it")
    if any(isinstance(part, (policy.Percentile, policy.OfHistory)) for part in parts):
        return types.not_of_a_table(span, "not a column's own value", "rank a column by itself")
    tables = {part.table for part in parts if isinstance(part, policy.Column)}
    if len(tables) == 1:
        return tables.pop()
    seen = "columns of both tables" if tables else "no column"
    help = "rank one table's columns, as in `percentile(item.price)` or `percentile(user.age)`"
    return types.not_of_a_table(span, seen, help)


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
    """Builds `function(operand) of history`, or reports why it cannot; count and share take a condition."""
    call = node.call
    argument = call.args[0] if call.args else call
    if any(isinstance(part, policy.OfHistory) for part in policy.walk(operand)):
        scope.report(types.history_of_history(argument.span))
        return None
    if function != "mean":
        return policy.OfHistory(node.span, function, operand, Type.INT if function == "count" else Type.RATIO)
    if not operand.type.is_measured:
        text = scope.text(argument.span)
        write = f"share({text})" if operand.type is Type.BOOL else f'share({text} is "...")'
        if operand.type is Type.LIST:
            write = f'share("Drama" in {text})'
        scope.report(types.wrong_argument(argument.span, "mean", operand.type, f"write `{write} of history`"))
        return None
    return policy.OfHistory(node.span, function, operand, Type.FLOAT if operand.type is Type.INT else operand.type)
