"""Renders the page of a code as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from shutil import get_terminal_size

from recpolicy.errors.pages import FENCE, Page
from recpolicy.errors.words import WIDTH
from recpolicy.render.terminal import Part


def manual(page: Page) -> str:
    """Returns the page as text without colour."""
    return "".join(text for _, text in parts(page))


def parts(page: Page) -> Iterator[Part]:
    """Renders the page in parts (`title`, `bad`, `good` or no style), its prose as wide as the terminal."""
    width = min(WIDTH, get_terminal_size().columns)
    yield "title", f"{page.code}: {page.title}\n"
    end = 0
    for fence in FENCE.finditer(page.text):
        yield from _prose(page.text[end : fence.start()], width)
        info, lines = fence.groups()
        style = "bad" if "bad" in info.split() else "good" if "." not in info else ""
        yield style, f"\n{textwrap.indent(lines, '    ')}"
        end = fence.end()
    yield from _prose(page.text[end:], width)


def _prose(text: str, width: int) -> Iterator[Part]:
    for block in filter(None, map(str.strip, text.split("\n\n"))):
        filled = textwrap.fill(block, width, break_long_words=False, break_on_hyphens=False)
        yield "", f"\n{filled}\n"
