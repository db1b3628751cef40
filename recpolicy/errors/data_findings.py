"""Builds the findings E07xx: a policy asks for something that the catalog or its users do not have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors.words import counted
from recpolicy.span import Source, Span


def unknown_word(
    span: Span, word: str, column: str, near: str | None, known: Sequence[str], fix: str | None, source: Source | None
) -> Diagnostic:
    """Reports a word that the column of the data does not hold."""
    help = f'did you mean "{near}"?' if near is not None else f"values are {_quoted(known)}"
    title = f'"{word}" is no value of `{column}`'
    return Diagnostic("E0701", title, span, "not in this data", help, (), fix, "warning", source)


def never(span: Span, name: str, among: str, unknown: int, hint: str | None, source: Source | None) -> Diagnostic:
    """Reports a condition that is true of no item."""
    label = f"true of none of {among}" + (f", unknown for {unknown:,}" if unknown else "")
    help = hint or "widen the condition, or compare with values that this data has"
    title = f"the condition of `{name}` never matches"
    return Diagnostic("E0702", title, span, label, help, severity="warning", source=source)


def always(span: Span, name: str, among: str, unknown: int, hint: str | None, source: Source | None) -> Diagnostic:
    """Reports a condition that is true of every item."""
    label = f"true of all of {among}" + (f" but {unknown:,} for which it is unknown" if unknown else "")
    help = hint or "narrow the condition; as it is, it tells no items apart"
    title = f"the condition of `{name}` always matches"
    return Diagnostic("E0703", title, span, label, help, severity="warning", source=source)


def nobody(span: Span, users: int, hint: str | None, source: Source | None) -> Diagnostic:
    """Reports a `when` that is true of no user."""
    label = f"true of none of {users:,} users"
    help = hint or "widen the condition, or compare with values that this data has"
    return Diagnostic("E0704", "this `when` matches no user", span, label, help, severity="warning", source=source)


def everybody(span: Span, users: int, hint: str | None, source: Source | None) -> Diagnostic:
    """Reports a `when` that is true of every user."""
    label = f"true of all of {users:,} users"
    help = hint or "narrow the condition, or write what stands inside without `when`"
    return Diagnostic("E0705", "this `when` matches every user", span, label, help, severity="warning", source=source)


def mostly_missing(
    span: Span, column: str, missing: int, rows: int, things: Literal["items", "users"], source: Source | None
) -> Diagnostic:
    """Reports a column that is missing for many rows."""
    title = f"`{column}` is missing for {missing:,} of {rows:,} {things}"
    label = f"unknown for {100 * missing / rows:.0f}% of the {things}, and what is unknown never helps"
    help = "use another column, fill this one in the data, or say what holds without it with `is missing`"
    return Diagnostic("E0706", title, span, label, help, severity="warning", source=source)


def too_few_items(
    span: Span, name: str, requested: int, matching: int, what: str, hint: str | None, hard: bool, source: Source | None
) -> Diagnostic:
    """Reports a quota that asks for more items than match in the data."""
    change = f"lower it to {matching}, or widen the condition"
    if not matching:
        change = "widen the condition, or leave the quota out"
    title = f"`{name}` asks for {counted(requested, what)}, and this data has {matching:,}"
    severity = _severity(hard)
    return Diagnostic("E0707", title, span, "no list can meet this", hint or change, severity=severity, source=source)


def too_few_left(
    span: Span, name: str, users: str, requested: int, least: int, what: str, hard: bool, source: Source | None
) -> Diagnostic:
    """Reports a quota that asks for more items than are left for some users."""
    title = f"`{name}` cannot be met for {users}"
    label = f"no {what} is left for them"
    if requested > 1:
        label = f"fewer than {requested:,} {what}s are left for them, the fewest {least:,}"
    help = "lower it, or put it into a `when` for the others; what blocks hide and what a user has taken is not left"
    return Diagnostic("E0708", title, span, label, help, severity=_severity(hard), source=source)


def too_few_allowed(
    span: Span, name: str, users: str, places: int, most: int, hard: bool, source: Source | None
) -> Diagnostic:
    """Reports a quota that leaves too few items to fill the places."""
    title = f"`{name}` leaves too few items for {users}"
    label = f"of {places} places as few as {most:,} can be filled"
    help = "allow more; what blocks hide and what a user has taken is not left to fill the other places"
    return Diagnostic("E0709", title, span, label, help, severity=_severity(hard), source=source)


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
    """Reports blocks that leave some users with fewer items than places.

    `unknown`: the condition is unknown for most of the hidden items; `every`: the users are all users.
    """
    help = "make the condition narrower; lists of these users stay short"
    if unknown:
        help = (
            "for most of them it is unknown, and what is unknown is blocked: "
            "fill the data, or add `and COLUMN is not missing`"
        )
    title = f"`{name}`{' and the other blocks leave' if notes else ' leaves'} {users} with fewer than {places} items"
    label = f"the fewest left is {least:,}"
    return Diagnostic("E0710", title, span, label, help, notes, severity=_severity(every), source=source)


def out_of_reach(
    span: Span,
    name: str,
    op: Literal[">=", "<="],
    bound: float,
    best: float,
    of: str,
    label: str,
    certain: bool,
    barred: bool,
    source: Source | None,
) -> Diagnostic:
    """Reports a target that no list of the data reaches.

    `of` says what `bound` and `best` are shares of; `certain`: no list is better than `best`; `barred`: blocks or hard
    quotas keep items out.
    """
    least = op == ">="
    nearest = _share(best, up=not least) + of
    asks = f"at {'least' if least else 'most'} {_share(bound, up=least)}{of}"
    help = f"{'lower' if least else 'raise'} it to {nearest}" if best > 0 or not least else "leave it out"
    if barred:
        help += ", or change the blocks and hard quotas that stand in its way"
    title = f"`{name}` is out of reach: it asks for {asks}, and the {'most' if least else 'least'} found is {nearest}"
    return Diagnostic("E0711", title, span, label, help, severity=_severity(certain), source=source)


def _severity(error: bool) -> Literal["error", "warning"]:
    return "error" if error else "warning"


def _share(value: float, *, up: bool) -> str:
    """A share as a percentage of three digits, rounded up or down."""
    if value <= 0:
        return "0%"
    scale = 10.0 ** (2 - math.floor(math.log10(100 * value)))
    digits = math.ceil(100 * value * scale - 1e-6) if up else math.floor(100 * value * scale + 1e-6)
    return f"{digits / scale:.10g}%"


def _quoted(words: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(f'"{word}"' for word in words[:most])
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown or "missing for all"
