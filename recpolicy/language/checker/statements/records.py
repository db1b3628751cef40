"""Checks the fields of a user or an item in a test, and returns the values that a data set would hold for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recpolicy.errors import cases as errors
from recpolicy.errors import types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions import literals
from recpolicy.language.checker.expressions.build import expression
from recpolicy.language.checker.scope import Scope
from recpolicy.schema import ColumnSpec, Derived, Role
from recpolicy.span import Span
from recpolicy.types import Type

MOST_POPULAR = 1_000_000
"""The largest `popularity` an item may state, a number of users."""


@dataclass(frozen=True)
class Before:
    """A moment so many seconds before the case's `now`, which each case may set."""

    seconds: float


@dataclass(frozen=True)
class Cell:
    """The value of one column and where it is stated."""

    value: policy.Value | Before
    span: Span

    def at(self, now: float) -> policy.Value:
        """Returns the value as a data set holds it, given the case's `now` in seconds."""
        return now - self.value.seconds if isinstance(self.value, Before) else self.value


Record: TypeAlias = Mapping[str, Cell]
"""The stated columns of one user or item by name; a time since `published` is stated as `published`."""

_Literal: TypeAlias = policy.Number | policy.Word | policy.Truth | policy.Now


def record(node: syntax.Record, table: Literal["item", "user"], scope: Scope) -> Record:
    """Returns the fields that have no error; each finding is reported."""
    if scope.schema is None:
        return {}
    columns = scope.table(table)
    published = scope.schema.with_role(Role.PUBLISHED)
    seen: dict[str, syntax.Field] = {}
    cells: dict[str, Cell] = {}
    for field in node.fields:
        name, span = field.column.text, field.column.span
        spec = columns.get(name)
        if spec is None:
            _unknown(field.column, table, scope)
            continue
        if name in seen:
            scope.report(errors.column_twice(span, name, seen[name].span.line))
            continue
        seen[name] = field
        stored = name
        if isinstance(field.value, syntax.Unknown):
            value = None
            if spec.role is Role.ID:
                help = "leave it out, or write the id"
                scope.report(errors.impossible_value(field.value.span, name, "`missing`", help))
        elif (value := _value(field.value, spec, scope)) is None:
            continue
        if spec.derived is Derived.AGE and published is not None:
            stored = published.name
            if value is not None:
                assert isinstance(value, float), "an age is a duration"
                value = Before(value)
        if stored in cells:
            age = next(n for n in seen if columns[n].derived is Derived.AGE)
            scope.report(errors.same_moment(span, name, age, stored))
        cells[stored] = Cell(value, field.span)
    return cells


def literal(node: syntax.Expr, scope: Scope, quoted: bool = False) -> _Literal | None:
    """Returns the value of a literal, or of the `param` in its place; reports anything else.

    `quoted`: texts are expected here, so an unknown word most likely lacks its quotes.
    """
    if isinstance(node, syntax.Name) and not _may_be_defined(node.name, scope):
        close = scope.near(node.name, ("missing",) if quoted else ("true", "false", "missing", *scope.params))
        scope.report(errors.unquoted_value(node.span, node.name, close, quoted))
        return None
    written = literals.literal(node, scope)
    typed = None if written is None else expression(written, scope)
    if typed is None or isinstance(typed, policy.Number | policy.Word | policy.Truth | policy.Now):
        return typed
    scope.report(errors.not_written_out(node.span))
    return None


def _may_be_defined(name: str, scope: Scope) -> bool:
    known = (scope.params, scope.lets, scope.defined, scope.later)
    return any(name in names for names in known) or scope.may_be_unread(name) or name == "next_items"


def _unknown(column: syntax.Ident, table: Literal["item", "user"], scope: Scope) -> None:
    columns, other = scope.table(table), "user" if table == "item" else "item"
    close = scope.near(column.text, columns)
    holder = other if column.text in scope.table(other) else None
    scope.report(errors.unknown_column(column.span, table, column.text, close, tuple(columns), holder))


def _value(
    node: syntax.Expr | syntax.Ago, spec: ColumnSpec, scope: Scope
) -> float | bool | str | tuple[str, ...] | Before | None:
    match node:
        case syntax.Ago(span, duration):
            return _ago(span, duration, spec, scope)
        case syntax.List(span, items):
            words = [_word(item, spec, scope) for item in items]
            if spec.type is not Type.LIST:
                one = scope.text(items[0].span) if len(items) == 1 else None
                _wrong(span, spec, Type.LIST, _instead(spec, one), one, scope)
                return None
            return None if None in words else tuple(dict.fromkeys(word for word in words if word is not None))
        case _:
            typed = literal(node, scope, quoted=spec.type.is_word or spec.type is Type.LIST)
            return None if typed is None else _fitted(node.span, typed, spec, scope)


def _ago(span: Span, duration: syntax.Expr, spec: ColumnSpec, scope: Scope) -> Before | None:
    length = literal(duration, scope)
    if length is None:
        return None
    text = scope.text(duration.span)
    if not isinstance(length, policy.Number) or length.type is not Type.DURATION:
        scope.report(types.not_a_duration(duration.span, "ago", length.type, f"{text} days ago"))
    elif spec.type is Type.DURATION:
        _wrong(span, spec, Type.DATE, _instead(spec, text), text, scope)
    elif spec.type is not Type.DATE:
        _wrong(span, spec, Type.DATE, _instead(spec), None, scope)
    else:
        return Before(length.value)
    return None


def _word(node: syntax.Expr, spec: ColumnSpec, scope: Scope) -> str | None:
    typed = literal(node, scope, quoted=True)
    if typed is None or isinstance(typed, policy.Word):
        return None if typed is None else typed.value
    text = f'"{scope.text(node.span)}"'
    scope.report(errors.wrong_value(node.span, spec.name, Type.LIST, typed.type, f"write `{text}`", text))
    return None


def _fitted(span: Span, typed: _Literal, spec: ColumnSpec, scope: Scope) -> float | bool | str | Before | None:
    """The value if its type is that of the column; reports any other type."""
    match typed, spec.type:
        case (policy.Truth(value=bool() as truth), Type.BOOL):
            return truth
        case policy.Word(value=word), (Type.CATEGORY | Type.TEXT):
            return word
        case policy.Now(), Type.DATE:
            return Before(0.0)
        case policy.Number(value=value, type=Type.DURATION), Type.DATE:
            return Before(value)
        case policy.Number(value=value, type=kind), own if kind is own or (kind.is_number and own.is_number):
            return _possible(span, value, spec, scope)
    text = scope.text(span)
    fix = _meant(typed, spec.type, text)
    help = _instead(spec, fix)
    match typed, spec.type:
        case policy.Number(type=Type.INT | Type.FLOAT), Type.DURATION:
            help = f"add its unit, as in `{text} days`"
        case policy.Number(value=value, type=Type.INT), Type.DATE:
            help = f"write `{value:g}-01-01`" if 1900 <= value <= 2100 else f"write `{text} days ago`, or a date"
    _wrong(span, spec, typed.type, help, fix, scope)
    return None


def _possible(span: Span, value: float, spec: ColumnSpec, scope: Scope) -> float | None:
    """A number of the right type, if the column can hold it."""
    help = None
    if spec.type is Type.RATIO and not 0 <= value <= 1:
        help = "a percentage of this column lies between 0% and 100%"
    elif spec.type is Type.INT and not value.is_integer():
        help = "write a whole number"
    elif spec.role is Role.POPULARITY and not 0 <= value <= MOST_POPULAR:
        help = f"popularity counts users: write 0 to {MOST_POPULAR:,}"
    elif spec.derived is Derived.AGE and value < 0:
        help = "for an item of the future state the date it is published"
    if help is None:
        return value
    scope.report(errors.impossible_value(span, spec.name, f"`{scope.text(span)}`", help))
    return None


_EXAMPLES = {
    Type.BOOL: "true",
    Type.INT: "3",
    Type.FLOAT: "2.5",
    Type.RATIO: "2%",
    Type.DATE: "10 days ago",
    Type.DURATION: "90 days",
    Type.CATEGORY: '"Drama"',
    Type.TEXT: '"Drama"',
    Type.LIST: '["Drama", "War"]',
}
_QUOTED = {
    Type.INT: r"-?\d+",
    Type.FLOAT: r"-?\d+(\.\d+)?",
    Type.RATIO: r"\d+(\.\d+)?%",
    Type.DATE: r"\d{4}-\d\d-\d\d",
    Type.DURATION: r"\d+(\.\d+)? [a-z]+",
}
"""Texts that are probably values in quotes."""


def _instead(spec: ColumnSpec, fix: str | None = None) -> str:
    return f"write `{fix}`" if fix is not None else f"write {errors.holds(spec.type)}, as in `{_EXAMPLES[spec.type]}`"


def _meant(typed: _Literal, type: Type, text: str) -> str | None:
    """What to write instead of `text` for a value of `type`, if that is clear enough."""
    match typed, type:
        case policy.Number(value=value, type=Type.INT | Type.FLOAT), Type.RATIO if 0 <= value <= 100 and value != 1:
            return f"{value * 100:g}%" if value < 1 else f"{value:g}%"
        case policy.Number(value=value, type=Type.RATIO), (Type.INT | Type.FLOAT):
            return f"{value:g}"
        case policy.Number(value=value, type=Type.INT), Type.BOOL if value in (0, 1):
            return "true" if value else "false"
        case policy.Word(value=word), Type.BOOL if word.lower() in ("true", "yes", "false", "no"):
            return "true" if word.lower() in ("true", "yes") else "false"
        case policy.Word(value=word), _ if type in _QUOTED and re.fullmatch(_QUOTED[type], word):
            return word
        case policy.Word(), Type.LIST:
            return f"[{text}]"
        case ((policy.Number() | policy.Truth()), (Type.CATEGORY | Type.TEXT)):
            return f'"{text}"'
        case _:
            return None


def _wrong(span: Span, spec: ColumnSpec, seen: Type, help: str, fix: str | None, scope: Scope) -> None:
    scope.report(errors.wrong_value(span, spec.name, spec.type, seen, help, fix))
