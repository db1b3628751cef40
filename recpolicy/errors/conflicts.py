"""Builds the findings E06xx: quotas and blocks that no list can meet, whatever the catalog holds."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors.words import listed
from recpolicy.span import Source, Span


def contradiction(
    span: Span,
    names: Sequence[str],
    asks: str,
    ways_out: Sequence[str],
    segments: int,
    notes: tuple[Note, ...],
    fix: str | None,
    source: Source | None,
) -> Diagnostic:
    """Reports quotas (and blocks) that contradict each other.

    `segments` is the number of different `when`s that they stand in.
    """
    help = "change one of the conditions, or remove one of these lines"
    if ways_out:
        help = ", or ".join(filter(None, (", ".join(ways_out[:-1]), ways_out[-1])))
    if segments > 1:
        help += "; or make the `when` conditions exclude each other"
    title = f"{_listed(names)} cannot {'both' if len(names) == 2 else 'all'} be met by one list"
    return Diagnostic("E0601", title, span, asks, help, notes, fix, source=source)


def impossible(span: Span, name: str, source: Source | None) -> Diagnostic:
    """Reports a quota whose condition no item can match."""
    title = f"`{name}` asks for items that cannot exist"
    help = "parts joined with `and` exclude each other: join them with `or`, or take one out"
    return Diagnostic("E0602", title, span, "no item matches this condition", help, source=source)


def blocked(span: Span, name: str, blocks: Sequence[str], notes: tuple[Note, ...], source: Source | None) -> Diagnostic:
    """Reports a quota whose items are all blocked."""
    title = f"`{name}` asks for items that {_listed(blocks)} {'hides' if len(blocks) == 1 else 'hide'}"
    help = "make one of the conditions narrower, or remove one of these lines"
    return Diagnostic("E0603", title, span, "every item that matches is blocked", help, notes, source=source)


def nothing_left(span: Span, names: Sequence[str], notes: tuple[Note, ...], source: Source | None) -> Diagnostic:
    """Reports blocks that hide every item."""
    together = "leaves" if len(names) == 1 else "together leave"
    title = f"{_listed(names)} {together} no item to show"
    help = "make one of the conditions narrower, or remove one of these lines"
    return Diagnostic("E0604", title, span, "every item is hidden", help, notes, source=source)


def _listed(names: Sequence[str]) -> str:
    return listed(names, 4 if len(names) > 5 else 5)
