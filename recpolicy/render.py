"""Findings and their source in, text for people out: plain, or coloured where the output is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO
from unicodedata import east_asian_width

from recpolicy.errors import Diagnostic, UsageError
from recpolicy.span import Source

_TAB = "    "

Part = tuple[str, str]
"""A style (`code`, `title`, `place`, `mark`, `help` or none) and text in it."""


def plain(findings: Iterable[Diagnostic], source: Source) -> str:
    """The findings as text without colour, a blank line between two."""
    return "\n".join("".join(text for _, text in _finding(f, source)) for f in findings)


def usage(error: UsageError) -> str:
    """The message of a wrong use, as text without colour; a message and a help may have several lines."""
    first, *further = error.message.splitlines() or [""]
    lines = [f"error: {first}", *(f"  {line.strip()}" for line in further)]
    lines += [f"  --> {error.where}"] if error.where else []
    lines += [f"  help: {line}" for line in error.help.splitlines()]
    return "".join(f"{_visible(line)}\n" for line in lines)


def show(findings: Iterable[Diagnostic], source: Source, file: TextIO | None = None) -> None:
    """Write the findings to `file` (standard output), coloured where it is a terminal."""
    file = sys.stdout if file is None else file
    findings = tuple(findings)
    if not file.isatty():
        file.write(plain(findings, source))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, soft_wrap=True)
    for number, finding in enumerate(findings):
        text = Text("\n" if number else "")
        for style, part in _finding(finding, source):
            text.append(part, style=_STYLES.get(style, ""))
        console.print(text, end="")


_STYLES = {"code": "bold red", "title": "bold", "place": "blue", "mark": "bold red", "help": "bold cyan"}


def _finding(finding: Diagnostic, source: Source) -> list[Part]:
    span = finding.span
    number = str(span.line)
    margin = " " * len(number)
    parts = [
        ("code", f"error[{finding.code}]"),
        ("title", f": {_visible(finding.title)}\n"),
        ("place", f"{margin}--> {_visible(source.name)}:{span.line}:{span.column}\n"),
    ]
    if span.line:
        line = source.line(span.line)
        before, marked = line[: span.column - 1], line[span.column - 1 :][: span.end - span.start]
        indent = " " * _width(_visible(before))
        carets = "^" * max(1, _width(_visible(marked)))
        parts += [
            ("place", f"{margin} |\n{number} | "),
            ("", f"{_visible(line)}\n"),
            ("place", f"{margin} | "),
            ("mark", f"{indent}{carets} {_visible(finding.label)}\n"),
            ("place", f"{margin} |\n"),
        ]
    return [*parts, ("help", f"{margin} help: "), ("", f"{_visible(finding.help)}\n")]


def _visible(text: str) -> str:
    """Text that moves no cursor and rings no bell: tabs as spaces, other control characters as `·`."""
    return "".join(_TAB if c == "\t" else c if c.isprintable() else "·" for c in text)


def _width(text: str) -> int:
    """Columns of a terminal that `text` fills."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
