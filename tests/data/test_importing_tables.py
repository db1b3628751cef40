"""`recpolicy data import`: tables that are there already keep their data; what cannot be read is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import data
from tests.command import recpolicy
from tests.data.imports import imported, lines, lists, movielens_1m, refused, texts

Rows = Sequence[Mapping[str, Any]]

# ---- tables that are there already ----------------------------------------------------------------------------------

ITEMS = pa.table({"item_id": ["01", "02", "03"], "title": ["Tea, green", "Mug", "Pot"], "price": [1.5, 2.0, None],
                  "tags": ["a|b", "b", ""], "made": ["2024-01-01", "2024-02-01", "2023-05-01"]})  # fmt: skip
USERS = pa.table({"user_id": ["a", "b"], "age": [30, 41]})
LOG = pa.table(
    {
        "user_id": ["a", "a", "a", "b", "b", "b"],
        "item_id": ["01", "02", "03", "03", "01", "02"],
        "timestamp": [4e8, 5e8, 6e8, 7e8, 8e8, 9e8],
    }
)
TABLES = {"items": ITEMS, "users": USERS, "interactions": LOG}


def as_csv(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    texts(
        folder,
        {
            f"{name}.csv": lines([table.column_names], ",")
            + "".join(
                ",".join("" if value is None else f'"{value}"' for value in row.values()) + "\n"
                for row in table.to_pylist()
            )
            for name, table in tables.items()
        },
    )


def as_recbole(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    endings = {"items": "item", "users": "user", "interactions": "inter"}
    hints = {"tags": "token_seq", "title": "token_seq", "price": "float", "timestamp": "float", "age": "float"}
    files = {}
    for name, table in tables.items():
        head = [f"{column}:{hints.get(column, 'token')}" for column in table.column_names]
        body = [["" if v is None else str(v).replace("|", " ") for v in row.values()] for row in table.to_pylist()]
        files[f"shop.{endings[name]}"] = lines([head, *body], "\t")
    texts(folder, files)


def as_database(path: Path, tables: Mapping[str, pa.Table]) -> None:
    with duckdb.connect(path) as connection:
        for name, table in tables.items():
            connection.register("given", table)
            connection.execute(f"CREATE TABLE {name} AS FROM given")


def test_a_plain_folder_keeps_its_data(tmp_path: Path) -> None:
    as_csv(tmp_path / "shop" / "out", TABLES)
    said, dataset = imported(tmp_path, "shop/out")
    assert "shop/out: a data folder" in said
    assert dataset.digest == data.open(tmp_path / "shop" / "out").digest
    stored = pq.read_table(tmp_path / "out" / "items.parquet")
    assert [str(kind) for kind in stored.schema.types] == ["string", "string", "double", "string", "date32[day]"]


def test_a_schema_is_kept_as_it_is(tmp_path: Path) -> None:
    renamed = {**TABLES, "items": ITEMS.rename_columns(["sku", "title", "price", "tags", "made"])}
    as_csv(tmp_path / "shop", renamed)
    schema = 'name = "shop" # mine\n[item]\nid = { column = "sku", type = "text", role = "id" }\ntitle = "text"\n'
    (tmp_path / "shop" / "schema.toml").write_text(schema, encoding="utf-8")
    said, dataset = imported(tmp_path, "shop")
    assert "schema.toml: as it was" in said
    assert (tmp_path / "out" / "schema.toml").read_text("utf-8") == schema
    assert dataset.digest == data.open(tmp_path / "shop").digest


def test_recbole_files_are_imported_with_their_lists_and_without_users(tmp_path: Path) -> None:
    as_recbole(tmp_path / "shop" / "out", TABLES)
    said, dataset = imported(tmp_path, "shop/out")
    assert "RecBole atomic files" in said
    assert dataset.digest == data.open(tmp_path / "shop" / "out").digest
    assert lists(dataset, "genres") == [["a", "b"], ["b"], None]
    (tmp_path / "out").rename(tmp_path / "before")
    (tmp_path / "shop" / "out" / "shop.user").unlink()
    said, dataset = imported(tmp_path, "shop/out")
    assert "No table of users" in said and dataset.user_ids == ("a", "b")


def test_a_database_is_imported(tmp_path: Path) -> None:
    as_database(tmp_path / "out.db", TABLES)
    said, dataset = imported(tmp_path, "duckdb:out.db")
    assert "the DuckDB database out.db" in said
    assert dataset.digest == data.open(f"duckdb:{tmp_path / 'out.db'}").digest


def test_a_column_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    as_csv(tmp_path / "shop", {name: table for name, table in TABLES.items() if name != "items"})
    structs = pa.array([{"w": 1}] * 3)
    pq.write_table(ITEMS.append_column("size", structs), tmp_path / "shop" / "items.parquet")
    said, _ = imported(tmp_path, "shop")
    assert "items.parquet: left out the column `size`: struct<w: int64>" in said
    assert pq.read_schema(tmp_path / "out" / "items.parquet").names == ITEMS.column_names


def test_other_names_of_ids_are_found_and_rows_that_cannot_count_are_left_out(tmp_path: Path) -> None:
    items = pa.table({"productId": ["1", "2", "1", None, "3"], "title": list("abcde")})
    days = ["2024-01-01", "2024-01-02", None, "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06"]
    users, bought = ["a", None, "a", "b", "b", "b", "b"], ["1", "1", "2", "9", "2", "1", "3"]
    log = pa.table({"customer_id": users, "productId": bought, "event_time": days})
    as_csv(tmp_path / "shop", {"items": items, "interactions": log})
    said, dataset = imported(tmp_path, "shop")
    for note in (
        "items.csv: `productId` is called `item_id`.",
        "Left out 1 interaction without a user (the first: interactions.csv, line 3).",
        "Left out 1 interaction without a time (the first: interactions.csv, line 4).",
        "Left out 1 item without an id (the first: items.csv, line 5).",
        "Left out 1 item whose id stood before (the first: items.csv, line 4).",
        "Left out 1 interaction of items that items.csv does not have (the first: interactions.csv, line 5).",
    ):
        assert f"note: {note}\n" in said
    assert dataset.user_ids == ("a", "b") and dataset.item_ids == ("1", "2", "3") and len(dataset.item) == 4


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    as_csv(tmp_path / "shop", TABLES)
    (tmp_path / "out").mkdir()
    done = recpolicy(tmp_path, "data", "import", "shop", "-o", "out")
    assert done.returncode == 2 and "overwrites nothing" in done.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the folder holds nothing, which is of no known kind"),
        ({"a.txt": "x", "b.txt": "y"}, "the folder holds a.txt, b.txt, which is of no known kind"),
        ({"interactions.csv": "who,item_id,timestamp\n1,1,1\n"}, "no column says which user"),
        (
            {"interactions.csv": "user_id,item_id,timestamp\n,1,1\n"},
            "no interaction remains: left out 1 interaction without a user",
        ),
        ({"interactions.csv": "user_id,item_id\n1,1\n"}, "no column orders the interactions"),
        ({"items.csv": "name\nx\n", "interactions.csv": "user_id,item_id,timestamp\n1,1,1\n"}, "no column `item_id`"),
        ({"ratings.csv": "userId,movieId\n1,1\n", "movies.csv": "movieId,title,genres\n1,x,y\n"}, "no column `rating`"),
        ({"ratings.dat": "", "movies.dat": "1::x::y\n"}, "the file is empty"),
        ({"ratings.csv.gz": "not gzip", "movies.csv": "movieId,title,genres\n1,x,y\n"}, "cannot be read as CSV"),
        ({"state.json": "[]"}, "no data files are named here"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path: Path, files: Mapping[str, str], message: str) -> None:
    texts(tmp_path / "source", files)
    assert message in refused(tmp_path, "source")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    movielens_1m(tmp_path / "ml-1m")
    assert "there is no such file or folder" in refused(tmp_path, "nowhere")
    assert "--metadata is for Amazon reviews" in refused(tmp_path, "ml-1m", "--metadata", "x")
    assert "--schema is for a folder with tables" in refused(tmp_path, "ml-1m", "--schema", "x")
    (tmp_path / "shop.db").write_bytes(b"")
    assert "write duckdb: before it: duckdb:shop.db" in refused(tmp_path, "shop.db")
    done = recpolicy(tmp_path, "data", "import", "ml-1m", "-o", "shop.db/x")
    assert done.returncode == 2 and "cannot write" in done.stderr
