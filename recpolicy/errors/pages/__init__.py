"""Reads the page that explains a code: why it is a finding, a wrong example, and the same example corrected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from recpolicy.errors import UsageError

STAGES = {
    "E01": "reading the text",
    "E02": "names",
    "E03": "kinds of value",
    "E04": "rules and the header",
    "E05": "files, overrides, parameters, days and targets",
    "E06": "rules in conflict",
    "E07": "the catalog and the users",
    "E08": "tests in a policy",
}
"""The subject of the findings, by the first three characters of their codes."""


@dataclass(frozen=True)
class Example:
    """Lines of a policy.

    `whole`: they are a whole file, so no header and no rule must be added. `catalog`: they are about the items and
    users of the data set `simulator`. `shown`: their text alone does not give the finding.
    """

    text: str
    whole: bool = False
    catalog: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Page:
    """The page of one code. `text` is everything below the title, as Markdown; `files` lie beside the bad example."""

    code: str
    title: str
    text: str
    bad: Example
    good: Example
    files: Mapping[str, str] = field(default_factory=dict)


def codes() -> tuple[str, ...]:
    """Returns every code that has a page, in order."""
    return tuple(sorted(f.name.removesuffix(".md") for f in files(__name__).iterdir() if f.name.endswith(".md")))


def page(code: str) -> Page:
    """Reads the page of `code`, in capitals or not. Raises UsageError where it has none, with the codes that exist."""
    known = codes()
    name = code.strip().upper()
    if name not in known:
        raise UsageError(f"no finding has the code `{code}`", help=_instead(name, known))
    text = files(__name__).joinpath(f"{name}.md").read_text("utf-8")
    heading, _, body = text.partition("\n")
    bad = good = Example("")
    beside: dict[str, str] = {}
    for info, lines in FENCE.findall(body):
        words = info.split()
        if "." in words[-1]:
            beside[words[-1]] = lines
            continue
        example = Example(lines, "whole" in words or lines.startswith("policy "), "catalog" in words, "shown" in words)
        if "bad" in words:
            bad = example
        else:
            good = example
    return Page(name, heading.removeprefix(f"# {name}: "), body.strip("\n"), bad, good, beside)


FENCE = re.compile(r"^```(.+)\n((?:.*\n)*?)```$", re.MULTILINE)
"""An example: what stands behind the backticks, and its lines.

`policy` is right, `policy bad` is not; `whole`, `catalog` and `shown` as in `Example`. A file beside them has its name.
"""


def _instead(name: str, known: tuple[str, ...]) -> str:
    digits = "".join(c for c in name if c.isdigit())
    meant = f"E{digits.zfill(4)}"
    if digits and meant in known:
        return f"did you mean `{meant}`?"
    stage = [code for code in known if code.startswith(name[:3])]
    if stage and name[:3] in STAGES:
        return f"codes about {STAGES[name[:3]]} are {stage[0]} to {stage[-1]}"
    return "\n".join(["a code is E and four digits:", *(f"  {stage}xx  {about}" for stage, about in STAGES.items())])
