"""Defines findings as data (what is wrong, where, what is allowed, what to write instead) and the two exceptions.

The modules beside this file build the findings, one module a stage: `syntax` (E01xx), `names` (E02xx), `types` (E03xx),
`rules` (E04xx), `composition` (E05xx), `conflicts` (E06xx), `catalog` (E07xx), `cases` (E08xx). Each function there
builds one finding, and no other function uses its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recpolicy.span import Source, Span


@dataclass(frozen=True)
class Note:
    """Another place that a finding is about. `source` is its file, None for the finding's own file."""

    span: Span
    label: str
    source: Source | None = None


@dataclass(frozen=True)
class Diagnostic:
    """One finding in a policy file.

    `title` says what is wrong, `label` stands under the caret, `help` says what is allowed or what to write. `fix` is
    the text that corrects the policy when it replaces `span`. An error makes the policy unusable; a warning does not.
    `source` is the file, None for the file that the user named.
    """

    code: str
    title: str
    span: Span
    label: str
    help: str
    notes: tuple[Note, ...] = ()
    fix: str | None = None
    severity: Literal["error", "warning"] = "error"
    source: Source | None = None


class PolicyError(Exception):
    """A policy that cannot be used, with every finding of the file in the order of the text. Exit code 1.

    `source` is the file of the findings, where it is known.
    """

    def __init__(self, findings: tuple[Diagnostic, ...], source: Source | None = None) -> None:
        super().__init__("; ".join(f.title for f in findings))
        self.findings, self.source = findings, source


class UsageError(Exception):
    """Wrong use or unusable input (data, schema, arguments). Exit code 2.

    `where` names file, row and column as far as they are known; `help` says what to do.
    """

    def __init__(self, message: str, *, where: str = "", help: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.help = message, where, help
