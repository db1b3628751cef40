"""The columns of a table of logged slates in; nothing out, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from recpolicy.errors import UsageError
from recpolicy.errors.near import near

REQUIRED, OPTIONAL = ("user_id", "items"), ("next_items", "now")
COLUMNS = (*REQUIRED, *OPTIONAL)


def check_columns(schema: pa.Schema, where: str = "the slates") -> None:
    """Raise UsageError where a column that is needed is absent or one has another type than it should."""
    needed(schema.names, where)
    for name, (fits, what) in KINDS.items():
        if name in schema.names and not fits(kind := schema.field(name).type):
            raise UsageError(f"`{name}` holds {kind}", where=where, help=f"it holds {what}")


def needed(names: Sequence[str], where: str) -> None:
    """Raise UsageError where one of the names that every slate needs is not among `names`."""
    for name in REQUIRED:
        if name not in names:
            close = near(name, [n for n in names if n not in COLUMNS])
            help = (f"rename `{close}`? " if close else "") + "there are: " + ", ".join(names)
            raise UsageError(f"no `{name}`", where=where, help=help)


def _is_key(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    string = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(string or pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_keys(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_key(kind.value_type)


def _is_time(kind: pa.DataType) -> bool:
    measured = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    return bool(measured or pa.types.is_timestamp(kind) or pa.types.is_date(kind))


KINDS = {
    "user_id": (_is_key, "the ids of users"),
    "items": (_is_keys, "lists of item ids, the best item first"),
    "next_items": (_is_keys, "lists of item ids, in the order in which they were taken"),
    "now": (_is_time, "time stamps, or Unix seconds"),
}
