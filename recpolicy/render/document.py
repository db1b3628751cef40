"""Renders checked policies as one JSON document for other programs.

    {
      "schema_version": 1,
      "policies": [
        {
          "file": "draft.policy",              the file that the user named
          "name": "draft", "version": 3,       of the header; null where the policy cannot be used
          "ok": false,                         true where nothing was found
          "findings": [
            {
              "code": "E0301",
              "severity": "error",             or "warning"
              "message": "a duration is ...",  what is wrong
              "file": "draft.policy",          where: the file itself or one that it uses
              "line": 6, "column": 25,         of the start, both from 1; 0 where it has no place
              "end_line": 6, "end_column": 28, of the first character behind it
              "offset": 118, "length": 3,      the same in the file's text, from 0
              "label": "no unit",              what is wrong in that place
              "help": "write `730 days`",      what is allowed, or what to write
              "fix": {"replace": "730 days"},  the text that corrects the place; null where there is none
              "notes": [],                     further places: file, line ... length, and label
              "page": "recpolicy explain E0301"
            }
          ]
        }
      ],
      "summary": {"policies": 1, "ok": 0, "findings": 1, "errors": 1, "warnings": 0}
    }

Columns, offsets and lengths count characters (Unicode code points). The keys stand in this order. A later version of
recpolicy may add keys; where it changes or removes one, `schema_version` grows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.render.places import Checked, Mark, marks
from recpolicy.span import Source

VERSION = 1


def document(checked: Sequence[Checked]) -> str:
    """Returns the document as text that ends with a line feed."""
    severities = [finding.severity for one in checked for finding in one.findings]
    content = {
        "schema_version": VERSION,
        "policies": [_policy(one) for one in checked],
        "summary": {
            "policies": len(checked),
            "ok": sum(not one.findings for one in checked),
            "findings": len(severities),
            "errors": severities.count("error"),
            "warnings": severities.count("warning"),
        },
    }
    return written(content)


def written(content: object) -> str:
    """Returns `content` as indented JSON that ends with a line feed."""
    return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"


def _policy(one: Checked) -> dict[str, object]:
    return {
        "file": one.source.name,
        "name": one.policy.name if one.policy else None,
        "version": one.policy.version if one.policy else None,
        "ok": not one.findings,
        "findings": [_finding(finding, one.source) for finding in one.findings],
    }


def _finding(finding: Diagnostic, source: Source) -> dict[str, object]:
    place, *notes = marks(finding, source)
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.title,
        **_place(place),
        "label": finding.label,
        "help": finding.help,
        "fix": None if finding.fix is None else {"replace": finding.fix},
        "notes": [{**_place(note), "label": note.label} for note in notes],
        "page": f"recpolicy explain {finding.code}",
    }


def _place(place: Mark) -> dict[str, object]:
    span = place.span
    return {
        "file": place.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": place.end_line,
        "end_column": place.end_column,
        "offset": span.start,
        "length": span.end - span.start,
    }
