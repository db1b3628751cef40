"""Checks that a frame is the same data set in whatever format and types it was written."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.dataset.columns import ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.tables.reading import is_text
from recpolicy.types import Type

USERS = pd.DataFrame({"user_id": ["u0", "u1"]})


def log(items: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {"user_id": "u0", "item_id": items, "timestamp": range(1_700_000_000, 1_700_000_000 + len(items))}
    )


def as_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path.with_suffix(".csv"), index=False)


def as_jsonl(frame: pd.DataFrame, path: Path) -> None:
    frame.to_json(path.with_suffix(".jsonl"), orient="records", lines=True, date_format="iso")


def as_parquet(frame: pd.DataFrame, path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path.with_suffix(".parquet"))


def with_types(convert: Callable[[pa.Array], pa.Array]) -> Callable[[pd.DataFrame, Path], None]:
    def write(frame: pd.DataFrame, path: Path) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = pa.table({name: convert(table.column(name).combine_chunks()) for name in table.column_names})
        pq.write_table(table, path.with_suffix(".parquet"))

    return write


def _views(array: pa.Array) -> pa.Array:
    return array.cast(pa.string_view()) if is_text(array.type) else array


def _narrow(array: pa.Array) -> pa.Array:
    if is_text(array.type):
        return array.cast(pa.large_string()).dictionary_encode()
    return array


def _bytes(array: pa.Array) -> pa.Array:
    return array.cast(pa.binary()) if is_text(array.type) else array


def _decimals(array: pa.Array) -> pa.Array:
    return array.cast(pa.decimal128(38, 0)) if pa.types.is_int64(array.type) else array


WRITERS = {
    "csv": as_csv,
    "jsonl": as_jsonl,
    "parquet": as_parquet,
    "string views": with_types(_views),
    "dictionaries": with_types(_narrow),
    "bytes": with_types(_bytes),
    "decimals": with_types(_decimals),
}


def read(items: pd.DataFrame, write: Callable[[pd.DataFrame, Path], None], folder: Path, schema: str = "") -> Dataset:
    at = folder / "data"
    at.mkdir(parents=True)
    if schema:
        (at / "schema.toml").write_text(schema)
    write(items, at / "items")
    write(USERS, at / "users")
    write(log(items["item_id"].tolist()[:3]), at / "interactions")
    return data.open(at)


def digests(items: pd.DataFrame, schema: str = "") -> dict[str, str]:
    with TemporaryDirectory() as folder:
        return {name: read(items, write, Path(folder) / name, schema).digest for name, write in WRITERS.items()}


CELLS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.one_of(st.none(), st.integers(-9, 9), st.integers(-(10**9), 10**9)),
    "float": st.one_of(st.none(), st.floats(-1e6, 1e6).map(lambda v: round(v, 4))),
    "bool": st.booleans(),
    "word": st.one_of(st.none(), st.sampled_from(["a", "b b", "NA", "7", "007", "1.0", "x,y", "é"])),
    "date": st.one_of(st.none(), st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)).map(str)),
    "time": st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2100, 1, 1)).map(
        lambda t: t.isoformat(" ", "seconds")
    ),
    "id": st.one_of(st.integers(0, 2**62).map(str), st.text("ab-1", min_size=1)),
}  # fmt: skip
COLUMN = st.sampled_from(sorted(CELLS)).flatmap(lambda kind: st.lists(CELLS[kind], min_size=4, max_size=4))


@given(st.lists(COLUMN, min_size=1, max_size=3), st.sampled_from([["i0", "i1", "i2", "i3"], [3, 1, 2, 0]]))
@settings(max_examples=25, deadline=None)
def test_every_format_gives_the_same_data_set(columns: list[list[Any]], ids: list[Any]) -> None:
    frame = pd.DataFrame({"item_id": ids, **{f"c{n}": column for n, column in enumerate(columns)}})
    assert len(set(digests(frame).values())) == 1, frame


TYPED = """\
[item]
text = "text"
number = { type = "float", optional = true, missing = ["-1"] }
day = { type = "date", optional = true, missing = ["0"] }
flag = { type = "bool", optional = true }
tags = { type = "list of category", optional = true, missing = ["none"] }
[user]
"""


def test_missing_words_are_heeded_in_every_format() -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "text": ["x", "y", "z"],
            "number": [-1.0, 2.5, -1.0],
            "day": [20220408, 0, 2021],
            "flag": [1, 0, 1],
            "tags": ["p|q", "none", "q"],
        }
    )
    found = digests(frame, TYPED)
    assert len(set(found.values())) == 1, found
    with TemporaryDirectory() as folder:
        dataset = read(frame, as_parquet, Path(folder), TYPED)
    number, day, tags = (dataset.items.columns[name] for name in ("number", "day", "tags"))
    assert isinstance(number, NumberColumn) and isinstance(day, NumberColumn) and isinstance(tags, ListColumn)
    np.testing.assert_equal(number.values, [np.nan, 2.5, np.nan])
    np.testing.assert_equal(day.values, [1_649_376_000, np.nan, 1_609_459_200])
    assert tags.missing.tolist() == [False, True, False]


# ---- types ----------------------------------------------------------------------------------------------------------


def columns(tmp_path: Path, **values: pa.Array) -> Dataset:
    rows = len(next(iter(values.values())))
    table = pa.table({"item_id": [f"i{n}" for n in range(rows)], **values})
    pq.write_table(table, tmp_path / "items.parquet")
    USERS.to_csv(tmp_path / "users.csv", index=False)
    log(["i0"]).to_csv(tmp_path / "interactions.csv", index=False)
    return data.open(tmp_path)


def test_uuids_are_texts(tmp_path: Path) -> None:
    uuids = pa.array([bytes(range(16)), None], pa.uuid())
    column = columns(tmp_path, key=uuids).items.columns["key"]
    assert isinstance(column, WordColumn)
    assert column.words == ("00010203-0405-0607-0809-0a0b0c0d0e0f",)


def test_half_and_single_floats_are_their_shortest_decimals(tmp_path: Path) -> None:
    half, single = pa.array(np.array([0.5, 0.1], np.float16)), pa.array([0.1, 1e20], pa.float32())
    dataset = columns(tmp_path, half=half, single=single)
    found = [dataset.items.columns[name] for name in ("half", "single")]
    assert all(isinstance(column, NumberColumn) for column in found)
    assert [column.values.tolist() for column in found] == [[0.5, 0.1], [0.1, 1e20]]  # type: ignore[union-attr]


def test_decimals_are_numbers(tmp_path: Path) -> None:
    dataset = columns(tmp_path, price=pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)))
    column = dataset.items.columns["price"]
    assert isinstance(column, NumberColumn)
    np.testing.assert_equal(column.values, [1.5, np.nan])


def test_hashes_of_64_bits_are_texts(tmp_path: Path) -> None:
    dataset = columns(tmp_path, hash=pa.array([2**64 - 1, 5], pa.uint64()))
    column = dataset.items.columns["hash"]
    assert isinstance(column, WordColumn)
    assert set(column.words) == {"18446744073709551615", "5"}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_time_stamps_of_any_unit_are_the_same(unit: str, tmp_path: Path) -> None:
    at = pa.array([datetime.datetime(2022, 4, 8, 9, 0), None]).cast(pa.timestamp(unit))
    column = columns(tmp_path, seen_at=at).items.columns["seen_at"]
    assert isinstance(column, NumberColumn)
    np.testing.assert_equal(column.values, [1_649_408_400, np.nan])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([{"a": 1}, None]),
        pa.array([b"\xff\xfe", b""]),
        pa.array([datetime.time(1), None]),
        pa.array([[[1]], None]),
    ],
    ids=["struct", "bytes", "time of day", "lists of lists"],
)  # fmt: skip
def test_column_of_no_usable_type_is_noted(values: pa.Array, tmp_path: Path) -> None:
    dataset = columns(tmp_path, odd=values, fine=pa.array([1, 2]))
    assert "odd" not in dataset.schema.item and "fine" in dataset.schema.item
    assert any("`odd`" in note for note in dataset.notes)


# ---- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["NA", "nan", "NULL", "-", "N/A", "None", "\\N", "?"])
def test_number_with_a_word_for_missing_stays_a_number(word: str, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text(f"item_id,price,when,on\ni0,{word},2020-01-01,true\ni1,1.5,{word},{word}\n")
    USERS.to_csv(tmp_path / "users.csv", index=False)
    log(["i0"]).to_csv(tmp_path / "interactions.csv", index=False)
    dataset = data.open(tmp_path)
    assert [dataset.schema.item[name].type for name in ("price", "when", "on")] == [Type.FLOAT, Type.DATE, Type.BOOL]
    assert any("`price` has" in note and "line 2" in note for note in dataset.notes)
    on = dataset.items.columns["on"]
    assert isinstance(on, TruthColumn) and on.values.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["Drama|Comedy", "Drama", "", "Comedy|War"], False),
        (["Drama; Comedy", "Drama", "", "Comedy; War"], True),
        (["Drama, Comedy", "Drama", "", "Comedy,War"], True),
        (["['Drama', 'Comedy']", "['Drama']", "[]", "['Comedy', 'War']"], False),
        (['["Drama", "Comedy"]', '["Drama"]', "[]", '["Comedy", "War"]'], False),
        (["['Drama' 'Comedy']", "['Drama']", "[]", "['Comedy' 'War']"], False),
        (["Drama,Comedy", "Drama", "\\N", "Comedy,War"], True),
        (["Drama|Comedy", "Drama", "(no genres listed)", "Comedy|War"], False),
    ],
)
def test_lists_are_the_same_however_they_are_written(cells: list[str], note: bool, tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": ["a", "b", "c", "d"], "genres": cells})
    dataset = read(frame, as_csv, tmp_path)
    column = dataset.items.columns["genres"]
    assert isinstance(column, ListColumn)
    words = [[column.words[code] for code in column.values.row(row)] for row in range(4)]
    assert words == [["Drama", "Comedy"], ["Drama"], [], ["Comedy", "War"]]
    assert column.missing.tolist() == [False, False, True, False]
    assert any("is split at" in text for text in dataset.notes) == note


def test_comma_that_parts_nothing_belongs_to_the_word(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": ["a", "b"], "genres": ["Arts, fine", "Crafts, old"]})
    column = read(frame, as_csv, tmp_path).items.columns["genres"]
    assert isinstance(column, ListColumn) and column.words == ("Arts, fine", "Crafts, old")


def test_ids_written_as_floats_are_joined(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\n9\n10\n")
    (tmp_path / "users.csv").write_text("user_id\n1.0\n2.0\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n1,9.0,1\n2.0,10.0,2\n")
    dataset = data.open(tmp_path)
    assert (dataset.user_ids, dataset.item.tolist()) == (("1", "2"), [0, 1])


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2022-04-08", 1_649_376_000), ("20220408", 1_649_376_000), ("2022/4/8", 1_649_376_000),
        ("1649376000", 1_649_376_000), ("1649376000000", 1_649_376_000), ("1649376000000000", 1_649_376_000),
        ("1649376000000000000", 1_649_376_000), ("2022-04-08T00:00:00Z", 1_649_376_000), ("2022.0", 1_640_995_200),
        ("2022-04-08 00:00:00 UTC", 1_649_376_000), ("2022-04", 1_648_771_200),
    ],
)  # fmt: skip
def test_date_is_read_in_every_spelling(text: str, second: float, tmp_path: Path) -> None:
    schema = '[item]\nday = "date"\n[user]\n'
    column = read(pd.DataFrame({"item_id": ["a"], "day": [text]}), as_csv, tmp_path, schema).items.columns["day"]
    assert isinstance(column, NumberColumn) and column.values.tolist() == [second]


def test_long_fields_are_read(tmp_path: Path) -> None:
    long = "word " * 300_000
    frame = pd.DataFrame({"item_id": ["a", "a"], "story": [long, "b"]})
    with pytest.raises(UsageError, match="stands here again; first: line 2"):
        read(frame, as_csv, tmp_path)


def test_mixed_ids_of_json_are_texts(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": 1}\n{"item_id": "b"}\n{"item_id": 99999999999999999999}\n')
    (tmp_path / "users.jsonl").write_text('{"user_id": "u"}\n')
    (tmp_path / "interactions.jsonl").write_text('{"user_id": "u", "item_id": 99999999999999999999, "timestamp": 1}\n')
    dataset = data.open(tmp_path)
    assert (dataset.item_ids, dataset.item.tolist()) == (("1", "b", "99999999999999999999"), [2])
