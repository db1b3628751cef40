"""Finds the lines and columns of a span's start and end."""

from __future__ import annotations

from dataclasses import dataclass

from recpolicy.errors import Diagnostic
from recpolicy.language.policy import Policy
from recpolicy.span import Source, Span


@dataclass(frozen=True)
class Checked:
    """One policy after checking: its text, the typed policy where there is one, and the findings."""

    source: Source
    policy: Policy | None
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True)
class Mark:
    """A marked place: `source` from `span`'s start up to line `end_line`, column `end_column` (from 1, excluded).

    A span of NOWHERE has `end_line` 0.
    """

    source: Source
    span: Span
    label: str
    end_line: int
    end_column: int


def mark(source: Source, span: Span, label: str) -> Mark:
    """Finds the end of a span of `source`."""
    before, newline, last = source.text[span.start : span.end].rpartition("\n")
    if newline:
        return Mark(source, span, label, span.line + before.count("\n") + 1, len(last) + 1)
    return Mark(source, span, label, span.line, span.column + len(last))


def marks(finding: Diagnostic, source: Source) -> tuple[Mark, ...]:
    """Finds the finding's own place, then those of its notes; `source` is the file that the user named."""
    home = finding.source or source
    return (
        mark(home, finding.span, finding.label),
        *(mark(note.source or home, note.span, note.label) for note in finding.notes),
    )


def lines(source: Source) -> list[str]:
    """Returns the lines of a text without their ends, as spans count them: only a line feed ends a line."""
    return [line.removesuffix("\r") for line in source.text.split("\n")]
