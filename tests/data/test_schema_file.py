"""Checks `schema.toml` files: the documented example loads, and each mistake names file and key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recpolicy import schema
from recpolicy.errors import UsageError
from recpolicy.schema import ColumnSpec, Derived, InteractionColumns, Role, Schema, builtin, parse
from recpolicy.types import DAY, UNITS, Type

DOCS = Path(__file__).parents[2] / "docs" / "schema.md"


def read(text: str) -> Schema:
    return parse(text, where="schema.toml", name="shop")


def test_documented_example_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    path = tmp_path / "schema.toml"
    path.write_text(example[1], encoding="utf-8")
    loaded = schema.load(path)
    assert (loaded.name, loaded.now) == ("shop", 19_844 * DAY)
    assert loaded.interactions == InteractionColumns(
        "customer", "sku", "bought_at", None, unit=0.001, positive="rating >= 4"
    )
    assert loaded.item["id"] == ColumnSpec("id", Type.TEXT, role=Role.ID, source="sku")
    assert loaded.item["debut"].derived is Derived.CREATOR_SINCE
    assert loaded.item["debut"].optional  # as the creator and the date are
    assert "creator_since" not in loaded.item  # it has another name here
    assert (loaded.item["report_rate"].unit, loaded.item["delivery"].unit) == (0.01, DAY)
    assert loaded.item["price"] == ColumnSpec("price", Type.FLOAT, source="price")
    assert loaded.item["age"].derived is Derived.AGE
    assert loaded.user["last_seen"].unit == 0.001


def test_types_roles_and_units_are_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for word in (*(t.value for t in Type), *(r.value for r in Role), *UNITS, "percent"):
        assert f"`{word}`" in text, word


@pytest.mark.parametrize("name", schema.BUILTIN)
def test_shipped_schemas_load(name: str) -> None:
    shipped = builtin(name)
    assert shipped and shipped.name == name
    assert {
        "id",
        "title",
        "genres",
        "creator",
        "published",
        "popularity",
        "creator_since",
        "age",
    } <= shipped.item.keys()
    assert builtin("ml-1m") is None


def test_empty_schema_has_default_id_columns() -> None:
    small = read("")
    assert small.item["id"].source == "item_id" and small.user["id"].source == "user_id"
    assert list(small.item) == ["id", "popularity"]


def test_stored_column_overrides_derived_column() -> None:
    declared = read(
        '[item]\nage = "int"\nfame = { role = "popularity" }\npublished = { type = "date", role = "published" }'
    )
    assert declared.item["age"] == ColumnSpec("age", Type.INT, source="age")
    assert declared.with_role(Role.POPULARITY) == declared.item["fame"]
    assert "popularity" not in declared.item


def test_now_accepts_time_and_time_zone() -> None:
    assert read("now = 1970-01-02").now == DAY
    assert read("now = 1970-01-01T01:00:00").now == 3600
    assert read("now = 1970-01-01T01:00:00+01:00").now == 0


MISTAKES = {
    "items = 1": ("items", "unknown key `items`", "did you mean `item`?"),
    "item = 1": ("item", "`item` is a table, not a number", "write [item]"),
    'now = "2024-05-01"': ("now", "`now` is a date, not a text", "no quotes"),
    "name = 7": ("name", "`name` is a text in quotes", ""),
    '[item]\nstars = "integer"': ("item.stars.type", 'unknown type "integer"', "allowed: bool, int"),
    '[item]\nstars = "itn"': ("item.stars.type", 'unknown type "itn"', "did you mean `int`?"),
    "[item]\nstars = 5": ("item.stars", "a column is a type in quotes", 'write stars = "int"'),
    "[item]\nstars = {}": ("item.stars.type", "this column has no type", "one of: bool"),
    '[item]\nx = { type = "int", optinal = true }': ("item.x.optinal", "unknown key", "did you mean `optional`?"),
    '[item]\nx = { type = "int", optional = 1 }': ("item.x.optional", "true or false, not a number", ""),
    '[item]\nx = { type = "int", role = "creator" }': ("item.x.type", "cannot be int", 'write type = "category"'),
    '[item]\nx = { type = "text", role = "tilte" }': ("item.x.role", 'unknown role "tilte"', "did you mean `title`?"),
    '[item]\na = { type = "text", role = "title" }\nb = { type = "text", role = "title" }': (
        "item.b",
        "already held by `a`",
        "one column",
    ),
    '[item]\nid = "text"': ("item.id", "this column needs its role", 'role = "id"'),
    '[item]\nid = { type = "text", role = "id", optional = true }': ("item.id.optional", "never missing", "leave"),
    '[user]\nx = { type = "text", role = "title" }': ("user.x.role", "a user column cannot", "only `id`"),
    '[item]\nx = "duration"': ("item.x.unit", "a duration needs its unit", "millisecond, second, minute"),
    '[item]\nx = { type = "duration", unit = "days" }': ("item.x.unit", 'unknown unit "days"', "did you mean `day`?"),
    '[item]\nx = { type = "int", unit = "day" }': ("item.x.unit", "int has no unit", "duration"),
    '[item]\nx = { type = "int", separator = ";" }': ("item.x.separator", "is for list of category", ""),
    '[item]\nx = { type = "int", missing = "?" }': ("item.x.missing", "a list of texts", "missing = ["),
    '[item]\nx = { derived = "time since published" }': ("item.x", "no column has the role `published`", "add role"),
    '[item]\nx = { derived = "yesterday" }': ("item.x.derived", 'unknown derived "yesterday"', "allowed: first"),
    '[user]\nx = { derived = "time since published" }': ("user.x.derived", "belongs to [item]", ""),
    '[item]\nx = { role = "popularity", column = "n" }': ("item.x.role", "counted from the interactions", "write {"),
    '[item]\npopularity = "int"': ("item.popularity", "counted from the interactions", "another name"),
    '[interactions]\ntimestamp = "t"': ("interactions.timestamp", "unknown key", "allowed: user, item, time, order"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistake_names_file_and_key(text: str) -> None:
    key, message, help = MISTAKES[text]
    with pytest.raises(UsageError) as caught:
        read(text)
    assert caught.value.where == f"schema.toml, key {key}"
    assert message in caught.value.message
    assert help in caught.value.help


def test_unreadable_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the schema: No such file"):
        schema.load(tmp_path / "none.toml")
    path = tmp_path / "schema.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(UsageError, match="byte 9 is not UTF-8"):
        schema.load(path)
    path.write_text("[item\n")
    with pytest.raises(UsageError, match=r"not valid TOML: .*line 1"):
        schema.load(path)


def test_schema_loads_without_numpy() -> None:
    code = "import sys; from recpolicy.schema import builtin; builtin('ml-100k'); assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
