"""Reads `schema.toml`: the columns that a policy may name. It needs neither NumPy nor the data."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import NoReturn, TypeVar

from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.types import UNITS, Type


class Role(Enum):
    """The purpose of a column; at most one column of a table has each role."""

    ID = "id"
    TITLE = "title"
    CREATOR = "creator"
    PUBLISHED = "published"
    POPULARITY = "popularity"
    """Number of different users who took the item; always counted again on the training part."""


class Derived(Enum):
    """The way to compute a column that is in no file."""

    CREATOR_SINCE = "first published of creator"
    AGE = "time since published"
    """Evaluated per row against `now`: the checker rewrites it to `now - <published column>`."""


@dataclass(frozen=True)
class ColumnSpec:
    """One column as the language sees it.

    `source` is the column's name in the data file (None for a derived column and for popularity, which is counted).
    `unit` is the stored value of 1 in the file (a duration in days: 86400; a ratio in percent: 0.01).
    `missing` lists the words that mean "unknown" in the file; `separator` splits a list that is written as text, and is
    found in the column where it is None.
    """

    name: str
    type: Type
    optional: bool = False
    role: Role | None = None
    source: str | None = None
    derived: Derived | None = None
    unit: float = 1.0
    missing: tuple[str, ...] = ()
    separator: str | None = None


@dataclass(frozen=True)
class InteractionColumns:
    """The columns of the interactions file, and what a row of it means; a column that is None has a usual name."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = None
    order: str | None = None
    unit: float = 1.0
    """Seconds that 1 stands for in a column of times that holds numbers."""
    positive: str | None = None
    """A condition over the file's columns: rows that meet it are taken items, the others were shown only."""
    event: str | None = None
    """The column with the kind of each event."""
    weight: str | None = None
    """A number over the file's columns: how much a taken item counts in training."""
    repeatable: bool = False
    """True where a user may be shown again what the user has taken."""


@dataclass(frozen=True)
class Schema:
    """The columns of a data set by their names in policies, and the time to use for data without time stamps."""

    name: str
    item: Mapping[str, ColumnSpec] = field(default_factory=dict)
    user: Mapping[str, ColumnSpec] = field(default_factory=dict)
    now: float | None = None
    """Seconds since 1970-01-01 UTC, or None where the interactions have time stamps."""
    interactions: InteractionColumns = field(default_factory=InteractionColumns)
    queries: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The query for each table of a database that is not read as it is: a way to the data, and no part of them."""

    def with_role(self, role: Role) -> ColumnSpec | None:
        """Returns the item column with the role, or None."""
        return _holder(self.item, role)


BUILTIN = ("ml-100k", "simulator")
"""The data sets with a name and a shipped schema. Their names come before folders of the same name."""


def builtin(name: str) -> Schema | None:
    """Returns the schema of a shipped data set, or None for any other name."""
    if name not in BUILTIN:
        return None
    text = (resources.files("recpolicy") / "data" / f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, where=f"{name}.toml", name=name)


def load(path: Path) -> Schema:
    """Reads a `schema.toml` (docs/schema.md). The data set has the name of its folder unless the file names it.

    Raises UsageError with the file and the key for a file that cannot be read or has an impossible value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise UsageError(f"byte {e.start + 1} is not UTF-8", where=str(path), help="save the file as UTF-8") from None
    except OSError as e:
        raise UsageError(f"cannot read the schema: {e.strerror}", where=str(path)) from None
    return parse(text, where=str(path), name=path.resolve().parent.name)


def parse(text: str, *, where: str, name: str) -> Schema:
    """Parses a schema. `where` is its place for messages; `name` is the data set's name unless the text has one."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise UsageError(f"not valid TOML: {e}", where=where) from None
    top = _Section(document, where, "")
    top.only("name", "now", "item", "user", "interactions", "sql")
    item = _columns(top.section("item"), "item")
    log = top.section("interactions")
    log.only("user", "item", "time", "order", "unit", "positive", "event", "weight", "repeatable")
    sql = top.section("sql")
    sql.only("items", "users", "interactions")
    return Schema(
        name=top.text("name") or name,
        item=with_computed(item),
        user=_columns(top.section("user"), "user"),
        now=top.moment("now"),
        interactions=InteractionColumns(
            user=log.text("user") or "user_id",
            item=log.text("item") or "item_id",
            time=log.text("time"),
            order=log.text("order"),
            unit=_unit(log, Type.DATE),
            positive=log.text("positive"),
            event=log.text("event"),
            weight=log.text("weight"),
            repeatable=log.flag("repeatable"),
        ),
        queries={key: query for key in sql.values if (query := sql.text(key)) is not None},
    )


def with_computed(item: Mapping[str, ColumnSpec]) -> dict[str, ColumnSpec]:
    """Adds the columns that can be computed and are not declared: `popularity`, `creator_since` and `age`.

    A column of the file that already has the name keeps it.
    """
    columns = dict(item)
    published, creator = _holder(item, Role.PUBLISHED), _holder(item, Role.CREATOR)
    declared = {c.derived for c in item.values()}
    if not _holder(item, Role.POPULARITY):
        columns.setdefault("popularity", ColumnSpec("popularity", Type.INT, role=Role.POPULARITY))
    if published and creator and Derived.CREATOR_SINCE not in declared:
        columns.setdefault("creator_since", _derived("creator_since", Derived.CREATOR_SINCE, published, creator))
    if published and Derived.AGE not in declared:
        columns.setdefault("age", _derived("age", Derived.AGE, published))
    return columns


def _holder(columns: Mapping[str, ColumnSpec], role: Role) -> ColumnSpec | None:
    return next((c for c in columns.values() if c.role is role), None)


def _derived(name: str, derived: Derived, *parents: ColumnSpec) -> ColumnSpec:
    kind = Type.DURATION if derived is Derived.AGE else Type.DATE
    return ColumnSpec(name, kind, optional=any(p.optional for p in parents), derived=derived)


# ---- reading the file -----------------------------------------------------------------------------------------------

ROLE_TYPES = {
    Role.ID: (Type.TEXT, Type.CATEGORY),
    Role.TITLE: (Type.TEXT,),
    Role.CREATOR: (Type.CATEGORY,),
    Role.PUBLISHED: (Type.DATE,),
    Role.POPULARITY: (Type.INT,),
}
"""The types that a column with each role may have, the usual one first."""
_KEYS = ("column", "type", "role", "optional", "unit", "missing", "separator", "derived")
_UNITS: Mapping[Type, Mapping[str, float]] = {
    Type.DURATION: {"millisecond": 0.001, **UNITS},
    Type.DATE: {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "nanosecond": 1e-9},
    Type.RATIO: {"percent": 0.01},
}
_SHORT_UNITS = {"s": "second", "ms": "millisecond", "us": "microsecond", "ns": "nanosecond", "%": "percent"}
_NEEDS = {Derived.CREATOR_SINCE: (Role.PUBLISHED, Role.CREATOR), Derived.AGE: (Role.PUBLISHED,)}
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class _Section:
    """One TOML table and its dotted key, so that every message can name the place."""

    values: Mapping[str, object]
    file: str
    path: str

    def at(self, key: str) -> str:
        """Returns the dotted key of a value in this table."""
        return f"{self.path}.{key}" if self.path else key

    def fail(self, key: str, message: str, help: str = "") -> NoReturn:
        """Raises UsageError with the file and the dotted key."""
        raise UsageError(message, where=f"{self.file}, key {self.at(key)}", help=help)

    def only(self, *allowed: str) -> None:
        """Checks that the table has no other keys."""
        for key in self.values:
            if key not in allowed:
                self.fail(key, f"unknown key `{key}`", _suggest(key, allowed))

    def section(self, key: str) -> _Section:
        """Returns the table at a key; an empty one where the key is absent."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"`{key}` is a table, not {_kind(value)}", f"write [{self.at(key)}] on a line of its own")
        return _Section(value, self.file, self.at(key))

    def text(self, key: str) -> str | None:
        """Returns the text at a key, which is not empty, or None."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            self.fail(key, f"`{key}` is a text in quotes, not {_kind(value)}")
        return value

    def flag(self, key: str) -> bool:
        """Returns the truth value at a key; False where the key is absent."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, f"`{key}` is true or false, not {_kind(value)}")
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """Returns the list of texts at a key; none where the key is absent."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.fail(key, f"`{key}` is a list of texts, not {_kind(value)}", f'write {key} = ["unknown"]')
        return tuple(value)

    def moment(self, key: str) -> float | None:
        """Returns the date at a key as seconds since 1970-01-01 UTC, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, datetime.date):  # a datetime is a date too
            whole = value if isinstance(value, datetime.datetime) else datetime.datetime.combine(value, datetime.time())
            return (whole if whole.tzinfo else whole.replace(tzinfo=datetime.UTC)).timestamp()
        self.fail(key, f"`{key}` is a date, not {_kind(value)}", f"write {key} = 2024-05-01 (no quotes)")


def _columns(table: _Section, of: str) -> dict[str, ColumnSpec]:
    """The columns of [item] or [user], the id first; `[of]_id` is the id where none is declared."""
    specs = {name: _column(table, name, of) for name in table.values}
    for role in Role:
        holders = [c.name for c in specs.values() if c.role is role]
        if len(holders) > 1:
            table.fail(holders[1], f"role `{role.value}` is already held by `{holders[0]}`", "leave it to one column")
    for name, spec in specs.items():
        if spec.derived:
            parents = [
                _holder(specs, role)
                or table.fail(name, f"no column has the role `{role.value}`", f'add role = "{role.value}" to one')
                for role in _NEEDS[spec.derived]
            ]
            specs[name] = _derived(name, spec.derived, *parents)
    if of == "item" and "popularity" in specs and specs["popularity"].role is not Role.POPULARITY:
        help = 'write popularity = { role = "popularity" }, or give the column of the file another name'
        table.fail("popularity", "popularity is counted from the interactions, not read", help)
    if not _holder(specs, Role.ID):
        if "id" in specs:
            table.fail("id", "this column needs its role", 'add role = "id", or give another column that role')
        specs = {"id": ColumnSpec("id", Type.TEXT, role=Role.ID, source=f"{of}_id"), **specs}
    return specs


def _column(table: _Section, name: str, of: str) -> ColumnSpec:
    value = table.values[name]
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict):
        table.fail(name, f"a column is a type in quotes or a table, not {_kind(value)}", f'write {name} = "int"')
    spec = _Section(value, table.file, table.at(name))
    spec.only(*_KEYS)
    if "derived" in value:
        derived = _choice(spec, "derived", Derived)
        if of == "user" or len(value) > 1:
            spec.fail("derived", "a derived column belongs to [item] and has no other key")
        return ColumnSpec(name, Type.DATE, derived=derived)
    role = _choice(spec, "role", Role) if "role" in value else None
    if role is Role.POPULARITY:
        if set(value) - {"role", "type"}:
            spec.fail("role", "popularity is counted from the interactions, not read", 'write { role = "popularity" }')
        if of == "item":
            return ColumnSpec(name, Type.INT, role=role)
    if role and of == "user" and role is not Role.ID:
        spec.fail("role", f"a user column cannot have the role `{role.value}`", "only `id` stands in [user]")
    if "type" not in value:
        spec.fail("type", "this column has no type", "one of: " + ", ".join(t.value for t in Type))
    kind = _choice(spec, "type", Type)
    if role and kind not in ROLE_TYPES[role]:
        allowed = " or ".join(t.value for t in ROLE_TYPES[role])
        spec.fail("type", f"the {role.value} column cannot be {kind.value}", f'write type = "{allowed}"')
    if role is Role.ID and spec.flag("optional"):
        spec.fail("optional", "an id is never missing", "leave `optional` out")
    if "separator" in value and kind is not Type.LIST:
        spec.fail("separator", f"`separator` is for list of category, not {kind.value}")
    return ColumnSpec(
        name,
        kind,
        optional=spec.flag("optional"),
        role=role,
        source=spec.text("column") or name,
        unit=_unit(spec, kind),
        missing=spec.words("missing"),
        separator=spec.text("separator"),
    )


def _unit(spec: _Section, kind: Type) -> float:
    unit, allowed = spec.text("unit"), _UNITS.get(kind, {})
    if unit is None:
        if kind is Type.DURATION:
            spec.fail("unit", "a duration needs its unit", 'write unit = "day" (or: ' + ", ".join(allowed) + ")")
        return 1.0
    if not allowed:
        spec.fail("unit", f"{kind.value} has no unit", "`unit` is for duration, ratio and date")
    unit = _SHORT_UNITS.get(unit, unit)
    if unit not in allowed:
        spec.fail("unit", f'unknown unit "{unit}" of {kind.value}', _suggest(unit, tuple(allowed)))
    return allowed[unit]


def _choice(spec: _Section, key: str, options: type[E]) -> E:
    value = spec.text(key)
    try:
        return options(value)
    except ValueError:
        spec.fail(key, f'unknown {key} "{value}"', _suggest(value or "", [str(o.value) for o in options]))


def _suggest(word: str, allowed: Sequence[str]) -> str:
    close = near(word, allowed)
    return (f"did you mean `{close}`? " if close else "") + "allowed: " + ", ".join(allowed)


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return names.get(type(value), "a date")
