"""`grammar/policy.lark` in, a parser out: from the tables saved beside it where they are those of the grammar."""

from __future__ import annotations

import hashlib
import pickle
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import lark

from recpolicy.language.parser.build import Builder

TABLES = "policy.bin"
"""The saved tables: a line with their fingerprint, then Lark's pickle. Building them anew takes longer than a check."""


@cache
def lalr() -> lark.Lark:
    """The parser, with `Builder` making the tree while it parses."""
    text = files("recpolicy.grammar").joinpath("policy.lark").read_text("utf-8")
    saved = files("recpolicy.grammar").joinpath(TABLES)
    if saved.is_file():
        fingerprint, _, tables = saved.read_bytes().partition(b"\n")
        if fingerprint == _fingerprint(text):
            load: Any = lark.Lark._load_from_dict
            loaded: lark.Lark = load(**pickle.loads(tables), transformer=Builder())
            return loaded
    return lark.Lark(text, **_OPTIONS, transformer=Builder())


def tables() -> bytes:
    """The content of the saved tables for the grammar as it is now."""
    text = files("recpolicy.grammar").joinpath("policy.lark").read_text("utf-8")
    buffer = BytesIO()
    lark.Lark(text, **_OPTIONS).save(buffer)
    return _fingerprint(text) + b"\n" + buffer.getvalue()


_OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "basic",  # reserved words are reserved everywhere, so an error shows where the text went wrong
    "start": "file",
    "keep_all_tokens": True,  # spans run from the first to the last token of a rule
    "maybe_placeholders": False,
}


def _fingerprint(text: str) -> bytes:
    return hashlib.sha256(f"{lark.__version__}\n{sorted(_OPTIONS.items())}\n{text}".encode()).hexdigest().encode()
