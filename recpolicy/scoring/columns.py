"""Checks the columns of a table of logged slates."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.tables.reading import is_list, is_text
from recpolicy.tables.reading.arrow import is_moment, plain_type

REQUIRED, OPTIONAL = ("user_id", "items"), ("history", "next_items", "now")
COLUMNS = (*REQUIRED, *OPTIONAL)


def check_columns(schema: pa.Schema, where: str = "the slates") -> None:
    """Checks columns. Raises UsageError where a required one is absent or one has a wrong type."""
    needed(schema.names, where)
    for name, (fits, what) in KINDS.items():
        if name in schema.names and not fits(plain_type(kind := schema.field(name).type)):
            raise UsageError(f"`{name}` holds {kind}", where=where, help=f"it holds {what}")


def needed(names: Sequence[str], where: str) -> None:
    """Checks column names. Raises UsageError where a required one is absent."""
    for name in REQUIRED:
        if name not in names:
            close = near(name, [n for n in names if n not in COLUMNS])
            help = (f"rename `{close}`? " if close else "") + "there are: " + ", ".join(names)
            raise UsageError(f"no `{name}`", where=where, help=help)


def _is_key(kind: pa.DataType | None) -> bool:
    fits = (is_text, pa.types.is_integer, pa.types.is_floating, pa.types.is_null)
    return kind is not None and any(fit(kind) for fit in fits)


def _is_keys(kind: pa.DataType | None) -> bool:
    return kind is not None and is_list(kind) and _is_key(kind.value_type)


def _is_time(kind: pa.DataType | None) -> bool:
    return _is_key(kind) or (kind is not None and is_moment(kind))


KINDS = {
    "user_id": (_is_key, "the ids of users"),
    "items": (_is_keys, "lists of item ids, the best item first"),
    "history": (_is_keys, "lists of item ids, what the user had taken before, oldest first"),
    "next_items": (_is_keys, "lists of item ids, in the order in which they were taken"),
    "now": (_is_time, "time stamps, dates, or Unix seconds"),
}
"""For each column a check of its plain type, and what it holds."""
