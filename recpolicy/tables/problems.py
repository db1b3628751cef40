"""Collects problems of a data set and raises one UsageError with the file, row and column of the first of each kind.

Notes are collected beside them: what was read in a way that its owner may not expect.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from recpolicy.errors import UsageError


@dataclass(frozen=True)
class Problem:
    """One kind of problem: its first case, the place of that, and the number of further cases."""

    message: str
    where: str
    help: str = ""
    more: int = 0

    def __str__(self) -> str:
        return self.message + (f" (and {self.more:,} more)" if self.more else "")


@dataclass
class Problems:
    """The problems and notes of a data set, collected so that a person sees all of them at once."""

    collected: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, message: str, where: str, help: str = "", *, more: int = 0) -> None:
        """Adds one kind of problem; `more` is the number of cases after the first."""
        self.collected.append(Problem(message, where, help, more))

    def note(self, text: str) -> None:
        """Adds a note, one sentence."""
        self.notes.append(text)

    def stop(self) -> None:
        """Raises UsageError with all problems, if there are any."""
        match self.collected:
            case []:
                return
            case [only]:
                raise UsageError(str(only), where=only.where, help=only.help)
            case several:
                lines = "".join(f"\n  {p.where}: {p}" for p in several)
                help = "\n".join(dict.fromkeys(p.help for p in several if p.help))
                message = f"{len(several)} kinds of problem in the data:{lines}"
                raise UsageError(message, where=several[0].where, help=help)


def shown(value: object) -> str:
    """Formats a value of the data for a message: on one line, words in quotes, long ones cut."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text
