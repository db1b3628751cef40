"""Builds typed operations from typed operands, or reports how to mend them."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from recpolicy.errors import types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions.vocabulary import FORMS
from recpolicy.language.checker.scope import Scope
from recpolicy.span import Span
from recpolicy.types import Type

_Comparison: TypeAlias = Literal["<", "<=", ">", ">=", "is", "is not"]


def comparable(a: Type, b: Type) -> bool:
    """Returns whether values of the two types may be compared: one type, both plain numbers, or both words."""
    return a is b or (a.is_number and b.is_number) or (a.is_word and b.is_word)


def compute(
    span: Span, op: Literal["+", "-", "*", "/"], left: policy.Expr, right: policy.Expr, scope: Scope
) -> policy.Expr | None:
    """Builds `left op right`, or reports why it cannot."""
    result = _result(op, left.type, right.type)
    if result is not None:
        return policy.Arithmetic(span, op, left, right, result)
    scope.report(types.cannot_compute(span, op, left.type, right.type, _arithmetic_help(op, left, right, scope)))
    return None


def _result(op: str, a: Type, b: Type) -> Type | None:
    """The type of `a op b`, or None if there is no such operation.

    A share or a multiple of a quantity is a quantity: a ratio times (or over) a plain number is a plain number.
    """
    if not (a.is_measured and b.is_measured):
        return None
    scalar = (Type.INT, Type.FLOAT, Type.RATIO)
    if op in "+-":
        if a.is_number and b.is_number:
            return Type.INT if a is b is Type.INT else Type.FLOAT
        if a is b and a is not Type.DATE:
            return a
        if a is Type.DATE and b is Type.DURATION:
            return Type.DATE
        if op == "+" and a is Type.DURATION and b is Type.DATE:
            return Type.DATE
        return Type.DURATION if op == "-" and a is b is Type.DATE else None
    if a in scalar and b in scalar:
        if op == "*" and a is b and a is not Type.FLOAT:
            return a
        return Type.FLOAT
    if a is Type.DURATION and b in scalar:
        return Type.DURATION
    if op == "*":
        return Type.DURATION if a in scalar and b is Type.DURATION else None
    return Type.FLOAT if a is b is Type.DURATION else None


def _arithmetic_help(op: str, left: policy.Expr, right: policy.Expr, scope: Scope) -> str:
    for one, other in ((left, right), (right, left)):
        if (write := _with_unit(one, other.type)) is not None and (op in "+-") and other.type is not Type.DATE:
            return f"write `{write}` instead of `{scope.text(one.span)}`"
        if op in "+-" and one.type is Type.DATE and other.type.is_number:
            return f"add a duration, as in `{scope.text(one.span)} {op} 30 days`"
    if {left.type, right.type} <= {Type.RATIO, Type.INT, Type.FLOAT}:
        return "give both a percent sign or neither; `x * 1` turns a percentage into a plain number"
    if not left.type.is_measured or not right.type.is_measured:
        return "arithmetic needs numbers, percentages, dates or durations on both sides"
    return "allowed are numbers with numbers, `date - date`, `date + duration`, and durations times or over a number"


def order(
    span: Span, op: Literal["<", "<=", ">", ">="], left: policy.Expr, right: policy.Expr, scope: Scope
) -> policy.Expr | None:
    """Builds the ordered comparison `left op right`, or reports why it cannot."""
    for side, other in ((left, right), (right, left)):
        if not side.type.is_measured and not (isinstance(side, policy.Word) and other.type.is_measured):
            help = {
                Type.BOOL: "use the condition by itself, or join conditions with `and` and `or`",
                Type.LIST: f'ask for a word in it, as in `"Drama" in {scope.text(side.span)}`',
            }.get(side.type, "words are compared with `is`, `is not` and `in [...]`")
            scope.report(types.no_order(side.span, op, side.type, help))
            return None
    return _compare(span, op, left, right, scope)


def same(
    span: Span, op: Literal["is", "is not"], left: policy.Expr, right: policy.Expr, scope: Scope
) -> policy.Expr | None:
    """Builds `left is right`, or its negation, or reports why it cannot."""
    for side, other in ((left, right), (right, left)):
        if side.type is Type.LIST:
            word = scope.text(other.span) if other.type.is_word else '"Drama"'
            not_ = "not " if op == "is not" else ""
            scope.report(types.list_compared(side.span, scope.text(side.span), f"{word} {not_}".strip()))
            return None
    return _compare(span, op, left, right, scope)


def _compare(span: Span, op: _Comparison, left: policy.Expr, right: policy.Expr, scope: Scope) -> policy.Expr | None:
    if comparable(left.type, right.type):
        return policy.Compare(span, op, left, right)
    for one, other in ((left, right), (right, left)):
        if (write := _with_unit(one, other.type)) is not None:
            scope.report(types.number_without_unit(one.span, other.type, write))
            return None
    scope.report(types.cannot_compare(span, left.type, right.type, _mismatch_help(op, left, right, scope)))
    return None


def _mismatch_help(op: str, left: policy.Expr, right: policy.Expr, scope: Scope) -> str:
    for one, other in ((left, right), (right, left)):
        text = scope.text(other.span)
        match one, other.type:
            case policy.Number(_, value, Type.RATIO), Type.INT | Type.FLOAT:
                return f"`{text}` is a plain number: write `{value:g}`"
            case policy.Number(_, _, Type.DURATION), Type.DATE:
                form = "more than {} ago" if op in ("<", "<=") else "within the last {}"
                return f"write `{text} {form.format(scope.text(one.span))}`"
            case policy.Number(_, _, Type.DURATION), Type.INT | Type.FLOAT:
                return f"`{text}` is a plain number: write the number alone"
            case policy.Word(_, word), Type.DATE:
                return f"write the date without quotes, as in `{word if word[:4].isdigit() else '2014-01-31'}`"
            case policy.Word(), Type.INT | Type.FLOAT | Type.RATIO | Type.DURATION:
                return f"`{text}` holds numbers: write the value without quotes"
            case policy.Number(), kind if kind.is_word:
                return f'`{text}` holds words: write `"{scope.text(one.span)}"`'
            case ((policy.Word() | policy.Number()), Type.BOOL):
                return f"write `{text}` alone, or `not {text}`"
            case policy.Truth(), _:
                return "`true` and `false` are compared with conditions only"
    return "both sides must be of one kind"


def _with_unit(literal: policy.Expr, type: Type) -> str | None:
    """How a plain number is written as a value of `type`; None if that is not clear."""
    if not isinstance(literal, policy.Number) or not literal.type.is_number:
        return None
    value = literal.value
    match type:
        case Type.DURATION:
            return f"{value:g} {'day' if value == 1 else 'days'}"
        case Type.RATIO:
            return f"{value * 100:g}%" if value <= 1 else f"{value:g}%"
        case Type.DATE if value.is_integer() and 1000 <= value <= 9999:
            return f"{value:.0f}-01-01"
        case _:
            return None


def call(node: syntax.Call, name: str, args: tuple[policy.Expr, ...], scope: Scope) -> policy.Expr | None:
    """Builds `name(args)` for `min`, `max`, `abs` and `log`, or reports why it cannot."""
    function: Any = name
    if (len(args) < 2) if name in ("min", "max") else (len(args) != 1):
        scope.report(types.argument_count(node.span, name, len(args), FORMS[name]))
        return None
    for arg in args:
        if not arg.type.is_measured or (arg.type is Type.DATE and name in ("abs", "log")):
            scope.report(types.wrong_argument(arg.span, name, arg.type, f"`{name}` works on numbers"))
            return None
        if arg.type is Type.DURATION and name == "log":
            help = f"divide it by a duration first, as in `log({scope.text(arg.span)} / 1 day)`"
            scope.report(types.wrong_argument(arg.span, name, arg.type, help))
            return None
        if not comparable(args[0].type, arg.type):
            write = _with_unit(arg, args[0].type) or _with_unit(args[0], arg.type)
            help = f"write `{write}`" if write is not None else "all values must be of one kind"
            scope.report(types.cannot_compare(node.span, args[0].type, arg.type, help))
            return None
    mixed = any(arg.type is Type.FLOAT for arg in args)
    kind = Type.FLOAT if name == "log" or mixed else args[0].type
    return policy.Call(node.span, function, args, kind)
