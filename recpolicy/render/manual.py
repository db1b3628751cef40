"""The page of a code in, text for people out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from shutil import get_terminal_size

from recpolicy.errors.pages import FENCE, Page
from recpolicy.render.picture import Part


def manual(page: Page) -> str:
    """The page as text without colour."""
    return "".join(text for _, text in parts(page))


def parts(page: Page) -> Iterator[Part]:
    """The page in parts to be coloured (`title`, `bad`, `good` or none), its prose as wide as the terminal."""
    width = min(100, get_terminal_size().columns)
    yield "title", f"{page.code}: {page.title}\n"
    for block in _blocks(page.text):
        if fence := FENCE.match(block):
            info, lines = fence.groups()
            style = "bad" if "bad" in info.split() else "good" if "." not in info else ""
            yield style, f"\n{textwrap.indent(lines, '    ')}"
        else:
            filled = textwrap.fill(block, width, break_long_words=False, break_on_hyphens=False)
            yield "", f"\n{filled}\n"


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and examples in turn."""
    end = 0
    for fence in FENCE.finditer(text):
        yield from filter(None, (p.strip() for p in text[end : fence.start()].split("\n\n")))
        yield fence.group()
        end = fence.end()
    yield from filter(None, (p.strip() for p in text[end:].split("\n\n")))
