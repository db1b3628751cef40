"""Policy text in, its syntax tree and every syntax error out. The only package that knows Lark."""

from __future__ import annotations

from recpolicy.errors import Diagnostic
from recpolicy.errors.syntax import too_deep
from recpolicy.language import syntax
from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.mistakes import RESERVED
from recpolicy.language.parser.recovery import MAX_DEPTH, drive
from recpolicy.language.parser.tokens import Lexeme, tokenize
from recpolicy.span import Source, Span

__all__ = ["MAX_DEPTH", "RESERVED", "Lexeme", "lex", "parse"]


def parse(source: Source) -> syntax.File:
    """The tree of `source` as far as it can be read; never raises. Syntax errors are the tree's `problems`."""
    (header, statements), problems, unread = drive(lalr(), tokenize(lalr(), source.text))
    statements, deep, names = _leave_out_deep(statements)
    problems += deep
    unread |= names
    span = Span(0, len(source.text), 1, 1)
    return syntax.File(span, source, header, statements, tuple(problems), frozenset(unread))


def lex(text: str) -> list[Lexeme]:
    """The words and signs of `text`, closed by an empty one of kind `$END`; white space and comments stand between."""
    return [Lexeme(t.type, str(t), t.start_pos or 0, t.end_pos or 0) for t in tokenize(lalr(), text)]


def _leave_out_deep(
    statements: tuple[syntax.Statement, ...],
) -> tuple[tuple[syntax.Statement, ...], list[Diagnostic], set[str | None]]:
    """The statements without those whose expressions nest too deep, a finding for each, and their names."""
    kept: list[syntax.Statement] = []
    problems: list[Diagnostic] = []
    names: set[str | None] = set()
    for statement in statements:
        deep = _first_too_deep(statement)
        if deep is None:
            kept.append(statement)
        else:
            problems.append(too_deep(deep.span, MAX_DEPTH))
            names.add(deep.text if isinstance(deep, syntax.Ident) else None)
    return tuple(kept), problems, names


def _first_too_deep(statement: syntax.Statement) -> syntax.Node | None:
    """What a statement that nests too deep is known by, None of any other statement."""
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
