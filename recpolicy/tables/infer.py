"""Infers the schema of raw tables that have no `schema.toml`, with notes on the names it chooses."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.dataset.columns import Floats
from recpolicy.errors import UsageError
from recpolicy.schema import ROLE_TYPES, ColumnSpec, Role, Schema, with_computed
from recpolicy.tables.problems import shown
from recpolicy.tables.reading import Array, RawTable, is_list, is_text
from recpolicy.tables.source import RawData
from recpolicy.tables.values.dates import compact
from recpolicy.tables.values.lists import any_empty, literals
from recpolicy.tables.values.words import stated
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
_NO_TOPICS = ("(no genres listed)",)
"""What MovieLens writes for an item without a topic."""
_PLURALS = {Type.DATE: "dates", Type.BOOL: "true or false"} | dict.fromkeys(
    (Type.INT, Type.FLOAT, Type.RATIO, Type.CATEGORY, Type.TEXT), "numbers"
)
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
    for source, reason in table.unreadable.items():
        notes.append(f"{table.path.name}: `{source}` is not read: {reason}.")
    for source, raw in table.columns.items():
        role = roles.get(source)
        if source == key:
            continue
        if role is Role.POPULARITY:
            notes.append(f"{table.path.name}: `{source}` is not read; popularity is counted from the interactions.")
            continue
        found = guess(source, raw, table.hints.get(source, ""))
        if found.type is None:
            notes.append(f"{table.path.name}: `{source}` ({raw.type}) is of no type a policy can use and is not read.")
            continue
        kind = Type.LIST if source == topics else ROLE_TYPES[role][0] if role else found.type
        name = role.value if role else "genres" if source == topics else source
        if name in specs or (name != source and name in table.columns):
            name = source
        if name != source:
            renamed.append(f"`{source}` is {of}.{name}")
        missing = _NO_TOPICS if source == topics and _has(raw, _NO_TOPICS) else ()
        if found.row is not None and kind is found.type:
            what = f"has {shown(raw[found.row].as_py())} in {table.row_name(found.row)}, read as missing"
            notes.append(f"{table.path.name}: `{source}` {what}: all other values are {_PLURALS[kind]}.")
        specs[name] = ColumnSpec(
            name,
            kind,
            optional=found.blank or found.row is not None or bool(missing) or (kind is Type.LIST and any_empty(raw)),
            role=role,
            source=source,
            missing=missing,
            separator=" " if table.format == "atomic" and kind is Type.LIST else None,
        )
    if statistics := [n for n in _STATISTICS if n in table.columns and of == "user"]:
        names = ", ".join(f"`{n}`" for n in statistics)
        notes.append(f"{table.path.name}: {names} may be counted over the whole period, the test part included.")
    if renamed:
        notes.insert(0, f"{table.path.name}: {', '.join(renamed)} (inferred; a schema.toml can say otherwise).")
    return specs, notes


def _roles(table: RawTable) -> dict[str, Role]:
    sources = {role: next((n for n in names if n in table.columns), None) for role, names in _ROLE_NAMES.items()}
    return {source: role for role, source in sources.items() if source is not None}


def _has(raw: Array, values: tuple[str, ...]) -> bool:
    return is_text(raw.type) and bool(pc.any(pc.is_in(raw, value_set=pa.array(values))).as_py())


# ---- types ----------------------------------------------------------------------------------------------------------

_DATE_NAME = re.compile(r"(first|last)_seen|(.*_)?date|.*(_at|timestamp)")
_RATIO_NAME = re.compile(r".*_(rate|ratio|share)")
_FLAG_NAME = re.compile(r"(is|has)_.*")
_NUMBER = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$"
"""007 is a word."""
_DATE = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"
_TRUTH = r"^(?i:true|false)$"
_UNIX_FROM = 1e8
"""Numbers in a date column are Unix seconds from 1973 on; a column with smaller numbers is something else."""
_NO_QUANTITY = 1e15
"""Whole numbers from here on are ids."""
_FEW = 0.2
"""A column with fewer different words than this share of its rows holds categories, else free text."""


@dataclass(frozen=True)
class Guess:
    """The type that fits all values of a column, None where no type does."""

    type: Type | None
    blank: bool = False
    """True where some value is missing."""
    row: int | None = None
    """The first row with a word such as `NA` that is read as missing, since all others are of another type."""


def guess(name: str, raw: Array, hint: str = "") -> Guess:
    """Guesses the type of a column from its name, its values and RecBole's `hint`, alike in every format."""
    kind = raw.type
    blank = raw.null_count > 0
    if hint == "float_seq":
        return Guess(None)
    if hint == "token_seq":
        return Guess(Type.LIST, any_empty(raw))
    if is_list(kind):
        readable = is_text(kind.value_type) or pa.types.is_null(kind.value_type)
        return Guess(Type.LIST if readable else None, any_empty(raw))
    if pa.types.is_boolean(kind):
        return Guess(Type.BOOL, blank)
    if pa.types.is_temporal(kind):
        return Guess(Type.DATE, blank)
    if pa.types.is_null(kind):
        return Guess(Type.CATEGORY, blank)
    if is_text(kind):
        return _of_texts(name, raw, blank or bool(pc.any(pc.equal(raw, "")).as_py()))
    values = np.asarray(raw.cast(pa.float64(), safe=False).fill_null(np.nan))
    known = values[~np.isnan(values)]
    return Guess(_of_numbers(name, known, whole=pa.types.is_integer(kind)), len(known) < len(values))


def _of_texts(name: str, raw: Array, blank: bool) -> Guess:
    """A type of words, or another one that fits all texts but those that say that there is no value."""
    filled = pc.fill_null(pc.not_equal(raw, ""), False)
    known = raw.filter(filled)
    trimmed = stated(raw)
    values = trimmed.drop_null()
    unstated = np.flatnonzero(np.asarray(pc.and_(filled, trimmed.is_null())))
    row = int(unstated[0]) if len(unstated) else None
    if len(values):
        if _all(values, _DATE):
            return Guess(Type.DATE, blank, row)
        if _all(values, _TRUTH):
            return Guess(Type.BOOL, blank, row)
        if _all(values, _NUMBER):
            whole = _all(values, r"^-?\d+$")
            return Guess(_of_numbers(name, np.asarray(values.cast(pa.float64())), whole=whole), blank, row)
    if len(known) and literals(known).all():
        return Guess(Type.LIST, any_empty(raw))
    distinct = pc.count_distinct(known).as_py()
    return Guess(Type.CATEGORY if distinct <= max(50, _FEW * len(raw)) else Type.TEXT, blank)


def _of_numbers(name: str, known: Floats, *, whole: bool) -> Type:
    if not len(known):
        return Type.FLOAT
    low, high = float(known.min()), float(known.max())
    if _DATE_NAME.fullmatch(name) and (low >= _UNIX_FROM or bool(compact(known).all())):
        return Type.DATE
    if whole and max(-low, high) >= _NO_QUANTITY:
        return Type.CATEGORY if len(np.unique(known)) <= max(50, _FEW * len(known)) else Type.TEXT
    if whole:
        return Type.BOOL if _FLAG_NAME.fullmatch(name) and low >= 0 and high <= 1 else Type.INT
    return Type.RATIO if _RATIO_NAME.fullmatch(name) and low >= 0 and high <= 1 else Type.FLOAT


def _all(known: Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(known, pattern)).as_py())
