"""Draws the pictures of the README: two terminals and a chart. Run by `make pictures`; needs no training."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parents[1]
WIDTH = 102
"""Columns of the terminals."""

DRAFT = """\
policy "draft" {
  language = 1
  data     = "ml-100k"
  slate    = 10
}

reward variety weight 0.9 = distance(item.genre)
quota  fresh   weight 0.1 = at least 20 where item.age < 2 years
block  grown_up = "Horror" in item.genres and user.age < 16 years
"""

EVENING = """\
policy "evening" {
  language = 1
  version  = 1
  data     = "ml-100k"
  slate    = 10
}
reward relevance weight 0.7 = ndcg(next_items)
reward variety   weight 0.2 = distance(item.genres)
quota  fresh     weight 0.1 = at least 2 where item.age < 2 years
"""

CHANGES = {"version  = 1": "version  = 2", "at least 2 where": "at least 4 where"}
"""What stands in the second version of the policy `evening` instead."""

SYSTEMS = {
    "SFT": "fine-tuned model",
    "SFT with prior": "the same with the user model",
    "GRPO": "trained for the policy",
    "GRPO, guided": "trained, and re-ranked",
    "re-rank control": "re-ranked, not trained",
    "popularity": "most popular items",
    "ItemKNN": "ItemKNN",
    "EASE": "EASE",
    "EASE (recency)": "EASE, recent events first",
}
"""Rows of the chart, by their names in the table of docs/training.md."""

INK, PALE, LINE, OURS, OTHERS = "#1f2328", "#59636e", "#d1d9e0", "#0969da", "#8c959f"


def terminal_output(command: str, folder: Path) -> str:
    """Returns what `recpolicy ...` writes to a terminal, colours included."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    environment = {name: value for name, value in environment.items() if name not in ("NO_COLOR", "COLORTERM")}
    arguments = [sys.executable, "-m", "recpolicy", *command.split()[1:]]
    process = subprocess.Popen(arguments, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 65_536):
            pieces.append(piece)
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    process.wait()
    return b"".join(pieces).decode().replace("\r\n", "\n")


def terminal_svg(name: str, title: str, screens: dict[str, str]) -> str:
    """Returns a terminal as SVG; `screens` holds the output of each command."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number, (command, output) in enumerate(screens.items()):
        console.print(Text.assemble("\n" * bool(number), ("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(output.rstrip("\n")), soft_wrap=True)
    console.print()  # or the last line is cut off at its foot
    return console.export_svg(title=title, unique_id=name, code_format=_without_fonts(CONSOLE_SVG_FORMAT))


def _without_fonts(template: str) -> str:
    """Leaves out the fonts that a browser would have to fetch from elsewhere; their fallback is `monospace`."""
    return re.sub(r"\s*@font-face \{\{.*?\}\}", "", template, flags=re.DOTALL)


def figures(page: str) -> dict[str, tuple[float, float]]:
    """Returns NDCG and reward of each system, from the table in the text of docs/training.md."""
    rows = re.findall(r"^ (\S.*?) {2,}(0\.\d+)(?: +0\.\d+){5} +(0\.\d+)$", page, re.MULTILINE)
    return {name: (float(ndcg), float(reward)) for name, ndcg, reward in rows}


def chart_svg(found: dict[str, tuple[float, float]]) -> str:
    """Returns two panels of dots side by side: reward and NDCG of each system."""
    left, panel, gap, top, step = 215, 250, 60, 92, 30
    width, height = left + 2 * panel + gap + 45, top + step * len(SYSTEMS) + 28
    panels = (("Reward of the policy", 1, 0.38, 0.50, 3), ("Accuracy (NDCG)", 0, 0.06, 0.18, 3))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img"'
        ' aria-label="Reward of the policy and accuracy of each system">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff" stroke="{LINE}"/>',
        _text(20, 30, "What training brought: policy balanced, MovieLens-100K, 943 users", size=15, weight=600),
        _text(20, 50, "Further right is better. Held-out events, the whole catalog ranked, 10 places.", fill=PALE),
    ]
    for number, (title, column, low, high, ticks) in enumerate(panels):
        begin = left + number * (panel + gap)
        parts.append(_text(begin, top - 16, title, weight=600))
        for tick in range(ticks + 1):
            x = begin + panel * tick / ticks
            foot = top + step * len(SYSTEMS)
            parts.append(f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{foot}" stroke="{LINE}"/>')
            parts.append(
                _text(x, foot + 16, f"{low + (high - low) * tick / ticks:.2f}", size=11, fill=PALE, at="middle")
            )
        for row, system in enumerate(SYSTEMS):
            value, y = found[system][column], top + step * row + step / 2
            x = begin + panel * (value - low) / (high - low)
            fill = OURS if system.startswith("GRPO") else OTHERS
            parts.append(f'<line x1="{begin}" y1="{y}" x2="{begin + panel}" y2="{y}" stroke="{LINE}"/>')
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5.5" fill="{fill}"/>')
            parts.append(_text(x + 10, y + 4, f"{value:.3f}", size=12, halo=True))
    for row, (system, words) in enumerate(SYSTEMS.items()):
        ours = system.startswith("GRPO")
        middle = top + step * row + step / 2
        parts.append(
            _text(left - 14, middle + 4, words, fill=OURS if ours else INK, weight=600 if ours else 400, at="end")
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(
    x: float,
    y: float,
    words: str,
    size: int = 13,
    fill: str = INK,
    weight: int = 400,
    at: str = "start",
    halo: bool = False,
) -> str:
    style = f'font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{at}"'
    style += ' stroke="#ffffff" stroke-width="4" paint-order="stroke"' * halo
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{words}</text>'


def pictures() -> dict[str, str]:
    """Returns the text of each picture by its file name."""
    with tempfile.TemporaryDirectory() as name:
        folder, changed = Path(name), EVENING
        for old, new in CHANGES.items():
            changed = changed.replace(old, new)
        for file, text in (("draft", DRAFT), ("evening", EVENING), ("evening_2", changed)):
            (folder / f"{file}.policy").write_text(text, "utf-8")
        check = "recpolicy check draft.policy"
        diff = "recpolicy diff evening.policy evening_2.policy"
        checked, compared = terminal_output(check, folder), terminal_output(diff, folder)
    head, *users = compared.split("\n\nUser ")
    user = next(text for text in users if " + " in text)  # one of three whose list gets another item
    return {
        "check.svg": terminal_svg("check", "recpolicy check", {check: checked}),
        "diff.svg": terminal_svg("diff", "recpolicy diff", {diff: f"{head}\n\nUser {user}"}),
        "training.svg": chart_svg(figures((DOCS / "training.md").read_text("utf-8"))),
    }


if __name__ == "__main__":
    for name, text in pictures().items():
        (DOCS / "img" / name).write_text(text, "utf-8")
        print(f"docs/img/{name}: {len(text):,} characters")
