"""E06xx: quotas and blocks that no list can meet, whatever the catalog holds."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
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
    """Quotas (and blocks) that contradict each other; `segments` is the number of different `when`s they stand in."""
    several = "change one of the conditions, or remove one of these lines"
    help = f"{_either(ways_out)}" if ways_out else several
    if segments > 1:
        help += "; or make the `when` conditions exclude each other"
    title = f"{_listed(names)} cannot {'both' if len(names) == 2 else 'all'} be met by one list"
    return Diagnostic("E0601", title, span, asks, help, notes, fix, source=source)


def impossible(span: Span, name: str, source: Source | None) -> Diagnostic:
    return Diagnostic(
        "E0602",
        f"`{name}` asks for items that cannot exist",
        span,
        "no item matches this condition",
        "parts joined with `and` exclude each other: join them with `or`, or take one out",
        source=source,
    )


def blocked(span: Span, name: str, blocks: Sequence[str], notes: tuple[Note, ...], source: Source | None) -> Diagnostic:
    return Diagnostic(
        "E0603",
        f"`{name}` asks for items that {_listed(blocks)} {'hides' if len(blocks) == 1 else 'hide'}",
        span,
        "every item that matches is blocked",
        "make one of the conditions narrower, or remove one of these lines",
        notes,
        source=source,
    )


def nothing_left(span: Span, names: Sequence[str], notes: tuple[Note, ...], source: Source | None) -> Diagnostic:
    together = "leaves" if len(names) == 1 else "together leave"
    return Diagnostic(
        "E0604",
        f"{_listed(names)} {together} no item to show",
        span,
        "every item is hidden",
        "make one of the conditions narrower, or remove one of these lines",
        notes,
        source=source,
    )


def _listed(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names]
    if len(names) > 5:
        return f"{', '.join(shown[:4])} and {len(names) - 4} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _either(ways: Sequence[str]) -> str:
    return f"{', '.join(ways[:-1])}, or {ways[-1]}" if len(ways) > 1 else ways[0]
