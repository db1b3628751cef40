"""Findings about a data set in, one UsageError out that names file, row and column of the first of each kind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from recpolicy.errors import UsageError


@dataclass(frozen=True)
class Problem:
    """One kind of problem: its first case, where that stands, and how many more there are."""

    message: str
    where: str
    help: str = ""
    more: int = 0

    def __str__(self) -> str:
        return self.message + (f" (and {self.more:,} more)" if self.more else "")


@dataclass
class Problems:
    """Collects what is wrong, so that a person sees all of it at once."""

    found: list[Problem] = field(default_factory=list)

    def add(self, message: str, where: str, help: str = "", *, more: int = 0) -> None:
        self.found.append(Problem(message, where, help, more))

    def stop(self) -> None:
        """Raise what was found, if anything was."""
        match self.found:
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
    """A value of the data for a message: on one line, words in quotes, long ones cut."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text
