"""Builds the parser of `grammar/policy.lark`, from the saved tables if they belong to that text."""

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
"""The saved tables: a line with their fingerprint, then Lark's pickle. To build them takes longer than a check."""


@cache
def lalr() -> lark.Lark:
    """Returns the parser, which builds the tree with `Builder` while it parses."""
    text = _grammar()
    saved = files("recpolicy.grammar").joinpath(TABLES)
    if saved.is_file():
        fingerprint, _, tables = saved.read_bytes().partition(b"\n")
        if fingerprint == _fingerprint(text):
            load: Any = lark.Lark._load_from_dict
            loaded: lark.Lark = load(**pickle.loads(tables), transformer=Builder())
            return loaded
    return lark.Lark(text, **_OPTIONS, transformer=Builder())


def tables() -> bytes:
    """Builds the content of the saved tables for the current grammar."""
    text = _grammar()
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


def _grammar() -> str:
    return files("recpolicy.grammar").joinpath("policy.lark").read_text("utf-8")


def _fingerprint(text: str) -> bytes:
    return hashlib.sha256(f"{lark.__version__}\n{sorted(_OPTIONS.items())}\n{text}".encode()).hexdigest().encode()
