"""Renders a finding with its lines of the policy and carets under the place, in parts for colouring."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from recpolicy.errors import Diagnostic
from recpolicy.errors.words import WIDTH
from recpolicy.render.places import Mark, lines, marks
from recpolicy.render.terminal import Part
from recpolicy.render.text import visible, width
from recpolicy.span import Source


def picture(finding: Diagnostic, source: Source) -> Iterator[Part]:
    """Renders the finding in parts, the last of which ends with a line feed."""
    places = marks(finding, source)
    margin = " " * max(len(str(place.end_line)) for place in places)
    yield finding.severity, f"{finding.severity}[{finding.code}]"
    yield "title", f": {visible(finding.title)}\n"
    for file in dict.fromkeys(place.source for place in places):
        yield from _excerpt([place for place in places if place.source == file], places[0], finding.severity, margin)
    yield "help", f"{margin} help: "
    yield "", f"{visible(finding.help)}\n"


def _excerpt(places: list[Mark], main: Mark, severity: str, margin: str) -> Iterator[Part]:
    """The lines of one file with a label under each place: `^` under the finding's own, `-` under its further ones."""
    source, known = places[0].source, [place for place in places if place.span.line]
    yield "place", f"{margin}--> {visible(source.name)}"
    if not known:
        yield "place", "\n"
        return
    yield "place", f":{known[0].span.line}:{known[0].span.column}\n{margin} |\n"
    text = lines(source)
    rows = [(number, place.span.column, place) for place in known for number in _numbers(place)]
    last, above = 0, ""
    for number, _, place in sorted(rows, key=lambda row: row[:2]):
        line = text[number - 1]
        start = place.span.column - 1 if number == place.span.line else len(line) - len(line.lstrip())
        shown, indent, under = _cut(line, start, place.end_column - 1 if number == place.end_line else len(line))
        if last and number > last + 1:
            yield "place", f"{margin} ...\n"
        if (number, shown) != (last, above):
            yield "place", f"{number:>{len(margin)}} | "
            yield "", f"{shown}\n"
        last, above = number, shown
        style, sign = (severity, "^") if place is main else ("note", "-")
        label = f" {visible(place.label)}" if number == place.end_line else ""
        yield "place", f"{margin} | "
        yield style, f"{' ' * indent}{sign * under}{label}\n"
    yield "place", f"{margin} |\n"


def _numbers(place: Mark) -> Iterable[int]:
    """The lines that are shown of a place: all, or of more than three the first and the last."""
    first, last = place.span.line, place.end_line
    return range(first, last + 1) if last - first < 3 else (first, last)


def _cut(line: str, start: int, end: int) -> tuple[str, int, int]:
    """At most `WIDTH` columns of a line around its characters `[start, end)`, the columns before and under these."""
    start = min(start, len(line))
    end = max(start, min(end, len(line)))
    shown = [visible(c) for c in line]
    at = [0, *accumulate(map(width, shown))]  # [characters + 1]: the column at which each begins
    low, high = 0, len(line)
    if at[-1] > WIDTH:
        least = min(at[end], at[start] + WIDTH // 2)  # the place is visible at least up to here
        left = 0 if least <= WIDTH else min((at[start] + least - WIDTH) // 2, at[-1] - WIDTH)
        low, high = bisect_left(at, left), bisect_right(at, left + WIDTH) - 1
    before, after = "..." if low else "", "..." if high < len(line) else ""
    end = min(end, high)
    return f"{before}{''.join(shown[low:high])}{after}", len(before) + at[start] - at[low], max(1, at[end] - at[start])
