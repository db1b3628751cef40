"""Matched grammar rules in, nodes of `recpolicy.language.syntax` out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from lark import Token, Transformer

from recpolicy.language import syntax
from recpolicy.span import NOWHERE, Span

UNREADABLE = "\0"
"""Text of the token that stands in for what could not be read."""

Children = list[Any]
"""What a rule matched, in order: tokens and the nodes of inner rules. Keyword tokens are kept, for their spans."""


def token_span(token: Token) -> Span:
    """The span of one token, whose positions the tokenizer has set."""
    assert token.start_pos is not None and token.end_pos is not None
    assert token.line is not None and token.column is not None
    return Span(token.start_pos, token.end_pos, token.line, token.column)


def _span(children: Children) -> Span:
    if not children:
        return NOWHERE
    first, last = (token_span(c) if isinstance(c, Token) else c.span for c in (children[0], children[-1]))
    return Span(first.start, last.end, first.line, first.column)


def _ident(token: Token) -> syntax.Ident:
    return syntax.Ident(token_span(token), str(token))


def _nodes(children: Children) -> tuple[Any, ...]:
    """The nodes between brackets and commas."""
    return tuple(child for child in children if not isinstance(child, Token))


def _tail(children: Children, kind: Any) -> tuple[Any, tuple[syntax.Clause, ...]]:
    """A rule's optional part of a kind, or None, and the clauses behind it."""
    if children and isinstance(children[0], kind):
        return children[0], tuple(children[1:])
    return None, tuple(children)


def _of(children: Children) -> syntax.Ident | None:
    """The slate's name behind `of`, or None."""
    return _ident(children[3]) if children[2].type == "OF" else None


def _unquote(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])


class Builder(Transformer[Token, Any]):
    """One method a grammar rule, named like it; called while parsing, so nothing here recurses."""

    def file(self, c: Children) -> tuple[syntax.Header | None, tuple[syntax.Statement, ...]]:
        header = c[0] if c and isinstance(c[0], syntax.Header) else None
        return header, tuple(c[1:] if header else c)

    # ---- statements

    def header(self, c: Children) -> syntax.Header:
        title = syntax.Unreadable(token_span(c[1])) if c[1] == UNREADABLE else self.text([c[1]])
        return syntax.Header(_span(c), title, tuple(c[3:-1]))

    def setting(self, c: Children) -> syntax.Setting:
        value = self.number([c[2]]) if c[2].type == "NUMBER" else self.text([c[2]])
        return syntax.Setting(_span(c), _ident(c[0]), value)

    def use(self, c: Children) -> syntax.Use:
        return syntax.Use(_span(c), self.text([c[1]]))

    def override(self, c: Children) -> syntax.Override:
        return syntax.Override(_span(c), c[1])

    def let(self, c: Children) -> syntax.Let:
        return syntax.Let(_span(c), _ident(c[1]), c[3])

    def param(self, c: Children) -> syntax.Param:
        return syntax.Param(_span(c), _ident(c[1]), c[3])

    def reward(self, c: Children) -> syntax.Reward:
        missing, clauses = _tail(c[5:], syntax.OnMissing)
        return syntax.Reward(_span(c), _ident(c[1]), c[2], c[4], missing, clauses)

    def boost(self, c: Children) -> syntax.Boost:
        limit, clauses = _tail(c[5:], syntax.Limit)
        return syntax.Boost(_span(c), _ident(c[1]), c[2], c[4], limit, clauses)

    def bury(self, c: Children) -> syntax.Bury:
        limit, clauses = _tail(c[5:], syntax.Limit)
        return syntax.Bury(_span(c), _ident(c[1]), c[2], c[4], limit, clauses)

    def quota(self, c: Children) -> syntax.Quota:
        window, clauses = _tail(c[6:], syntax.InTop | syntax.InARow)
        return syntax.Quota(_span(c), _ident(c[1]), c[2], c[4], c[5], window, clauses)

    def block(self, c: Children) -> syntax.Block:
        return syntax.Block(_span(c), _ident(c[1]), c[3], tuple(c[4:]))

    def target(self, c: Children) -> syntax.Target:
        op: Any = str(c[4])
        return syntax.Target(_span(c), _ident(c[1]), c[3], op, c[5], tuple(c[6:]))

    def when(self, c: Children) -> syntax.When:
        return syntax.When(_span(c), c[1], tuple(c[3:-1]))

    def reweight(self, c: Children) -> syntax.Reweight:
        kind: Any = str(c[0])
        return syntax.Reweight(_span(c), kind, _ident(c[1]), c[2])

    # ---- parts of rules

    def weight(self, c: Children) -> syntax.Weight:
        return syntax.Weight(_span(c), c[1])

    def ramp(self, c: Children) -> syntax.Ramp:
        return syntax.Ramp(_span(c), c[1], c[3], c[5])

    def hard(self, c: Children) -> syntax.Hard:
        return syntax.Hard(_span(c))

    def on_missing(self, c: Children) -> syntax.OnMissing:
        return syntax.OnMissing(_span(c), _ident(c[2]))

    def limit(self, c: Children) -> syntax.Limit:
        return syntax.Limit(_span(c), c[1])

    def of_baseline(self, c: Children) -> syntax.OfBaseline:
        return syntax.OfBaseline(_span(c), c[0])

    def from_(self, c: Children) -> syntax.From:
        return syntax.From(_span(c), c[1])

    def until(self, c: Children) -> syntax.Until:
        return syntax.Until(_span(c), c[1])

    def because(self, c: Children) -> syntax.Because:
        return syntax.Because(_span(c), self.text([c[1]]))

    def at_least(self, c: Children) -> syntax.AtLeast:
        return syntax.AtLeast(_span(c), c[2])

    def at_most(self, c: Children) -> syntax.AtMost:
        return syntax.AtMost(_span(c), c[2])

    def between(self, c: Children) -> syntax.Between:
        return syntax.Between(_span(c), c[1], c[3])

    def where(self, c: Children) -> syntax.Where:
        return syntax.Where(_span(c), c[1])

    def per(self, c: Children) -> syntax.Per:
        return syntax.Per(_span(c), c[1])

    def distinct(self, c: Children) -> syntax.Distinct:
        return syntax.Distinct(_span(c), c[1])

    def in_top(self, c: Children) -> syntax.InTop:
        return syntax.InTop(_span(c), c[2])

    def in_a_row(self, c: Children) -> syntax.InARow:
        return syntax.InARow(_span(c), c[2])

    # ---- tests

    def test(self, c: Children) -> syntax.Test:
        return syntax.Test(_span(c), self.text([c[1]]), tuple(c[3:-1]))

    def case(self, c: Children) -> syntax.Case:
        return syntax.Case(_span(c), self.text([c[1]]), tuple(c[3:-1]))

    def given(self, c: Children) -> syntax.Given:
        return syntax.Given(_span(c), _ident(c[0]), _ident(c[1]) if len(c) > 2 else None, c[-1])

    def record(self, c: Children) -> syntax.Record:
        return syntax.Record(_span(c), _nodes(c))

    def field(self, c: Children) -> syntax.Field:
        name = _ident(c[0]) if c[0].type == "NAME" else syntax.Ident(token_span(c[0]), _unquote(c[0]))
        return syntax.Field(_span(c), name, c[2])

    def unknown(self, c: Children) -> syntax.Unknown:
        return syntax.Unknown(_span(c))

    def ago(self, c: Children) -> syntax.Ago:
        return syntax.Ago(_span(c), c[0])

    def records(self, c: Children) -> syntax.Records:
        return syntax.Records(_span(c), _nodes(c))

    def hole(self, c: Children) -> syntax.Hole:
        return syntax.Hole(_span(c))

    def expect_value(self, c: Children) -> syntax.ExpectValue:
        return syntax.ExpectValue(_span(c), _ident(c[1]), _of(c), c[-1])

    def expect_state(self, c: Children) -> syntax.ExpectState:
        return syntax.ExpectState(_span(c), _ident(c[1]), _of(c), _ident(c[-1]), negated=c[-2].type == "NOT")

    def expect_order(self, c: Children) -> syntax.ExpectOrder:
        return syntax.ExpectOrder(_span(c), _ident(c[1]), _ident(c[3]))

    # ---- expressions

    def any_of(self, c: Children) -> syntax.AnyOf:
        return syntax.AnyOf(_span(c), tuple(c[::2]))

    def all_of(self, c: Children) -> syntax.AllOf:
        return syntax.AllOf(_span(c), tuple(c[::2]))

    def not_(self, c: Children) -> syntax.Not:
        return syntax.Not(_span(c), c[1])

    def compare(self, c: Children) -> syntax.Compare:
        op: Any = str(c[1])
        return syntax.Compare(_span(c), op, c[0], c[2])

    def same(self, c: Children) -> syntax.Same:
        return syntax.Same(_span(c), c[0], c[-1], negated=len(c) == 4)

    def is_missing(self, c: Children) -> syntax.IsMissing:
        return syntax.IsMissing(_span(c), c[0], negated=len(c) == 4)

    def membership(self, c: Children) -> syntax.Membership:
        return syntax.Membership(_span(c), c[0], c[-1], negated=len(c) == 4)

    def within_last(self, c: Children) -> syntax.WithinLast:
        return syntax.WithinLast(_span(c), c[0], c[-1])

    def more_than_ago(self, c: Children) -> syntax.MoreThanAgo:
        return syntax.MoreThanAgo(_span(c), c[0], c[3])

    def arithmetic(self, c: Children) -> syntax.Arithmetic:
        op: Any = str(c[1])
        return syntax.Arithmetic(_span(c), op, c[0], c[2])

    def negative(self, c: Children) -> syntax.Negative:
        return syntax.Negative(_span(c), c[1])

    def group(self, c: Children) -> syntax.Expr:
        inner: syntax.Expr = replace(c[1], span=_span(c))
        return inner

    def number(self, c: Children) -> syntax.Number:
        return syntax.Number(_span(c), float(c[0]))

    def percent(self, c: Children) -> syntax.Percent:
        return syntax.Percent(_span(c), float(c[0]))

    def duration(self, c: Children) -> syntax.Duration:
        return syntax.Duration(_span(c), float(c[0]), str(c[1]))

    def date(self, c: Children) -> syntax.Date:
        return syntax.Date(_span(c), str(c[0]))

    def text(self, c: Children) -> syntax.Text:
        return syntax.Text(_span(c), _unquote(c[0]))

    def truth(self, c: Children) -> syntax.Truth | syntax.Unreadable:
        return syntax.Unreadable(_span(c)) if c[0] == UNREADABLE else syntax.Truth(_span(c), c[0] == "true")

    def now(self, c: Children) -> syntax.Now:
        return syntax.Now(_span(c))

    def column(self, c: Children) -> syntax.Column:
        table: Any
        table, _, name = c[0].partition(".")
        return syntax.Column(_span(c), table, name.strip("`"))

    def name(self, c: Children) -> syntax.Name:
        return syntax.Name(_span(c), str(c[0]))

    def call(self, c: Children) -> syntax.Call:
        return syntax.Call(_span(c), str(c[0]), tuple(c[2:-1:2]), token_span(c[0]))

    def aggregate(self, c: Children) -> syntax.Aggregate:
        return syntax.Aggregate(_span(c), c[0])

    def list(self, c: Children) -> syntax.List:
        return syntax.List(_span(c), _nodes(c))
