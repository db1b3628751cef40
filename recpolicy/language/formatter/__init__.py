"""Formats a policy in canonical form; the order, the numbers and all comments stay."""

from __future__ import annotations

from recpolicy.errors import PolicyError
from recpolicy.language import parser
from recpolicy.language.formatter import statements, words
from recpolicy.span import Source

__all__ = ["format"]


def format(source: Source) -> str:
    """Returns the canonical form of a policy: one statement per line, in columns, at most 100 characters per line.

    Raises PolicyError if the text has syntax errors.
    """
    file = parser.parse(source)
    if file.problems:
        raise PolicyError(file.problems, source)
    lines = statements.lines(file, words.read(source.text))
    return "".join(f"{line}\n" for line in lines)
