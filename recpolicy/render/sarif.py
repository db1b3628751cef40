"""Renders checked policies as a SARIF 2.1.0 log, which code hosts show beside the lines of a change.

The format: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", errata 01.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from recpolicy import __version__
from recpolicy.errors import Diagnostic, pages
from recpolicy.render.document import written
from recpolicy.render.manual import manual
from recpolicy.render.places import Checked, Mark, lines, marks
from recpolicy.render.text import sentence
from recpolicy.span import Source

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def log(checked: Sequence[Checked]) -> str:
    """Returns the log as text that ends with a line feed: one run, with a rule for every code among the findings."""
    findings = [(finding, one.source) for one in checked for finding in one.findings]
    codes = sorted({finding.code for finding, _ in findings})
    content = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "recpolicy", "version": __version__, "rules": [_rule(c) for c in codes]}},
                "columnKind": "utf16CodeUnits",
                "results": [_result(finding, source, codes) for finding, source in findings],
            }
        ],
    }
    return written(content)


def _rule(code: str) -> dict[str, object]:
    page = pages.page(code)
    return {
        "id": code,
        "shortDescription": {"text": sentence(page.title)},
        "fullDescription": {"text": " ".join(page.text.partition("\n\n")[0].split())},
        "help": {"text": manual(page), "markdown": f"# {code}: {page.title}\n\n{page.text}\n"},
    }


def _result(finding: Diagnostic, source: Source, codes: list[str]) -> dict[str, object]:
    place, *notes = marks(finding, source)
    message = " ".join(sentence(text) for text in (finding.title, finding.label, finding.help))
    result: dict[str, object] = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": finding.severity,
        "message": {"text": message},
        "locations": [_location(place)],
    }
    if notes:
        result["relatedLocations"] = [
            {"id": number, **_location(note), "message": {"text": sentence(note.label)}}
            for number, note in enumerate(notes)
        ]
    if finding.fix is not None:
        replacement = {"deletedRegion": _region(place), "insertedContent": {"text": finding.fix}}
        change = {"artifactLocation": {"uri": _uri(place.source)}, "replacements": [replacement]}
        result["fixes"] = [{"description": {"text": sentence(finding.help)}, "artifactChanges": [change]}]
    return result


def _location(place: Mark) -> dict[str, object]:
    physical: dict[str, object] = {"artifactLocation": {"uri": _uri(place.source)}}
    if place.span.line:
        physical["region"] = _region(place)
    return {"physicalLocation": physical}


def _region(place: Mark) -> dict[str, int]:
    text = lines(place.source)
    return {
        "startLine": place.span.line,
        "startColumn": _units(text[place.span.line - 1], place.span.column),
        "endLine": place.end_line,
        "endColumn": _units(text[place.end_line - 1], place.end_column),
    }


def _units(line: str, column: int) -> int:
    """A column that counts characters, counted in UTF-16 code units."""
    return column + sum(c > "\uffff" for c in line[: column - 1])


def _uri(source: Source) -> str:
    """The file as a reference: relative to the folder of this process where it lies inside, else absolute."""
    path = Path(source.name)
    if not path.is_absolute() and ".." not in path.parts:
        return quote(path.as_posix())
    whole = path.resolve()
    return quote(whole.relative_to(Path.cwd()).as_posix()) if whole.is_relative_to(Path.cwd()) else whole.as_uri()
