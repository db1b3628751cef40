"""Reads the item ids in the answers of language models; any function from a text to a list of ids will do as well.

No text is an error: what cannot be read is an empty list, and what is no item of the catalog is a hole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Parser: TypeAlias = Callable[[str], list[str]]

_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")
"""A bullet or a number before a line."""


def lines(text: str) -> list[str]:
    """Reads an id from each line that is not blank, without bullets, numbers and quotes: `1. p0004`."""
    return [_bare(_MARK.sub("", line)) for line in text.splitlines() if line.strip()]


def commas(text: str) -> list[str]:
    """Reads ids that commas part: `p0004, p0007`."""
    return [_bare(part) for part in text.split(",") if part.strip()]


def json_list(text: str) -> list[str]:
    """Reads the first JSON list in the text: `["p0004", "p0007"]`, whatever stands around it."""
    decoder = json.JSONDecoder()
    for at in (match.start() for match in re.finditer(r"\[", text)):
        try:
            found, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        return [str(entry) for entry in found if isinstance(entry, str | int) and not isinstance(entry, bool)]
    return []


def tagged(parse: Parser, tag: str = "answer") -> Parser:
    """Returns a parser of what follows the last `<tag>`, up to `</tag>` or the end; an empty list without the tag."""

    def parse_tagged(text: str) -> list[str]:
        _, opening, answer = text.rpartition(f"<{tag}>")
        return parse(answer.partition(f"</{tag}>")[0]) if opening else []

    return parse_tagged


def titled(parse: Parser, titles: Mapping[str, str]) -> Parser:
    """Returns a parser of titles instead of ids; `titles` maps each id to its title.

    Letters' case and spaces at the ends do not matter. A title that several items have stands for the first of them;
    one that no item has stays as it is, and so does an id.
    """
    ids: dict[str, str] = {}
    for id, title in titles.items():
        ids.setdefault(title.strip().casefold(), id)

    def parse_titles(text: str) -> list[str]:
        return [name if name in titles else ids.get(name.strip().casefold(), name) for name in parse(text)]

    return parse_titles


def _bare(text: str) -> str:
    return text.strip().strip("\"'`").strip()
