"""Builds what several messages share: the name that was probably meant, lists of names, the width of a line."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.span import Span

WIDTH = 100
"""Columns of a line of text, in the terminal and on pages."""


def unknown(code: str, title: str, span: Span, label: str, near: str | None, otherwise: str) -> Diagnostic:
    """Builds a finding about an unknown name: its fix is `near`, the name that was probably meant, where there is one.

    `otherwise` is the help where there is none.
    """
    help = otherwise if near is None else f"did you mean `{near}`?"
    return Diagnostic(code, title, span, label, help, fix=near)


def listed(names: Sequence[str], most: int, last: str = " and ") -> str:
    """Returns the names in backticks, with `last` before the last one; of more than `most` only the first ones."""
    shown = [f"`{name}`" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return last.join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def counted(number: int, noun: str) -> str:
    """Returns a number and its noun: `1 rule`, `10,000 rules`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
