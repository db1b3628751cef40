"""Renders findings as sentences that can be read aloud: one finding a line, no picture, no colour."""

from __future__ import annotations

from collections.abc import Iterable

from recpolicy.errors import Diagnostic
from recpolicy.render.places import Mark, marks
from recpolicy.render.text import sentence, visible
from recpolicy.span import Source

_MOST = 60
"""The most characters of the policy that are quoted."""


def sentences(findings: Iterable[Diagnostic], source: Source) -> str:
    """Returns the findings, each on a line of its own."""
    return "".join(f"{_finding(finding, source)}\n" for finding in findings)


def _finding(finding: Diagnostic, source: Source) -> str:
    place, *others = marks(finding, source)
    parts = [f"{_where(place)}: {finding.severity} {finding.code}: {visible(finding.title)}."]
    if quoted := _quoted(place):
        parts.append(f"Here: {quoted}.")
    parts.append(sentence(finding.label))
    parts += [f"See also {_where(other)}: {sentence(other.label)}" for other in others]
    return " ".join([*parts, sentence(finding.help)])


def _where(place: Mark) -> str:
    name, span = visible(place.source.name), place.span
    return f"{name}, line {span.line}, column {span.column}" if span.line else name


def _quoted(place: Mark) -> str:
    text = " ".join(visible(place.source.text[place.span.start : place.span.end]).split())
    return text if len(text) <= _MOST else f"{text[:_MOST].rstrip()}..."
