"""Builds tables for Rich consoles. Only commands that print such tables import this module: it loads Rich."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | Text


def table(
    head: Sequence[str],
    rows: Iterable[tuple[Sequence[Cell], str]],
    *,
    left: Collection[str] = (),
    unbroken: Collection[str] = (),
    box: Box | None = SIMPLE_HEAD,
    width: int | None = None,
    title: str | None = None,
) -> Table:
    """Builds a table of rows, each with a style; the first column stands left, as do those with a title in `left`.

    Cells below a title in `unbroken` are never broken into several lines. `width` is that of the first column.
    """
    built = Table(box=box, pad_edge=False, title=title, title_justify="left", collapse_padding=title is not None)
    for at, name in enumerate(head):
        justify: Literal["left", "right"] = "left" if at == 0 or name in left else "right"
        built.add_column(name, justify=justify, no_wrap=name in unbroken, width=width if at == 0 else None)
    for cells, style in rows:
        built.add_row(*cells, style=style)
    return built


def line(console: Console, *parts: str | tuple[str, str]) -> None:
    """Prints one line of parts, each a text or a text and its style. The console does not wrap it."""
    console.print(Text.assemble(*parts), soft_wrap=True)
