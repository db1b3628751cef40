"""Holds the text of policy files and positions in it, for messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range `[start, end)` of characters; `line` and `column` are those of its start, both from 1."""

    start: int
    end: int
    line: int
    column: int


NOWHERE = Span(0, 0, 0, 0)


@dataclass(frozen=True)
class Source:
    """The text of one policy file and the name to show for it."""

    name: str
    text: str
