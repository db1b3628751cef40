"""One data set in every form that is read directly gives one digest; what is wrong in a form is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from recpolicy import data
from recpolicy.errors import UsageError
from recpolicy.runs import located
from tests.command import recpolicy

ITEMS = pa.table(
    {
        "item_id": [f"{i:02d}" for i in range(24)],
        "title": [f"Tea, {i}" for i in range(24)],
        "genres": ["hot|drink" if i % 2 else None for i in range(24)],
        "price": [1.5 * i for i in range(24)],
        "is_new": [i % 3 == 0 for i in range(24)],
    }
)
USERS = pa.table({"user_id": list(range(12)), "age": [20 + u for u in range(12)]})
LOG = pa.table(
    {
        "user_id": [u for u in range(12) for _ in range(4)],
        "item_id": [f"{(u + 5 * k) % 24:02d}" for u in range(12) for k in range(4)],
        "timestamp": [1_700_000_000 + 1000 * u + k for u in range(12) for k in range(4)],
    }
)
TABLES = {"items": ITEMS, "users": USERS, "interactions": LOG}
JSON = "TO '{}' (FORMAT json)"


def csv(path: Path, table: pa.Table) -> None:
    pa.csv.write_csv(table, path)


def packed(path: Path, table: pa.Table, kind: str) -> None:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    with pa.CompressedOutputStream(str(path), kind) as out:
        out.write(sink.getvalue())


def parts(path: Path, table: pa.Table, size: int = 2) -> None:
    path.mkdir(parents=True)
    for at in range(0, len(table), size):
        pq.write_table(table.slice(at, size), path / f"part-{at // size}.parquet")
    (path / "_SUCCESS").touch()


def by_user(path: Path, table: pa.Table) -> None:
    """Hive partitions, as Spark and DuckDB write them."""
    for user in range(12):
        (path / f"shard={user}").mkdir(parents=True)
        pq.write_table(table.slice(user * 4, 4), path / f"shard={user}" / "part-0.parquet")


def jsonl(path: Path, table: pa.Table) -> None:
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.execute(f"COPY given TO '{path}' (FORMAT json)")


Writer = Callable[[Path, pa.Table], None]
FORMS: Mapping[str, Mapping[str, tuple[str, Writer]]] = {
    "csv": dict.fromkeys(TABLES, (".csv", csv)),
    "gz": dict.fromkeys(TABLES, (".csv.gz", lambda p, t: packed(p, t, "gzip"))),
    "zst": dict.fromkeys(TABLES, (".csv.zst", lambda p, t: packed(p, t, "zstd"))),
    "jsonl": dict.fromkeys(TABLES, (".jsonl", jsonl)),
    "jsonl.gz": dict.fromkeys(TABLES, (".jsonl.gz", jsonl)),
    "parquet": dict.fromkeys(TABLES, (".parquet", lambda p, t: pq.write_table(t, p))),
    "parts": dict.fromkeys(TABLES, ("", parts)),
    "spark": dict.fromkeys(TABLES, (".parquet", parts)),
    "hive": {"items": ("", parts), "users": (".csv", csv), "interactions": ("", by_user)},
}


def written(folder: Path, form: str) -> Path:
    folder.mkdir(parents=True)
    for name, (ending, write) in FORMS[form].items():
        write(folder / (name + ending), TABLES[name])
    return folder


def database(path: Path, tables: Mapping[str, pa.Table] = TABLES) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(path) as connection:
        for name, table in tables.items():
            connection.register("given", table)
            connection.execute(f"CREATE TABLE {name} AS FROM given")
    return f"duckdb:{path}"


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return data.open(written(tmp_path_factory.mktemp("csv") / "shop", "csv")).digest


@pytest.mark.parametrize("form", [form for form in FORMS if form != "csv"])
def test_every_form_gives_the_same_data(tmp_path: Path, digest: str, form: str) -> None:
    assert data.open(written(tmp_path / "shop", form)).digest == digest


def test_a_database_gives_the_same_data(tmp_path: Path, digest: str) -> None:
    assert data.open(database(tmp_path / "shop.db")).digest == digest


def test_a_row_of_a_part_is_named_by_its_file(tmp_path: Path) -> None:
    folder = written(tmp_path / "shop", "parts")
    part = folder / "items" / "part-10.parquet"
    pq.write_table(pq.read_table(part).set_column(0, "item_id", pa.array(["20", "01"])), part)
    with pytest.raises(UsageError) as stop:
        data.open(folder)
    assert f"{folder / 'items'}, part-10.parquet, row 2, column item_id" in str(stop.value)
    assert "first: part-0.parquet, row 2" in str(stop.value)


def test_parts_have_one_schema(tmp_path: Path) -> None:
    folder = written(tmp_path / "shop", "parts")
    part = folder / "items" / "part-3.parquet"
    table = pq.read_table(part)
    for wrong, message in (
        (table.drop_columns(["price"]), "this part has no column `price`"),
        (table.append_column("more", pa.array([1, 2])), "this part has a column `more` that others lack"),
        (table.set_column(3, "price", pa.array(["x", "y"])), "`price` holds string, in part-0.parquet double"),
    ):
        pq.write_table(wrong, part)
        with pytest.raises(UsageError) as stop:
            data.open(folder)
        assert stop.value.message == message and stop.value.where == str(part)
    narrow = table.set_column(3, "price", table["price"].cast(pa.float32()))
    pq.write_table(narrow, part)  # a float is a float
    assert data.open(folder).items.rows == 24


def test_two_forms_of_one_table_are_refused_and_other_folders_are_not_tables(tmp_path: Path) -> None:
    folder = written(tmp_path / "shop", "csv")
    (folder / "items").mkdir()
    (folder / "items" / "picture.png").touch()
    assert data.open(folder).items.rows == 24
    packed(folder / "items.csv.gz", ITEMS, "gzip")
    with pytest.raises(UsageError, match=r"items\.csv and items\.csv\.gz are both here"):
        data.open(folder)
    (folder / "items.csv.gz").unlink()
    pq.write_table(ITEMS, folder / "items" / "a.parquet")
    with pytest.raises(UsageError, match=r"items\.csv and items/ are both here"):
        data.open(folder)


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst", "jsonl.gz"])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, ending: str) -> None:
    form = {"csv.gz": "gz", "csv.zst": "zst", "jsonl.gz": "jsonl.gz"}[ending]
    folder = written(tmp_path / "shop", form)
    path = folder / f"items.{ending}"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UsageError, match="cannot be read as") as stop:
        data.open(folder)
    assert stop.value.where == str(path)


# ---- databases ------------------------------------------------------------------------------------------------------


def test_a_database_is_read_by_the_queries_of_its_schema(tmp_path: Path, digest: str) -> None:
    tables = {"products": ITEMS.rename_columns(["sku", *ITEMS.column_names[1:]]), "users": USERS, "interactions": LOG}
    source = database(tmp_path / "shop.db", tables)
    with pytest.raises(UsageError, match="no table or view `items`") as stop:
        data.open(source)
    assert "there are: interactions, products, users" in stop.value.help
    query = "SELECT sku AS item_id, * EXCLUDE (sku) FROM products -- all"
    schema = tmp_path / "schema.toml"
    schema.write_text(f'name = "shop"\n[item]\ntitle = "text"\n[sql]\nitems = "{query}"\n')
    assert data.open(source).items.rows == 24
    for wrong, message in (
        ("SELECT * FROM nothing", "the query fails: Catalog Error"),
        ("SELECT 1; SELECT 2", "this is not one SELECT"),
        (f"COPY products TO '{tmp_path / 'copy.csv'}'", "this is not one SELECT"),
        ("SELECT * FROM products LIMIT 0", "the table is empty"),
    ):
        schema.write_text(f'[item]\ntitle = "text"\n[sql]\nitems = "{wrong}"\n')
        with pytest.raises(UsageError) as stop:
            data.open(source)
        assert message in stop.value.message
    assert not (tmp_path / "copy.csv").exists()
    schema.write_text('[sql]\nitem = "SELECT 1"\n')
    with pytest.raises(UsageError, match="unknown key `item`"):
        data.open(source)


def test_views_are_tables(tmp_path: Path, digest: str) -> None:
    source = database(tmp_path / "shop.db", {"products": ITEMS, "users": USERS, "log": LOG})
    with duckdb.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE VIEW items AS FROM products; CREATE VIEW interactions AS FROM log")
    assert data.open(source).digest == digest


def test_a_policy_names_a_database_beside_it(tmp_path: Path) -> None:
    database(tmp_path / "policies" / "shop.db")
    assert recpolicy(tmp_path, "init", "duckdb:policies/shop.db").returncode == 0
    policy = tmp_path / "policies" / "shop.policy"
    assert 'data     = "duckdb:shop.db"' in policy.read_text("utf-8")
    assert (tmp_path / "policies" / "schema.toml").is_file()
    slates = tmp_path / "slates.jsonl"
    slates.write_text('{"user_id": "1", "items": ["01", "02"]}\n')
    for command in (
        ["check", "policies/shop.policy"],
        ["check", "policies/shop.policy", "--data", "duckdb:policies/shop.db"],
        ["test", "policies/shop.policy"],
        ["data", "describe", "duckdb:policies/shop.db"],
        ["score", "policies/shop.policy", "--slates", "slates.jsonl"],
        ["score", "policies/shop.policy", "--slates", "slates.jsonl", "--data", "duckdb:policies/shop.db"],
        ["explain", "policies/shop.policy", "--user", "1", "--slate", "01,02"],
    ):
        done = recpolicy(tmp_path, *command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_a_database_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("x" * 10_000)
    for name, message in (
        ("nowhere.db", "the database does not exist"),
        ("", "the database is a folder"),
        ("x" * 300, "the database does not exist"),
        ("text.db", "cannot be read by DuckDB"),
    ):
        with pytest.raises(UsageError, match=message):
            data.open(f"duckdb:{tmp_path / name}")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(UsageError, match="a database needs the package `duckdb`") as stop:
        data.open("duckdb:shop.db")
    assert stop.value.help == "install it with: pip install 'recpolicy[sql]'"


def test_a_run_keeps_the_absolute_path_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("duckdb:shop.db", ()) == f"duckdb:{tmp_path / 'shop.db'}"
    assert located("simulator", ("simulator",)) == "simulator"
