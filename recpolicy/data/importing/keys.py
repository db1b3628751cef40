"""Finds the columns of users, items and times under the names that other programs give them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from recpolicy.data.importing.found import Found
from recpolicy.data.interactions import ORDER_NAMES, TIME_NAMES
from recpolicy.tables.reading import RawTable

_USER = ("userid", "user", "uid", "customerid", "customer", "reviewerid", "visitorid", "memberid", "accountid")
_ITEM = (
    "itemid", "item", "iid", "parentasin", "asin", "productid", "product", "movieid", "articleid", "bookid", "isbn",
    "videoid", "trackid", "songid", "newsid", "gameid", "businessid", "sku",
)  # fmt: skip
_TIME = ("timestamp", "unixreviewtime", "createdat", "eventtime", "eventtimestamp", "ts", "datetime", "timestampms")
"""Usual names without underscores, in small letters; the likeliest first."""


def standard(found: Found) -> Found:
    """Gives the columns of ids and times their standard names, and notes which were found. A schema names its own."""
    if found.schema is not None:
        return found
    notes: list[str] = []
    items, users, log = found.items, found.users, found.interactions
    if items is not None and "id" not in items.columns:
        items = _named(items, "item_id", notes)
    if users is not None and "id" not in users.columns:
        users = _named(users, "user_id", notes)
    log = _named(_named(log, "user_id", notes), "item_id", notes)
    if not {*TIME_NAMES, *ORDER_NAMES} & set(log.columns):
        log = _named(log, "timestamp", notes)
    return replace(found, items=items, users=users, interactions=log, notes=(*found.notes, *notes))


def usual(names: Iterable[str], of: str) -> str | None:
    """Returns the likeliest of some column names for `user_id`, `item_id` or `timestamp`; None where none is usual."""
    known = {"user_id": _USER, "item_id": _ITEM, "timestamp": _TIME}[of]
    plain = {name.replace("_", "").replace(" ", "").casefold(): name for name in reversed(list(names))}
    return next((plain[name] for name in known if name in plain), None)


def _named(table: RawTable, name: str, notes: list[str]) -> RawTable:
    if name in table.columns or (own := usual(table.columns, name)) is None:
        return table
    notes.append(f"{table.path.name}: `{own}` is called `{name}`.")
    columns = {name if column == own else column: values for column, values in table.columns.items()}
    hints = {name if column == own else column: hint for column, hint in table.hints.items()}
    return replace(table, columns=columns, hints=hints)
