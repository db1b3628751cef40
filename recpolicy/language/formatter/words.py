"""Reads the words of a policy text, without commas, each with the comments and the blank line before it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from recpolicy.language import parser
from recpolicy.span import Span


@dataclass(frozen=True)
class Comment:
    """`text` with its `#`; `ends_line` if there are words before it on its line, `blank` after a blank line."""

    text: str
    ends_line: bool
    blank: bool


@dataclass
class Words:
    """The words of a file by their index. Commas are not words; `commas` has the words before them."""

    kinds: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    comments: list[tuple[Comment, ...]] = field(default_factory=list)
    """The comments between the word before and this one."""
    blanks: list[bool] = field(default_factory=list)
    """Whether there is a blank line right before the word."""
    commas: set[int] = field(default_factory=set)
    """The words with a comma behind them."""

    def first(self, span: Span) -> int:
        """Finds the word that `span` starts with."""
        return bisect_left(self.starts, span.start)

    def last(self, span: Span) -> int:
        """Finds the word that `span` ends with."""
        return bisect_left(self.ends, span.end)


def read(text: str) -> Words:
    """Reads the words of a text without syntax errors; the last is empty and of kind `$END`."""
    words = Words()
    for lexeme in parser.lex(text):
        if lexeme.kind == "COMMA":
            words.commas.add(len(words.kinds) - 1)
            continue
        before = words.ends[-1] if words.ends else 0
        end = len(text) if lexeme.kind == "$END" else lexeme.start
        comments, blank = _gap(text[before:end], at_start=before == 0)
        words.kinds.append(lexeme.kind)
        words.texts.append(lexeme.text)
        words.starts.append(lexeme.start)
        words.ends.append(lexeme.end)
        words.comments.append(comments)
        words.blanks.append(blank)
    return words


def _gap(gap: str, *, at_start: bool) -> tuple[tuple[Comment, ...], bool]:
    """The comments between two words, and whether there is a blank line behind the last of them."""
    comments: list[Comment] = []
    ends_line = not at_start
    newlines = 0
    for line in gap.split("\n"):
        _, sign, rest = line.partition("#")
        if sign:
            comments.append(Comment(f"#{rest}".rstrip(), ends_line, newlines > 1))
            newlines = 0
        newlines += 1
        ends_line = False
    return tuple(comments), newlines > 2
