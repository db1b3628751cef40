"""E07xx: what a policy asks and a catalog and its users do not have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from recpolicy.errors import Diagnostic, Note
from recpolicy.span import Source, Span


def unknown_word(
    span: Span, word: str, column: str, near: str | None, known: Sequence[str], fix: str | None, source: Source | None
) -> Diagnostic:
    help = f'did you mean "{near}"?' if near is not None else f"values are {_quoted(known)}"
    title = f'"{word}" is no value of `{column}`'
    return Diagnostic("E0701", title, span, "not in this data", help, (), fix, "warning", source)


def never(span: Span, name: str, counted: str, unknown: int, hint: str | None, source: Source | None) -> Diagnostic:
    label = f"true of none of {counted}" + (f", unknown for {unknown:,}" if unknown else "")
    help = hint or "widen the condition, or compare with values that this data has"
    return Diagnostic(
        "E0702", f"the condition of `{name}` never matches", span, label, help, (), None, "warning", source
    )


def always(span: Span, name: str, counted: str, unknown: int, hint: str | None, source: Source | None) -> Diagnostic:
    label = f"true of all of {counted}" + (f" but {unknown:,} for which it is unknown" if unknown else "")
    help = hint or "narrow the condition; as it is, it tells no items apart"
    title = f"the condition of `{name}` always matches"
    return Diagnostic("E0703", title, span, label, help, (), None, "warning", source)


def nobody(span: Span, users: int, hint: str | None, source: Source | None) -> Diagnostic:
    return Diagnostic(
        "E0704",
        "this `when` matches no user",
        span,
        f"true of none of {users:,} users",
        hint or "widen the condition, or compare with values that this data has",
        severity="warning",
        source=source,
    )


def everybody(span: Span, users: int, hint: str | None, source: Source | None) -> Diagnostic:
    return Diagnostic(
        "E0705",
        "this `when` matches every user",
        span,
        f"true of all of {users:,} users",
        hint or "narrow the condition, or write what stands inside without `when`",
        severity="warning",
        source=source,
    )


def mostly_missing(
    span: Span, column: str, missing: int, rows: int, things: Literal["items", "users"], source: Source | None
) -> Diagnostic:
    return Diagnostic(
        "E0706",
        f"`{column}` is missing for {missing:,} of {rows:,} {things}",
        span,
        f"unknown for {100 * missing / rows:.0f}% of the {things}, and what is unknown never helps",
        "use another column, fill this one in the data, or say what holds without it with `is missing`",
        severity="warning",
        source=source,
    )


def too_few_items(
    span: Span, name: str, asked: int, found: int, what: str, hint: str | None, hard: bool, source: Source | None
) -> Diagnostic:
    lower = f"lower it to {found}, or widen the condition" if found else "widen the condition, or leave the quota out"
    return Diagnostic(
        "E0707",
        f"`{name}` asks for {_count(asked, what)}, and this data has {found:,}",
        span,
        "no list can meet this",
        hint or lower,
        severity="error" if hard else "warning",
        source=source,
    )


def too_few_left(
    span: Span, name: str, users: str, asked: int, least: int, what: str, hard: bool, source: Source | None
) -> Diagnostic:
    left = f"fewer than {asked:,} {what}s are left for them, the fewest {least:,}"
    return Diagnostic(
        "E0708",
        f"`{name}` cannot be met for {users}",
        span,
        left if asked > 1 else f"no {what} is left for them",
        "lower it, or put it into a `when` for the others; what blocks hide and what a user has taken is not left",
        severity="error" if hard else "warning",
        source=source,
    )


def too_few_allowed(
    span: Span, name: str, users: str, places: int, most: int, hard: bool, source: Source | None
) -> Diagnostic:
    return Diagnostic(
        "E0709",
        f"`{name}` leaves too few items for {users}",
        span,
        f"of {places} places as few as {most:,} can be filled",
        "allow more; what blocks hide and what a user has taken is not left to fill the other places",
        severity="error" if hard else "warning",
        source=source,
    )


def blocks_leave_too_few(
    span: Span,
    name: str,
    users: str,
    places: int,
    least: int,
    unknown: bool,
    notes: tuple[Note, ...],
    every: bool,
    source: Source | None,
) -> Diagnostic:
    """`unknown`: for most of what it hides from them, the condition is unknown; `every`: these are all users."""
    help = "make the condition narrower; lists of these users stay short"
    if unknown:
        help = (
            "for most of them it is unknown, and what is unknown is blocked: "
            "fill the data, or add `and COLUMN is not missing`"
        )
    return Diagnostic(
        "E0710",
        f"`{name}`{' and the other blocks leave' if notes else ' leaves'} {users} with fewer than {places} items",
        span,
        f"the fewest left is {least:,}",
        help,
        notes,
        severity="error" if every else "warning",
        source=source,
    )


def out_of_reach(
    span: Span,
    name: str,
    op: Literal[">=", "<="],
    bound: float,
    best: float,
    of: str,
    found: str,
    certain: bool,
    barred: bool,
    source: Source | None,
) -> Diagnostic:
    """`of` what bound and best are shares; `certain`: no list is better than the best found; `barred`: blocks or hard
    quotas keep items out.
    """
    least = op == ">="
    nearest = _share(best, up=not least) + of
    asks = f"at {'least' if least else 'most'} {_share(bound, up=least)}{of}"
    help = f"{'lower' if least else 'raise'} it to {nearest}" if best > 0 or not least else "leave it out"
    if barred:
        help += ", or change the blocks and hard quotas that stand in its way"
    return Diagnostic(
        "E0711",
        f"`{name}` is out of reach: it asks for {asks}, and the {'most' if least else 'least'} found is {nearest}",
        span,
        found,
        help,
        severity="error" if certain else "warning",
        source=source,
    )


def _share(value: float, *, up: bool) -> str:
    """A share as a percentage of three digits, rounded up or down."""
    if value <= 0:
        return "0%"
    scale = 10.0 ** (2 - math.floor(math.log10(100 * value)))
    digits = math.ceil(100 * value * scale - 1e-6) if up else math.floor(100 * value * scale + 1e-6)
    return f"{digits / scale:.10g}%"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _quoted(words: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(f'"{word}"' for word in words[:most])
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown or "missing for all"
