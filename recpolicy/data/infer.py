"""Infers the schema of raw tables that have no `schema.toml`, with notes on the names it chooses."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.data.files import Array, RawTable, is_list, is_text
from recpolicy.data.source import RawData
from recpolicy.errors import UsageError
from recpolicy.schema import ROLE_TYPES, ColumnSpec, Role, Schema, with_computed
from recpolicy.types import Type

_ROLE_NAMES: dict[Role, tuple[str, ...]] = {
    Role.TITLE: ("title", "name", "movie_title", "book_title", "item_title"),
    Role.CREATOR: ("creator_id", "creator", "author_id", "artist_id", "director", "author", "artist"),
    Role.PUBLISHED: ("published", "published_at", "release_date", "release_year", "created_at", "year"),
    Role.POPULARITY: ("popularity",),
}
"""Usual names of the item column with each role, the likeliest first."""
_TOPICS = ("genres", "categories", "genre", "category", "class", "tags", "topics")
"""Usual names of the column of an item's topics. Policies call it `genres`, so that one policy suits many data sets."""
_STATISTICS = ("last_seen", "mean_rating", "n_interactions")
"""User columns that are usually computed from the interactions."""


def schema(raw: RawData, *, name: str) -> tuple[Schema, tuple[str, ...]]:
    """Infers columns, types and roles; the notes name the renamed and the unread columns of each table.

    Raises UsageError where a table has no id column.
    """
    item, item_notes = _columns(raw.items, "item")
    user, user_notes = _columns(raw.users, "user")
    return Schema(name, with_computed(item), user), (*item_notes, *user_notes)


def _columns(table: RawTable, of: str) -> tuple[dict[str, ColumnSpec], list[str]]:
    key = next((n for n in (f"{of}_id", "id") if n in table.columns), None)
    if key is None:
        help = f'say which in schema.toml: id = {{ column = "...", type = "text", role = "id" }} under [{of}]'
        raise UsageError(f"no column `{of}_id` among {', '.join(table.columns)}", where=str(table.path), help=help)
    specs = {"id": ColumnSpec("id", Type.TEXT, role=Role.ID, source=key)}
    roles = _roles(table) if of == "item" else {}
    topics = next((n for n in _TOPICS if n in table.columns), None) if of == "item" else None
    notes, renamed = [], []
    for source, raw in table.columns.items():
        role = roles.get(source)
        if source == key:
            continue
        if role is Role.POPULARITY:
            notes.append(f"{table.path.name}: `{source}` is not read; popularity is counted from the interactions.")
            continue
        kind = Type.LIST if source == topics else ROLE_TYPES[role][0] if role else _type(table, source, raw)
        if kind is None:
            notes.append(f"{table.path.name}: `{source}` ({raw.type}) is of no type a policy can use and is not read.")
            continue
        name = role.value if role else "genres" if source == topics else source
        if name in specs or (name != source and name in table.columns):
            name = source
        if name != source:
            renamed.append(f"`{source}` is {of}.{name}")
        optional = raw.null_count > 0 or _has_blank(raw)
        separator = " " if table.format == "atomic" else "|"
        specs[name] = ColumnSpec(name, kind, optional, role, source, separator=separator)
    if statistics := [n for n in _STATISTICS if n in table.columns and of == "user"]:
        names = ", ".join(f"`{n}`" for n in statistics)
        notes.append(f"{table.path.name}: {names} may be counted over the whole period, the test part included.")
    if renamed:
        notes.insert(0, f"{table.path.name}: {', '.join(renamed)} (inferred; a schema.toml can say otherwise).")
    return specs, notes


def _roles(table: RawTable) -> dict[str, Role]:
    sources = {role: next((n for n in names if n in table.columns), None) for role, names in _ROLE_NAMES.items()}
    return {source: role for role, source in sources.items() if source is not None}


def _has_blank(raw: Array) -> bool:
    if pa.types.is_floating(raw.type):
        return bool(pc.any(pc.is_nan(raw)).as_py())
    return is_text(raw.type) and bool(pc.any(pc.equal(raw, "")).as_py())


# ---- types ----------------------------------------------------------------------------------------------------------

_DATE_NAME = re.compile(r"(first|last)_seen|.*(_at|_date|timestamp)")
_RATIO_NAME = re.compile(r".*_(rate|ratio|share)")
_FLAG_NAME = re.compile(r"(is|has)_.*")
_INT = r"^-?(0|[1-9]\d{0,14})$"
_FLOAT = r"^-?\d+(\.\d+)?([eE][-+]?\d+)?$"
_DATE = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"
_TRUTH = r"^(?i:true|false)$"
_UNIX_FROM = 1e8
"""Numbers in a date column are Unix seconds from 1973 on; a column with smaller numbers is something else."""
_FEW = 0.2
"""A column with fewer different words than this share of its rows holds categories, else free text."""


def _type(table: RawTable, name: str, raw: Array) -> Type | None:
    """The type of a column without a role; None where no type fits."""
    hint, kind = table.hints.get(name, ""), raw.type
    if hint == "float_seq":
        return None
    if hint == "token_seq":
        return Type.LIST
    if is_list(kind):
        return Type.LIST if is_text(kind.value_type) else None
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        return None
    if pa.types.is_boolean(kind):
        return Type.BOOL
    if pa.types.is_temporal(kind):
        return Type.DATE
    if pa.types.is_null(kind):
        return Type.CATEGORY
    return _text_type(table, name, raw) if is_text(kind) else _number_type(name, raw)


def _text_type(table: RawTable, name: str, raw: Array) -> Type:
    """A type of words, or another one that fits all of them; numbers only in formats that hold text alone."""
    known = raw.drop_null()
    known = known.filter(pc.not_equal(known, ""))
    if len(known) and _all(known, _DATE):
        return Type.DATE
    if len(known) and table.is_text:
        if _all(known, _TRUTH):
            return Type.BOOL
        whole = _all(known, _INT)
        if whole or (_all(known, _FLOAT) and not _all(known, r"^-?\d+$")):  # 007 is a word
            return _number_type(name, known.cast(pa.int64() if whole else pa.float64()))
    distinct = pc.count_distinct(known).as_py()
    return Type.CATEGORY if distinct <= max(50, _FEW * table.rows) else Type.TEXT


def _number_type(name: str, raw: Array) -> Type:
    bounds = pc.min_max(raw)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is None:
        return Type.FLOAT
    if _DATE_NAME.fullmatch(name) and low >= _UNIX_FROM:
        return Type.DATE
    if pa.types.is_integer(raw.type):
        return Type.BOOL if _FLAG_NAME.fullmatch(name) and low >= 0 and high <= 1 else Type.INT
    return Type.RATIO if _RATIO_NAME.fullmatch(name) and low >= 0 and high <= 1 else Type.FLOAT


def _all(known: Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(known, pattern)).as_py())
