"""Policy text in, its tokens out, each with its place; a character that starts no token becomes an UNKNOWN token."""

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
"""Words that mean something in certain places only, and are names elsewhere."""

_MAX_RUN = 3
"""Unreadable characters in a row that become tokens; more of them would say nothing new."""


def tokenize(grammar: Lark, text: str) -> list[Token]:
    """All tokens of `text`, closed by an empty `$END` token that stands behind the last of them."""
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
    """All terminals but the keywords, which are NAMEs to it, as one pattern that every character fits."""
    terminals = [t for t in grammar.terminals if not t.pattern.value.isalpha()]
    terminals.sort(key=lambda t: (-t.priority, -len(t.pattern.value)))
    return re.compile("|".join(f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in terminals) + "|(?s:.)")


def mark(tokens: list[Token]) -> None:
    """Tell from their places the words that are names elsewhere."""
    _mark_phrases(tokens)
    _mark_units(tokens)


def respelt(tokens: Sequence[Token], at: int, word: str) -> list[Token]:
    """Copies of `tokens`, with a word of the language in the place of one of them, and marked anew."""
    copies = [Token.new_borrow_pos(_UNMARKED.get(token.type, token.type), str(token), token) for token in tokens]
    copies[at] = Token.new_borrow_pos("NAME" if word in PHRASE_WORDS else word.upper(), word, tokens[at])
    mark(copies)
    return copies


def starts_statement(tokens: Sequence[Token], at: int) -> bool:
    """True where a line starts a statement; no key of a record."""
    return tokens[at].type in STATEMENTS and starts_line(tokens, at) and tokens[at + 1].type != "COLON"


def starts_part(tokens: Sequence[Token], at: int) -> bool:
    """True where a line starts a part of a test."""
    if not starts_line(tokens, at):
        return False
    if tokens[at].type == "NAME":
        return tokens[at + 1].type in ("NAME", "STRING", "LBRACE", "LSQB")
    return tokens[at].type in ("EXPECT", "CASE", "NOW") and tokens[at + 1].type != "COLON"


def starts_line(tokens: Sequence[Token], at: int) -> bool:
    """True of the first token of a line."""
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
    """Words that mean something in certain places only, and are names like any other elsewhere."""
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
"""What `mark` made its kinds of."""
