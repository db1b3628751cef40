"""Parses the text of a policy into a syntax tree and finds every syntax error. No other package uses Lark."""

from __future__ import annotations

from recpolicy.errors.syntax import too_deep
from recpolicy.language import syntax
from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.mistakes import RESERVED
from recpolicy.language.parser.recovery import MAX_DEPTH, drive
from recpolicy.language.parser.tokens import Lexeme, tokenize
from recpolicy.span import Source, Span

__all__ = ["MAX_DEPTH", "RESERVED", "Lexeme", "lex", "parse"]


def parse(source: Source) -> syntax.File:
    """Parses `source` as far as it can be read; never raises. The tree's `problems` are the syntax errors."""
    (header, statements), problems, unread = drive(lalr(), tokenize(lalr(), source.text))
    readable = []
    for statement in statements:
        deep = _deep_head(statement)
        if deep is None:
            readable.append(statement)
        else:
            problems.append(too_deep(deep.span, MAX_DEPTH))
            unread.add(deep.text if isinstance(deep, syntax.Ident) else None)
    span = Span(0, len(source.text), 1, 1)
    return syntax.File(span, source, header, tuple(readable), tuple(problems), frozenset(unread))


def lex(text: str) -> list[Lexeme]:
    """Splits `text` into words and signs, without white space and comments; the last is empty and of kind `$END`."""
    return [Lexeme(t.type, str(t), t.start_pos or 0, t.end_pos or 0) for t in tokenize(lalr(), text)]


def _deep_head(statement: syntax.Statement) -> syntax.Node | None:
    """The name or title of a statement that is nested too deep; None for any other statement."""
    todo: list[tuple[syntax.Node, int]] = [(statement, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_DEPTH + 10:  # the statement around the expression has a few levels of its own
            return _head(statement)
        todo += [(child, depth + 1) for child in syntax.nodes(node)]
    return None


def _head(statement: syntax.Statement) -> syntax.Node:
    match statement:
        case syntax.When():
            return statement.predicate
        case syntax.Test():
            return statement.title
        case syntax.Use():
            return statement.path
        case syntax.Override():
            return _head(statement.statement)
        case _:
            return statement.name
