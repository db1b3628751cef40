"""Builds the nodes of `recpolicy.language.syntax` from what the rules of the grammar matched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from keyword import iskeyword
from typing import Any

from lark import Token, Transformer

from recpolicy.language import syntax
from recpolicy.span import NOWHERE, Span

UNREADABLE = "\0"
"""The text of the token that replaces what could not be read."""

Children = list[Any]
"""What a rule matched, in order: tokens and the nodes of inner rules. Keyword tokens are kept, for their spans."""


def token_span(token: Token) -> Span:
    """Returns the span of one token, whose positions the tokenizer has set."""
    assert token.start_pos is not None and token.end_pos is not None
    assert token.line is not None and token.column is not None
    return Span(token.start_pos, token.end_pos, token.line, token.column)


class Builder(Transformer[Token, Any]):
    """One method per grammar rule, with the rule's name; most come from `_FIELDS`. Nothing here recurses."""

    def file(self, c: Children) -> tuple[syntax.Header | None, tuple[syntax.Statement, ...]]:
        """Returns the header, if there is one, and the statements."""
        header = c[0] if c and isinstance(c[0], syntax.Header) else None
        return header, tuple(c[1:] if header else c)

    def truth(self, c: Children) -> syntax.Truth | syntax.Unreadable:
        """Builds `true` or `false`, or the node that replaces an unreadable condition."""
        return syntax.Unreadable(_span(c)) if c[0] == UNREADABLE else syntax.Truth(_span(c), c[0] == "true")

    def group(self, c: Children) -> syntax.Expr:
        """Returns the expression in parentheses, with their span."""
        inner: syntax.Expr = replace(c[1], span=_span(c))
        return inner


def _span(children: Children) -> Span:
    if not children:
        return NOWHERE
    first, last = (token_span(c) if isinstance(c, Token) else c.span for c in (children[0], children[-1]))
    return Span(first.start, last.end, first.line, first.column)


def _field(part: Any) -> Any:
    """The node for a token; nodes and values stay as they are."""
    if not isinstance(part, Token):
        return part
    span = token_span(part)
    match part.type:
        case "STRING":
            return syntax.Text(span, _unquote(part))
        case "NUMBER":
            return syntax.Number(span, float(part))
        case _:
            return syntax.Ident(span, str(part))


def _title(token: Token) -> syntax.Unreadable | Token:
    return syntax.Unreadable(token_span(token)) if token == UNREADABLE else token


def _key(token: Token) -> syntax.Ident:
    """The column of a record's field, which may be in quotes."""
    return syntax.Ident(token_span(token), str(token) if token.type == "NAME" else _unquote(token))


def _nodes(children: Children) -> tuple[Any, ...]:
    """The nodes between brackets and commas."""
    return tuple(child for child in children if not isinstance(child, Token))


def _tail(children: Children, kind: Any) -> tuple[Any, tuple[syntax.Clause, ...]]:
    """A rule's optional part of a kind, or None, and the clauses behind it."""
    if children and isinstance(children[0], kind):
        return children[0], tuple(children[1:])
    return None, tuple(children)


def _of(children: Children) -> Token | None:
    """The slate's name behind `of`, or None."""
    return children[3] if children[2].type == "OF" else None


def _column(token: Token) -> tuple[str, str]:
    table, _, name = token.partition(".")
    return table, name.strip("`")


def _unquote(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])


_FIELDS: dict[type[syntax.Node], Callable[[Children], tuple[Any, ...]]] = {
    # ---- statements
    syntax.Header: lambda c: (_title(c[1]), tuple(c[3:-1])),
    syntax.Setting: lambda c: (c[0], c[2]),
    syntax.Use: lambda c: (c[1],),
    syntax.Override: lambda c: (c[1],),
    syntax.Let: lambda c: (c[1], c[3]),
    syntax.Param: lambda c: (c[1], c[3]),
    syntax.Reward: lambda c: (c[1], c[2], c[4], *_tail(c[5:], syntax.OnMissing)),
    syntax.Boost: lambda c: (c[1], c[2], c[4], *_tail(c[5:], syntax.Limit)),
    syntax.Bury: lambda c: (c[1], c[2], c[4], *_tail(c[5:], syntax.Limit)),
    syntax.Quota: lambda c: (c[1], c[2], c[4], c[5], *_tail(c[6:], syntax.InTop | syntax.InARow)),
    syntax.Block: lambda c: (c[1], c[3], tuple(c[4:])),
    syntax.Target: lambda c: (c[1], c[3], str(c[4]), c[5], tuple(c[6:])),
    syntax.When: lambda c: (c[1], tuple(c[3:-1])),
    syntax.Reweight: lambda c: (str(c[0]), c[1], c[2]),
    # ---- parts of rules
    syntax.Weight: lambda c: (c[1],),
    syntax.Ramp: lambda c: (c[1], c[3], c[5]),
    syntax.Hard: lambda c: (),
    syntax.OnMissing: lambda c: (c[2],),
    syntax.Limit: lambda c: (c[1],),
    syntax.OfBaseline: lambda c: (c[0],),
    syntax.From: lambda c: (c[1],),
    syntax.Until: lambda c: (c[1],),
    syntax.Because: lambda c: (c[1],),
    syntax.AtLeast: lambda c: (c[2],),
    syntax.AtMost: lambda c: (c[2],),
    syntax.Between: lambda c: (c[1], c[3]),
    syntax.Where: lambda c: (c[1],),
    syntax.Per: lambda c: (c[1],),
    syntax.Distinct: lambda c: (c[1],),
    syntax.InTop: lambda c: (c[2],),
    syntax.InARow: lambda c: (c[2],),
    # ---- tests
    syntax.Test: lambda c: (c[1], tuple(c[3:-1])),
    syntax.Case: lambda c: (c[1], tuple(c[3:-1])),
    syntax.Given: lambda c: (c[0], c[1] if len(c) > 2 else None, c[-1]),
    syntax.Record: lambda c: (_nodes(c),),
    syntax.Field: lambda c: (_key(c[0]), c[2]),
    syntax.Unknown: lambda c: (),
    syntax.Ago: lambda c: (c[0],),
    syntax.Records: lambda c: (_nodes(c),),
    syntax.Hole: lambda c: (),
    syntax.ExpectValue: lambda c: (c[1], _of(c), c[-1]),
    syntax.ExpectState: lambda c: (c[1], _of(c), c[-1], c[-2].type == "NOT"),
    syntax.ExpectOrder: lambda c: (c[1], c[3]),
    # ---- expressions
    syntax.AnyOf: lambda c: (tuple(c[::2]),),
    syntax.AllOf: lambda c: (tuple(c[::2]),),
    syntax.Not: lambda c: (c[1],),
    syntax.Compare: lambda c: (str(c[1]), c[0], c[2]),
    syntax.Same: lambda c: (c[0], c[-1], len(c) == 4),
    syntax.IsMissing: lambda c: (c[0], len(c) == 4),
    syntax.Membership: lambda c: (c[0], c[-1], len(c) == 4),
    syntax.WithinLast: lambda c: (c[0], c[-1]),
    syntax.MoreThanAgo: lambda c: (c[0], c[3]),
    syntax.Arithmetic: lambda c: (str(c[1]), c[0], c[2]),
    syntax.Negative: lambda c: (c[1],),
    syntax.Number: lambda c: (float(c[0]),),
    syntax.Percent: lambda c: (float(c[0]),),
    syntax.Duration: lambda c: (float(c[0]), str(c[1])),
    syntax.Date: lambda c: (str(c[0]),),
    syntax.Text: lambda c: (_unquote(c[0]),),
    syntax.Now: lambda c: (),
    syntax.Column: lambda c: _column(c[0]),
    syntax.Name: lambda c: (str(c[0]),),
    syntax.Call: lambda c: (str(c[0]), tuple(c[2:-1:2]), token_span(c[0])),
    syntax.Aggregate: lambda c: (c[0],),
    syntax.List: lambda c: (_nodes(c),),
}
"""The fields of each class after the span, from the children of its rule. `_field` turns each token into a node."""


def _method(node: Any, fields: Callable[[Children], tuple[Any, ...]]) -> Callable[[Builder, Children], Any]:
    return lambda _, children: node(_span(children), *map(_field, fields(children)))


for _node, _fields in _FIELDS.items():
    _rule = re.sub(r"(?<=.)(?=[A-Z])", "_", _node.__name__).lower()  # AtLeast is built by `at_least`
    setattr(Builder, f"{_rule}_" if iskeyword(_rule) else _rule, _method(_node, _fields))
