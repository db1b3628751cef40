"""A section of BENCHMARKS.md in, the page with that section written anew out."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

PAGE = Path(__file__).parents[1] / "BENCHMARKS.md"


def write(title: str, text: str) -> None:
    """Put `text` under the heading `title`: in place of what stood there, or at the end. It is printed, too."""
    section = f"## {title}\n\n{text.strip()}\n"
    page = PAGE.read_text("utf-8")
    sections = re.split(r"^(?=## )", page, flags=re.M)
    at = next((i for i, found in enumerate(sections) if found.startswith(f"## {title}\n")), len(sections))
    sections[at:] = [section, *sections[at + 1 :]]
    PAGE.write_text("\n".join(part.strip() + "\n" for part in sections), "utf-8")
    print(section, end="")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def holds(truth: bool) -> str:
    """Whether a bar holds, for a table."""
    return "yes" if truth else "no"


def machine() -> str:
    """Where it was measured, in one sentence."""
    return (
        f"{platform.system()} {platform.machine()} ({_processor()}), {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, NumPy {version('numpy')}, recpolicy {version('recpolicy')}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
