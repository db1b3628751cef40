"""Findings, wrong uses and pages in, text for people out: plain, or coloured where the output is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from recpolicy.errors import Diagnostic, UsageError
from recpolicy.render.picture import Part, picture
from recpolicy.render.places import Checked
from recpolicy.render.sentences import sentences
from recpolicy.render.text import visible
from recpolicy.span import Source

if TYPE_CHECKING:
    from recpolicy.errors.pages import Page

__all__ = ["Checked", "page", "plain", "sentences", "show", "usage"]


def plain(findings: Iterable[Diagnostic], source: Source) -> str:
    """The findings as text without colour, a blank line between two."""
    return "".join(text for _, text in _pictures(findings, source))


def show(findings: Iterable[Diagnostic], source: Source, file: TextIO | None = None) -> None:
    """Write the findings to `file` (standard output), coloured where it is a terminal."""
    _write(_pictures(findings, source), file)


def page(page: Page, file: TextIO | None = None) -> None:
    """Write the page of a code to `file` (standard output), coloured where it is a terminal."""
    from recpolicy.render.manual import parts  # no other command shows pages

    _write(parts(page), file)


def usage(error: UsageError) -> str:
    """The message of a wrong use, as text without colour; a message and a help may have several lines."""
    first, *further = error.message.splitlines() or [""]
    lines = [f"error: {first}", *(f"  {line.strip()}" for line in further)]
    lines += [f"  --> {error.where}"] if error.where else []
    lines += [f"  help: {line}" for line in error.help.splitlines()]
    return "".join(f"{visible(line)}\n" for line in lines)


def _pictures(findings: Iterable[Diagnostic], source: Source) -> Iterable[Part]:
    for number, finding in enumerate(findings):
        yield "", "\n" if number else ""
        yield from picture(finding, source)


_STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold blue",
    "title": "bold",
    "place": "blue",
    "help": "bold cyan",
    "bad": "red",
    "good": "green",
}


def _write(parts: Iterable[Part], file: TextIO | None) -> None:
    file = sys.stdout if file is None else file
    if not file.isatty():
        file.writelines(text for _, text in parts)
        return
    from rich.console import Console
    from rich.text import Text

    whole = Text()
    for style, text in parts:
        whole.append(text, style=_STYLES.get(style, ""))
    Console(file=file, soft_wrap=True).print(whole, end="")
