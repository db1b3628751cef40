"""Renders findings, wrong uses and pages as text for people: plain, or coloured where the output is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from recpolicy.errors import Diagnostic, UsageError
from recpolicy.render.picture import picture
from recpolicy.render.places import Checked
from recpolicy.render.sentences import sentences
from recpolicy.render.terminal import Part, write
from recpolicy.render.text import visible
from recpolicy.span import Source

if TYPE_CHECKING:
    from recpolicy.errors.pages import Page

__all__ = ["Checked", "page", "plain", "sentences", "show", "usage"]


def plain(findings: Iterable[Diagnostic], source: Source) -> str:
    """Returns the findings as text without colour, with a blank line between two."""
    return "".join(text for _, text in _pictures(findings, source))


def show(findings: Iterable[Diagnostic], source: Source, file: TextIO | None = None) -> None:
    """Writes the findings to `file` (standard output), coloured where it is a terminal."""
    write(_pictures(findings, source), file)


def page(page: Page, file: TextIO | None = None) -> None:
    """Writes the page of a code to `file` (standard output), coloured where it is a terminal."""
    from recpolicy.render.manual import parts  # no other command shows pages

    write(parts(page), file)


def usage(error: UsageError) -> str:
    """Returns the message of a wrong use without colour. A message and a help may have several lines."""
    first, *further = error.message.splitlines() or [""]
    lines = [f"error: {first}", *(f"  {line.strip()}" for line in further)]
    lines += [f"  --> {error.where}"] if error.where else []
    lines += [f"  help: {line}" for line in error.help.splitlines()]
    return "".join(f"{visible(line)}\n" for line in lines)


def _pictures(findings: Iterable[Diagnostic], source: Source) -> Iterable[Part]:
    for number, finding in enumerate(findings):
        yield "", "\n" if number else ""
        yield from picture(finding, source)
