"""Policy text in, its tokens out, each with its place; a character that starts no token becomes an UNKNOWN token."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters
from lark.utils import TextSlice

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


def tokenize(grammar: Lark, text: str) -> list[Token]:
    """All tokens of `text`, closed by an empty `$END` token that stands behind the last of them."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        try:
            reader = grammar.parse_interactive(TextSlice(text, at, len(text)))
            for token in reader.lexer_thread.lex(reader.parser_state):  # type: ignore[no-untyped-call]
                tokens.append(token)
            break
        except UnexpectedCharacters as stop:
            assert stop.pos_in_stream is not None
            at = stop.pos_in_stream + 1
            tokens.append(Token("UNKNOWN", text[at - 1], at - 1, end_pos=at))
    end = tokens[-1].end_pos if tokens else 0
    tokens.append(Token("$END", "", end, end_pos=end))
    _place(tokens, text)
    _mark_phrases(tokens)
    _mark_units(tokens)
    return tokens


def starts_line(tokens: Sequence[Token], at: int) -> bool:
    """True of the first token of a line."""
    return at == 0 or tokens[at - 1].line != tokens[at].line


def _place(tokens: list[Token], text: str) -> None:
    """Set line and column, counting lines as `Source.line` does."""
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))][:-1] or [0]
    for token in tokens:
        assert token.start_pos is not None
        token.line = bisect_right(starts, token.start_pos)
        token.column = token.start_pos - starts[token.line - 1] + 1


def _mark_units(tokens: list[Token]) -> None:
    """A NAME behind a NUMBER on its line is a UNIT, unless it is the key of a setting or of a test's part."""
    for number, name, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if number.type == "NUMBER" and name.type == "NAME" and number.line == name.line and after.type not in _BEHIND_KEYS:
            name.type = "UNIT"


_BEHIND_KEYS = ("EQUAL", "COLON", "LSQB", "LBRACE")


def _mark_phrases(tokens: list[Token]) -> None:
    """Words that mean something in certain places only, and are names like any other elsewhere."""
    for at, token in enumerate(tokens):
        before, after = tokens[at - 1] if at else None, tokens[min(at + 1, len(tokens) - 1)]
        if token.type == "IN" and after.type in ("TOP", "ANY"):
            token.type = "INSIDE"
        if token.type != "NAME" or before is None:
            continue
        match before.type, str(token):
            case "OF", "history" | "baseline" | "training":
                token.type = token.upper()
            case "IN", "a" if after == "row":
                token.type, after.type = "A", "ROW"
            case _, "places" if at > 1 and "ANY" in (tokens[at - 2].type, tokens[at - 3].type):
                token.type = "PLACES"
            case ("LSQB" | "COMMA"), "hole" if after.type in ("COMMA", "RSQB"):
                token.type = "HOLE"
            case "NAME", "above" if at > 1 and tokens[at - 2].type == "EXPECT":
                token.type = "ABOVE"
