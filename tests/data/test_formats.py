"""Checks that all table formats and RecBole's atomic files give the same data set, as documented."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import data
from recpolicy.dataset.columns import ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.schema import Role
from recpolicy.types import DAY, Type

Rows = Sequence[Mapping[str, Any]]

SCHEMA = """\
name = "shop"
[item]
title     = { type = "text", role = "title", optional = true }
genres    = { column = "tags", type = "list of category", optional = true }
creator   = { column = "creator_id", type = "category", role = "creator", optional = true }
published = { type = "date", role = "published", optional = true }
stars     = { type = "int", optional = true }
price     = { type = "float", optional = true }
refunds   = { type = "ratio", unit = "percent" }
delivery  = { type = "duration", unit = "day", optional = true }
on_sale   = { type = "bool", optional = true }
[user]
age       = { type = "int", optional = true }
"""
ITEMS: Rows = [
    dict(item_id="7", title="Tea, green", tags=["hot", "drink", "hot"], creator_id="c1", published="2020-03-01",
         stars=5, price=1.5, refunds=2.0, delivery=3.0, on_sale=True),
    dict(item_id="8", title=None, tags=["drink"], creator_id="c1", published="2019", stars=None,
         price=None, refunds=0.5, delivery=None, on_sale=False),
    dict(item_id="9", title='A "mug"', tags=None, creator_id=None, published="2018", stars=-3,
         price=2.25, refunds=100.0, delivery=0.5, on_sale=None),
]  # fmt: skip
USERS: Rows = [dict(user_id="a", age=30), dict(user_id="b", age=None)]
LOG: Rows = [
    dict(user_id="b", item_id="8", timestamp=50),
    dict(user_id="a", item_id="8", timestamp=30),
    dict(user_id="a", item_id="7", timestamp=10),
    dict(user_id="b", item_id="9", timestamp=20),
]


def write_csv(path: Path, rows: Rows) -> None:
    def cell(value: object) -> object:
        return "|".join(value) if isinstance(value, list) else "" if value is None else value

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([map(cell, row.values()) for row in rows])


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def folder(
    at: Path, kind: str, items: Rows = ITEMS, users: Rows = USERS, log: Rows = LOG, schema: str = SCHEMA
) -> Path:
    at.mkdir(parents=True, exist_ok=True)
    for name, rows in (("items", items), ("users", users), ("interactions", log)):
        WRITERS[kind](at / f"{name}.{kind}", rows)
    if schema:
        (at / "schema.toml").write_text(schema, encoding="utf-8")
    return at


def number(dataset: Dataset, name: str) -> list[float]:
    column = dataset.items.columns[name]
    assert isinstance(column, NumberColumn)
    return [float(value) for value in column.values]


def test_all_formats_give_equal_datasets(tmp_path: Path) -> None:
    read = {kind: data.open(folder(tmp_path / kind, kind)) for kind in WRITERS}
    assert len({dataset.digest for dataset in read.values()}) == 1


def test_columns_follow_schema_types(tmp_path: Path) -> None:
    dataset = data.open(folder(tmp_path, "csv"))
    assert dataset.item_ids == ("7", "8", "9")
    genres = dataset.items.columns["genres"]
    assert isinstance(genres, ListColumn)
    assert genres.words == ("drink", "hot")
    assert [genres.values.row(i).tolist() for i in range(3)] == [[1, 0], [0], []]
    assert genres.missing.tolist() == [False, False, True]
    creator = dataset.items.columns["creator"]
    assert isinstance(creator, WordColumn)
    assert (creator.words, creator.values.tolist()) == (("c1",), [0, 0, -1])
    on_sale = dataset.items.columns["on_sale"]
    assert isinstance(on_sale, TruthColumn)
    assert on_sale.values.tolist() == [2, 0, 1]
    np.testing.assert_equal(number(dataset, "stars"), [5, np.nan, -3])
    np.testing.assert_equal(number(dataset, "refunds"), [0.02, 0.005, 1.0])
    np.testing.assert_equal(number(dataset, "delivery"), [3 * DAY, np.nan, DAY / 2])
    start_2019 = 17_897 * DAY
    np.testing.assert_equal(number(dataset, "published"), [start_2019 + 425 * DAY, start_2019, start_2019 - 365 * DAY])


def test_popularity_and_creator_since_are_derived(tmp_path: Path) -> None:
    dataset = data.open(folder(tmp_path, "jsonl"))
    assert number(dataset, "popularity") == [1, 2, 1]
    np.testing.assert_equal(number(dataset, "creator_since"), [17_897 * DAY, 17_897 * DAY, np.nan])
    assert dataset.schema.item["age"].type is Type.DURATION
    assert "age" not in dataset.items.columns  # it depends on the row's own time


def test_empty_required_list_field_is_an_empty_list(tmp_path: Path) -> None:
    schema = SCHEMA.replace('"list of category", optional = true', '"list of category"')
    genres = data.open(folder(tmp_path, "csv", schema=schema)).items.columns["genres"]
    assert isinstance(genres, ListColumn)
    assert genres.missing.tolist() == [False, False, False]
    assert genres.values.lengths.tolist() == [2, 1, 0]


def test_interactions_are_sorted_by_user_and_time(tmp_path: Path) -> None:
    dataset = data.open(folder(tmp_path, "parquet"))
    assert dataset.start.tolist() == [0, 2, 4]
    assert dataset.item.tolist() == [0, 1, 2, 1]
    assert dataset.time.tolist() == [10, 30, 20, 50]


def test_equal_timestamps_are_shuffled_by_seed(tmp_path: Path) -> None:
    items = [{**ITEMS[0], "item_id": str(i)} for i in range(30)]
    log = [dict(user_id=u, item_id=str(i), timestamp=5) for u in "ab" for i in range(30)]
    at = folder(tmp_path, "csv", items=items, log=log)
    first, again, other = (data.open(at, seed=seed) for seed in (0, 0, 1))
    assert first.item.tolist() == again.item.tolist()
    assert first.item.tolist() != other.item.tolist()
    assert sorted(first.item[:30].tolist()) == list(range(30))
    assert first.item[:30].tolist() != list(range(30))
    assert first.item[:30].tolist() != first.item[30:].tolist()
    assert any("60 interactions share their time" in note for note in first.notes)


def test_order_column_sorts_without_timestamps(tmp_path: Path) -> None:
    log = [dict(user_id="a", item_id=i, order=o) for i, o in (("7", 2), ("8", 0), ("9", 1))]
    dataset = data.open(folder(tmp_path, "csv", log=log))
    assert dataset.item.tolist() == [1, 2, 0]
    assert np.isnan(dataset.time).all()
    assert dataset.schema.now == 17_897 * DAY + 425 * DAY  # the latest date published
    assert any("`now` is 2020-03-01" in note for note in dataset.notes)
    assert any("Users without an interaction: 1." in note for note in dataset.notes)
    rows = data.rows_at(dataset, np.array([0]), np.array([1]), 1, np.array([3]))
    assert rows.now.tolist() == [dataset.schema.now]


def test_order_column_sorts_with_partial_timestamps(tmp_path: Path) -> None:
    stamps = (None, None, 1_000, 2_000)
    items = [{**ITEMS[0], "item_id": str(i)} for i in range(4)]
    log = [dict(user_id="a", item_id=str(o), order=o, timestamp=t) for o, t in enumerate(stamps)]
    dataset = data.open(folder(tmp_path, "jsonl", items=items, log=log))
    np.testing.assert_equal(dataset.time, [np.nan, np.nan, 1000, 2000])
    cuts = np.arange(1, 5)
    rows = data.rows_at(dataset, np.zeros(4, np.int64), cuts, 1, np.full(4, 4))
    assert rows.now.tolist() == [1000, 1000, 1000, 2000]  # before the first stamp: that stamp


def test_schema_argument_overrides_folder_schema(tmp_path: Path) -> None:
    from recpolicy.schema import parse

    at = folder(tmp_path, "csv", schema="this is not TOML")
    dataset = data.open(at, parse(SCHEMA, where="given", name="given"))
    assert dataset.name == "shop"


def test_unread_columns_are_noted(tmp_path: Path) -> None:
    dataset = data.open(folder(tmp_path, "csv", schema="[item]\n[user]\n"))
    assert "items.csv: not in the schema, so not read: title, tags, creator_id, published" in dataset.notes[0]


# ---- without a schema -----------------------------------------------------------------------------------------------

INFERRED: Rows = [
    dict(item_id=str(i), title=f"T{i}", categories=["a", "b"], creator_id=f"c{i % 3}", published="2020", popularity=9,
         published_year=2020, updated_at=1_600_000_000 + i, is_ad=i % 2, report_rate=0.25, label="x", code=f"00{i}",
         added="2021-05-06")
    for i in range(6)
]  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
def test_types_and_roles_are_inferred_in_every_format(kind: str, tmp_path: Path) -> None:
    log = [dict(user_id="a", item_id="1", timestamp=1)]
    dataset = data.open(folder(tmp_path / "shop", kind, items=INFERRED, log=log, schema=""))
    assert {name: spec.type for name, spec in dataset.schema.item.items()} == {
        "id": Type.TEXT,
        "title": Type.TEXT,
        "genres": Type.LIST,
        "creator": Type.CATEGORY,
        "published": Type.DATE,
        "published_year": Type.INT,
        "updated_at": Type.DATE,
        "is_ad": Type.BOOL,
        "report_rate": Type.RATIO,
        "label": Type.CATEGORY,
        "code": Type.CATEGORY,
        "added": Type.DATE,
        "popularity": Type.INT,
        "creator_since": Type.DATE,
        "age": Type.DURATION,
    }
    assert {role: spec.name for role in Role if (spec := dataset.schema.with_role(role))} == {
        Role.ID: "id",
        Role.TITLE: "title",
        Role.CREATOR: "creator",
        Role.PUBLISHED: "published",
        Role.POPULARITY: "popularity",
    }
    assert number(dataset, "popularity") == [0, 1, 0, 0, 0, 0]
    assert any("`popularity` is not read" in note for note in dataset.notes)
    assert any("`categories` is item.genres" in note for note in dataset.notes)


def test_recbole_knowledge_graph_is_read(tmp_path: Path) -> None:
    files = {
        "item": "item_id:token\tname:token_seq\tgenre:token_seq\tscore:float\tvector:float_seq\n"
        "1\tHeat\tCrime Drama\t0.5\t1 2\n2\tAlien\tHorror\t1.5\t2 3\n3\tTron\t\t2.5\t0 0\n",
        "user": "user_id:token\tage:token\tzip_code:token\n5\t24\t01234\n",
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n5\t2\t3\t20\n5\t1\t4\t10\n",
        "kg": "head_id:token\trelation_id:token\ttail_id:token\nm1\tfilm.film.directed_by\tmann\n"
        "m1\tfilm.film.directed_by\tother\nscott\tfilm.director.film\tm2\nm3\tfilm.film.genre\tsf\n",
        "link": "item_id:token\tentity_id:token\n1\tm1\n2\tm2\n3\tm3\n",
    }
    for ending, text in files.items():
        (tmp_path / f"films.{ending}").write_text(text, encoding="utf-8")
    dataset = data.open(tmp_path)
    creator = dataset.items.columns["creator"]
    assert isinstance(creator, WordColumn)
    assert [creator.words[c] if c >= 0 else None for c in creator.values] == ["mann", "scott", None]
    genres = dataset.items.columns["genres"]
    assert isinstance(genres, ListColumn)
    assert genres.words == ("Crime", "Drama", "Horror")
    assert genres.values.lengths.tolist() == [2, 1, 0]
    assert dataset.schema.item["title"].role is Role.TITLE
    assert dataset.schema.item["score"].type is Type.FLOAT
    assert dataset.schema.user["age"].type is Type.INT
    assert dataset.schema.user["zip_code"].type is Type.CATEGORY
    assert dataset.item.tolist() == [0, 1]
    assert any("`vector`" in note for note in dataset.notes)


def test_byte_order_mark_and_crlf_are_read(tmp_path: Path) -> None:
    plain = data.open(folder(tmp_path / "plain", "csv"))
    other = folder(tmp_path / "other", "csv")
    for path in other.glob("*.csv"):
        lines = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + lines)
    assert data.open(other).digest == plain.digest


def test_simulator_refuses_other_schema() -> None:
    from recpolicy.schema import Schema

    with pytest.raises(UsageError, match="own schema"):
        data.open("simulator", Schema("mine"))
