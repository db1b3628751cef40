"""Makes any text safe to print, and measures how wide it is."""

from __future__ import annotations

from unicodedata import category, east_asian_width

_TAB = "    "


def visible(text: str) -> str:
    """Returns a text that moves no cursor and rings no bell: tabs as spaces, other control characters as `·`."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def width(text: str) -> int:
    """Returns the columns of a terminal that `text` fills: two for wide characters, none for marks set over others."""
    return len(text) if text.isascii() else sum(map(_width, text))


def sentence(text: str) -> str:
    """Returns the text with a capital at its start and a full stop at its end."""
    text = visible(text).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _visible(c: str) -> str:
    return _TAB if c == "\t" else c if c.isprintable() else "·"


def _width(c: str) -> int:
    return 2 if east_asian_width(c) in "WF" else 0 if category(c) in ("Mn", "Me") else 1
