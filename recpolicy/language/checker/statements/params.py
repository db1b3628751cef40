"""Checks `param`s and finds their values: those in the file, or those given on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from recpolicy.errors import UsageError, composition
from recpolicy.errors.near import near
from recpolicy.errors.types import phrase
from recpolicy.language import parser, policy, syntax
from recpolicy.language.checker.composition import Entry
from recpolicy.language.checker.expressions.build import expression
from recpolicy.language.checker.expressions.literals import written
from recpolicy.language.checker.scope import Scope
from recpolicy.span import NOWHERE, Source
from recpolicy.types import Type


def param(node: syntax.Param, given: syntax.Expr | None, scope: Scope) -> policy.Param | None:
    """Checks and defines the `param`, with the value `given` instead of its own, if any."""
    value = None
    if _is_literal(node.value):
        value = None if expression(node.value, scope) is None else node.value
    elif not isinstance(node.value, syntax.Unreadable):
        scope.report(composition.not_a_literal(node.value.span, node.name.text))
    if not scope.define(node.name, "param"):
        return None
    if value is not None and given is not None:
        value = given
    scope.params[node.name.text] = value
    return None if value is None else policy.Param(node.span, node.name.text, written(value), given is not None)


def given(
    texts: Mapping[str, str], entries: tuple[Entry, ...], unread: frozenset[str | None]
) -> dict[str, syntax.Expr]:
    """Reads the values of `params` from command-line texts (`0.4`, `20%`, `90 days`, `2026-01-01`, `word`, `true`).

    Raises UsageError for a name that is not a `param`, and for a value of another kind than the policy's own.
    """
    declared = {e.node.name.text: e.node.value for e in entries if isinstance(e.node, syntax.Param)}
    values: dict[str, syntax.Expr] = {}
    for name, text in texts.items():
        if name in declared:
            own = _kind(declared[name])
            if own is not None:
                values[name] = replace(_read(name, text, own), span=declared[name].span)
        elif name not in unread and None not in unread:
            close = near(name, declared)
            if close is not None:
                help = f"did you mean `{close}`?"
            elif declared:
                help = "its params are " + ", ".join(f"`{known}`" for known in declared)
            else:
                help = f"this policy has no params; write `param {name} = {text}` in it first"
            raise UsageError(f"no param `{name}` in this policy", where=f"--set {name}={text}", help=help)
    return values


def _read(name: str, text: str, kind: str) -> syntax.Expr:
    """The literal in `text`, which must be of the kind of the policy's own."""
    if kind == phrase(Type.CATEGORY) and not text.startswith('"'):
        return syntax.Text(NOWHERE, text)
    file = parser.parse(Source("--set", f"param {name} = {text}"))
    match file.problems, file.statements:
        case (), (syntax.Param(_, _, value),) if (seen := _kind(value)) is not None:
            if seen == kind:
                return value
            message = f"`{name}` is {kind}, not {seen}"
        case _:
            message = f"`{text}` is not {kind}"
    raise UsageError(message, where=f"--set {name}={text}", help=_HELP[kind].format(name))


_HELP = {
    phrase(Type.FLOAT): "write a plain number, as in --set {}=0.4",
    phrase(Type.RATIO): "write a percentage, as in --set {}=20%",
    phrase(Type.DURATION): 'write a duration, as in --set "{}=90 days"',
    phrase(Type.DATE): "write a day, as in --set {}=2026-01-31",
    phrase(Type.CATEGORY): "write a word, as in --set {}=Drama",
    phrase(Type.BOOL): "write --set {}=true or false",
}


def _kind(value: syntax.Expr) -> str | None:
    """The kind of a literal's value; None if it is no literal, or not possible (`2026-02-31`)."""
    if not _is_literal(value):
        return None
    probe = Scope(Source("", ""), None, None)
    typed = expression(value, probe)
    return None if typed is None else phrase(typed.type)


def _is_literal(value: syntax.Expr) -> bool:
    quantity = syntax.Number | syntax.Percent | syntax.Duration
    if isinstance(value, syntax.Negative):
        return isinstance(value.operand, quantity)
    return isinstance(value, quantity | syntax.Date | syntax.Text | syntax.Truth)
