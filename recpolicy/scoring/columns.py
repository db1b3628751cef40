"""Checks the columns of a table of logged slates."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from recpolicy.data.files import is_list, is_text
from recpolicy.errors import UsageError
from recpolicy.errors.near import near

REQUIRED, OPTIONAL = ("user_id", "items"), ("next_items", "now")
COLUMNS = (*REQUIRED, *OPTIONAL)


def check_columns(schema: pa.Schema, where: str = "the slates") -> None:
    """Checks columns. Raises UsageError where a required one is absent or one has a wrong type."""
    needed(schema.names, where)
    for name, (fits, what) in KINDS.items():
        if name in schema.names and not fits(kind := schema.field(name).type):
            raise UsageError(f"`{name}` holds {kind}", where=where, help=f"it holds {what}")


def needed(names: Sequence[str], where: str) -> None:
    """Checks column names. Raises UsageError where a required one is absent."""
    for name in REQUIRED:
        if name not in names:
            close = near(name, [n for n in names if n not in COLUMNS])
            help = (f"rename `{close}`? " if close else "") + "there are: " + ", ".join(names)
            raise UsageError(f"no `{name}`", where=where, help=help)


def _is_key(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_keys(kind: pa.DataType) -> bool:
    return is_list(kind) and _is_key(kind.value_type)


def _is_time(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    return bool(number or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


KINDS = {
    "user_id": (_is_key, "the ids of users"),
    "items": (_is_keys, "lists of item ids, the best item first"),
    "next_items": (_is_keys, "lists of item ids, in the order in which they were taken"),
    "now": (_is_time, "time stamps, or Unix seconds"),
}
