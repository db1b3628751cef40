"""Policy text in, the same policy in canonical form out: its order, its numbers and every comment kept."""

from __future__ import annotations

from recpolicy.errors import PolicyError
from recpolicy.language import parser
from recpolicy.language.formatter import statements, words
from recpolicy.span import Source

__all__ = ["format"]


def format(source: Source) -> str:
    """The canonical form of a policy: one statement a line, like statements in columns, lines of up to 100 characters.

    Raises PolicyError with the syntax errors of a text that has any.
    """
    file = parser.parse(source)
    if file.problems:
        raise PolicyError(file.problems, source)
    lines = statements.lines(file, words.read(source.text))
    return "".join(f"{line}\n" for line in lines)
