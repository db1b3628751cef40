"""Splits the text of a policy into tokens with their places; an unreadable character becomes an UNKNOWN token."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from lark import Lark, Token

STATEMENTS = (
    "POLICY",
    "USE",
    "OVERRIDE",
    "LET",
    "PARAM",
    "REWARD",
    "BOOST",
    "BURY",
    "QUOTA",
    "BLOCK",
    "TARGET",
    "WHEN",
    "TEST",
)
"""Tokens that start a statement and nothing else."""


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word or sign: its kind, a terminal of the grammar, and the range `[start, end)` of characters it fills."""

    kind: str
    text: str
    start: int
    end: int


PHRASE_WORDS = ("history", "baseline", "training", "places", "a", "row", "above", "hole")
"""Words with a meaning in certain places only; elsewhere they are names."""

_MAX_RUN = 3
"""The most unreadable characters in a row that become tokens."""


def tokenize(grammar: Lark, text: str) -> list[Token]:
    """Splits `text` into tokens; the last is an empty `$END` token right behind the others."""
    tokens: list[Token] = []
    words = {t.pattern.value: t.name for t in grammar.terminals if t.pattern.value.isalpha()}
    run = 0
    for match in _scanner(grammar).finditer(text):
        kind, value = match.lastgroup or "UNKNOWN", match[0]
        run = run + 1 if kind == "UNKNOWN" else 0
        if kind not in ("WHITESPACE", "COMMENT") and run <= _MAX_RUN:
            tokens.append(Token(words.get(value, kind), value, match.start(), end_pos=match.end()))
    end = tokens[-1].end_pos if tokens else 0
    tokens.append(Token("$END", "", end, end_pos=end))
    _place(tokens, text)
    mark(tokens)
    return tokens


@cache
def _scanner(grammar: Lark) -> re.Pattern[str]:
    """All terminals except keywords, which it reads as NAMEs, as one pattern that every character fits."""
    terminals = [t for t in grammar.terminals if not t.pattern.value.isalpha()]
    terminals.sort(key=lambda t: (-t.priority, -len(t.pattern.value)))
    return re.compile("|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in terminals) + "|(?s:.)")


def mark(tokens: list[Token]) -> None:
    """Marks units and the words that have a meaning in certain places only."""
    _mark_phrases(tokens)
    _mark_units(tokens)


def respelt(tokens: Sequence[Token], at: int, word: str) -> list[Token]:
    """Copies `tokens` with a word of the language instead of the one at `at`, and marks the copies."""
    copies = [Token.new_borrow_pos(_UNMARKED.get(token.type, token.type), str(token), token) for token in tokens]
    copies[at] = Token.new_borrow_pos("NAME" if word in PHRASE_WORDS else word.upper(), word, tokens[at])
    mark(copies)
    return copies


def starts_statement(tokens: Sequence[Token], at: int) -> bool:
    """Returns whether a line at the token starts a statement; the key of a record does not."""
    return tokens[at].type in STATEMENTS and starts_line(tokens, at) and tokens[at + 1].type != "COLON"


def starts_part(tokens: Sequence[Token], at: int) -> bool:
    """Returns whether a line at the token starts a part of a test."""
    if not starts_line(tokens, at):
        return False
    if tokens[at].type == "NAME":
        return tokens[at + 1].type in ("NAME", "STRING", "LBRACE", "LSQB")
    return tokens[at].type in ("EXPECT", "CASE", "NOW") and tokens[at + 1].type != "COLON"


def starts_line(tokens: Sequence[Token], at: int) -> bool:
    """Returns whether the token is the first of its line."""
    return at == 0 or tokens[at - 1].line != tokens[at].line


def _place(tokens: list[Token], text: str) -> None:
    """Set line and column; a line ends with a line feed and nothing else."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for token in tokens:
        assert token.start_pos is not None
        token.line = bisect_right(starts, token.start_pos)
        token.column = token.start_pos - starts[token.line - 1] + 1


def _mark_units(tokens: list[Token]) -> None:
    """A NAME behind a NUMBER on its line is a UNIT, unless it is the key of a setting or of a test's part."""
    for number, name, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if number.type == "NUMBER" and name.type == "NAME" and number.line == name.line:
            is_key = after.type in ("EQUAL", "COLON", "LSQB") or (after.type == "LBRACE" and name == "user")
            name.type = "NAME" if is_key else "UNIT"


def _mark_phrases(tokens: list[Token]) -> None:
    """Marks words that have a meaning in certain places only and are names elsewhere."""
    for at, token in enumerate(tokens):
        before, after = tokens[at - 1] if at else None, tokens[min(at + 1, len(tokens) - 1)]
        if token.type == "IN" and after.type in ("TOP", "ANY"):
            token.type = "INSIDE"
        if token.type != "NAME" or before is None:
            continue
        match before.type, str(token):
            case "OF", "history" | "baseline" | "training" if at < 3 or tokens[at - 3].type != "EXPECT":
                token.type = token.upper()
            case "IN", "a" if after == "row":
                token.type, after.type = "A", "ROW"
            case _, "places" if at > 1 and "ANY" in (tokens[at - 2].type, tokens[at - 3].type):
                token.type = "PLACES"
            case (("LSQB" | "COMMA"), "hole") if after.type in ("COMMA", "RSQB"):
                token.type = "HOLE"
            case "NAME", "above" if at > 1 and tokens[at - 2].type == "EXPECT":
                token.type = "ABOVE"


_UNMARKED = {"INSIDE": "IN", "UNIT": "NAME", **{word.upper(): "NAME" for word in PHRASE_WORDS}}
"""The kinds before `mark`."""
