"""`schema.toml` in, the columns a policy may name out. Needs neither NumPy nor the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from recpolicy.types import Type


class Role(Enum):
    """What a column is for; each role is held by at most one column of its table."""

    ID = "id"
    TITLE = "title"
    CREATOR = "creator"
    PUBLISHED = "published"
    POPULARITY = "popularity"
    """Distinct users who took the item; always recounted on the training part."""


class Derived(Enum):
    """How a column that no file holds is computed."""

    CREATOR_SINCE = "first published of creator"
    AGE = "time since published"
    """Evaluated per row against `now`: the checker rewrites it to `now - <published column>`."""


@dataclass(frozen=True)
class ColumnSpec:
    """One column as the language sees it.

    `source` is the column's name in the data file (None for a derived column).
    """

    name: str
    type: Type
    optional: bool = False
    role: Role | None = None
    source: str | None = None
    derived: Derived | None = None


@dataclass(frozen=True)
class Schema:
    """The columns of a data set, by the name a policy uses, and the time to use where data has no time stamps."""

    name: str
    item: Mapping[str, ColumnSpec] = field(default_factory=dict)
    user: Mapping[str, ColumnSpec] = field(default_factory=dict)
    now: float | None = None
    """Seconds since 1970-01-01 UTC, or None where the interactions carry time stamps."""

    def with_role(self, role: Role) -> ColumnSpec | None:
        """The item column that holds `role`, or None."""
        return next((c for c in self.item.values() if c.role is role), None)
