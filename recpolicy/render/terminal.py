"""Writes text for the terminal: parts in colour, cells in columns, wrapped paragraphs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import TextIO

from recpolicy.errors.words import WIDTH
from recpolicy.render.text import width

Part = tuple[str, str]
"""A style (a key of `STYLES`, or none) and text in it."""

STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold blue",
    "title": "bold",
    "place": "blue",
    "help": "bold cyan",
    "bad": "red",
    "good": "green",
    "dim": "dim",
}


def write(parts: Iterable[Part], file: TextIO | None = None) -> None:
    """Writes the parts to `file` (standard output), coloured where it is a terminal."""
    file = sys.stdout if file is None else file
    if not file.isatty():
        file.writelines(text for _, text in parts)
        return
    from rich.console import Console
    from rich.text import Text

    whole = Text()
    for style, text in parts:
        whole.append(text, style=STYLES.get(style, ""))
    Console(file=file, soft_wrap=True).print(whole, end="")


def columns(
    rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None, *, right: bool = False, gap: str = "  "
) -> list[str]:
    """Returns each row as one line, with its cells below those of the other rows and `gap` behind each of them.

    `widths` are the columns' widths on a terminal, by default those of their widest cells. With `right` all cells but
    the first of a row stand right in their columns.
    """
    widths = widths or [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)]
        cells = [b + c if right and at else c + b for at, (c, b) in enumerate(zip(row, blanks, strict=True))]
        lines.append("".join(cell + gap for cell in cells))
    return lines


def paragraph(text: str, first: str = "", further: str = "", *, hyphens: bool = True) -> str:
    """Returns the text in lines of at most `WIDTH` columns; `first` and `further` stand before its lines.

    `hyphens`: a line may end behind a hyphen.
    """
    return fill(text, WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=hyphens)
