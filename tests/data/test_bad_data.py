"""Checks that each kind of bad data gives one message with file, row and column (golden files)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import cli, data, render
from recpolicy.errors import UsageError
from tests import golden

GOLDEN = Path(__file__).parent / "golden"

SCHEMA = """\
[item]
title     = { type = "text", role = "title", optional = true }
genres    = "list of category"
creator   = { column = "creator_id", type = "category", role = "creator", optional = true }
published = { type = "date", role = "published", optional = true }
stars     = { type = "int", optional = true }
refunds   = { type = "ratio", optional = true }
on_sale   = { type = "bool", optional = true }
[user]
"""
ITEMS = """\
item_id,title,genres,creator_id,published,stars,refunds,on_sale
i1,First,Drama|Comedy,c1,2020-01-01,5,0.1,true
i2,Second,Drama,c1,2021,4,0.2,false
i3,Third,Action,,,,,
"""
USERS = "user_id\nu1\nu2\n"
LOG = """\
user_id,item_id,timestamp
u1,i1,100
u1,i2,200
u1,i3,300
u2,i1,100
u2,i3,2020-01-01T00:00:00Z
"""
GOOD: Mapping[str, str] = {"schema.toml": SCHEMA, "items.csv": ITEMS, "users.csv": USERS, "interactions.csv": LOG}


def changed(name: str, old: str, new: str) -> dict[str, str | bytes | None]:
    """The good file `name` with `old` replaced."""
    assert old in GOOD[name]
    return {name: GOOD[name].replace(old, new)}


JSONL_ITEMS = '{"item_id": "i1", "genres": ["Drama"]}\n'
PLAIN = {"schema.toml": None}

CASES: Mapping[str, dict[str, str | bytes | None]] = {
    "unknown_user": changed("interactions.csv", "u2,i1,100", "u3,i1,100"),
    "unknown_item_twice": changed("interactions.csv", "i3", "i9"),
    "unreadable_date": changed("items.csv", "2021", "2O21"),
    "unreadable_time": changed("interactions.csv", "200", "noon"),
    "missing_time": changed("interactions.csv", "u1,i2,200", "u1,i2,"),
    "nan_time": changed("interactions.csv", "u1,i2,200", "u1,i2,NaN"),
    "nothing_orders": changed("interactions.csv", "timestamp", "amount"),
    "duplicate_item": changed("items.csv", "i3,Third", "i1,Third"),
    "duplicate_user": changed("users.csv", "u2", "u1"),
    "missing_id": changed("items.csv", "i2,Second", ",Second"),
    "nan_id_in_interactions": changed("interactions.csv", "u1,i2", "nan,i2"),
    "no_value_where_needed": {**changed("schema.toml", '"int", optional = true', '"int"')},
    "not_a_number_where_needed": {
        **changed("schema.toml", '"int", optional = true', '"int"'),
        "items.csv": ITEMS.replace("2021,4", "2021,four").replace("i3,Third,Action,,,,", "i3,Third,Action,,,1,"),
    },
    "not_a_number": changed("items.csv", "2021,4", "2021,four"),
    "not_whole": changed("items.csv", "2021,4", "2021,4.5"),
    "ratio_in_percent": changed("items.csv", "0.2,false", "20,false"),
    "neither_true_nor_false": changed("items.csv", "false", "perhaps"),
    "ragged_row": changed("items.csv", "i2,Second,", "i2,Second, the return,"),
    "empty_table": {"users.csv": "user_id\n"},
    "empty_file": {"users.csv": ""},
    "wrong_encoding": {"items.csv": ITEMS.replace("Second", "Zweitür").encode("latin-1")},
    "utf16": {"users.csv": USERS.encode("utf-16")},
    "two_columns_of_one_name": changed("items.csv", "stars", "title"),
    "missing_column": changed("items.csv", "creator_id", "creatorid"),
    "missing_id_column": changed("users.csv", "user_id", "customer"),
    "missing_user_in_interactions": changed("interactions.csv", "user_id", "customer"),
    "missing_table": {"users.csv": None},
    "two_formats": {"users.parquet": b"PAR1"},
    "unreadable_jsonl": {"items.csv": None, "items.jsonl": JSONL_ITEMS + '{"item_id": "i2", "genres": [Drama]}\n'},
    "jsonl_not_an_object": {"items.csv": None, "items.jsonl": JSONL_ITEMS + '\n["i2"]\n'},
    "jsonl_mixed_kinds": {"items.csv": None, "items.jsonl": JSONL_ITEMS + '{"item_id": "i2", "genres": "Drama"}\n'},
    "jsonl_wrong_encoding": {"items.csv": None, "items.jsonl": JSONL_ITEMS.encode() + b'{"item_id": "\xff"}\n'},
    "several_kinds": {
        **changed("items.csv", "2021,4", "2O21,four"),
        **changed("interactions.csv", "u1,i2,200", "u9,i2,200"),
    },
    "quoted_line_break_before_the_bad_row": {
        "items.csv": ITEMS.replace("i1,First", 'i1,"First\nand more"').replace("2021,4", "2021,four")
    },
    "inferred_without_item_id": {**PLAIN, **changed("items.csv", "item_id", "sku")},
    "inferred_bad_date": {**PLAIN, **changed("items.csv", "2021", "unknown")},
    "atomic_without_users": {
        **dict.fromkeys(GOOD),
        "shop.inter": "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\n",
        "shop.item": "item_id:token\ni1\n",
    },
    "atomic_ragged": {
        **dict.fromkeys(GOOD),
        "shop.inter": "user_id:token\titem_id:token\ttimestamp:float\nu1\ti1\t1\nu1\ti1\n",
        "shop.item": "item_id:token\ni1\n",
        "shop.user": "user_id:token\nu1\n",
    },
}


NOISE = (
    b"",
    b"\n",
    b"\r",
    b",",
    b'"',
    b"|",
    b"\xff",
    b"\x00",
    b"[]",
    b"nan",
    b"-1",
    b"1e999",
    b"9" * 20,
    b"2020-13-01",
)


def write(folder: Path, files: Mapping[str, str | bytes | None]) -> None:
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def page(error: UsageError, folder: Path) -> str:
    """What a user reads, with the folder's own path left out."""
    return render.usage(error).replace(f"{folder}/", "").replace(str(folder), "FOLDER")


def test_base_files_of_cases_are_valid(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    dataset = data.open(tmp_path)
    assert (dataset.item_ids, dataset.user_ids) == (("i1", "i2", "i3"), ("u1", "u2"))
    assert dataset.time.tolist() == [100, 200, 300, 100, 1577836800]


@pytest.mark.parametrize("case", CASES)
def test_bad_data_message_matches_golden_file(case: str, tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, **CASES[case]})
    with pytest.raises(UsageError) as caught:
        data.open(tmp_path)
    golden.compare(page(caught.value, tmp_path), GOLDEN / f"{case}.txt")


def test_command_prints_one_problem_per_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {**GOOD, **CASES["several_kinds"]})
    assert cli.main(["data", "check", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.replace(f"{tmp_path}/", "") == (GOLDEN / "several_kinds.txt").read_text(encoding="utf-8")
    assert captured.err.count("\n") == 7 and "·" not in captured.err


def test_golden_files_match_cases() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize(
    ("column", "values", "message", "place"),
    [
        ("stars", [[1], [2], [3]], "[1] is not a number (and 2 more)", "row 1, column stars"),
        ("title", [["a"], None, None], "['a'] is not a word", "row 1, column title"),
        ("published", [None, True, None], "True is not a date", "row 2, column published"),
        ("stars", [1.0, float("inf"), None], "inf is not a number", "row 2, column stars"),
        ("genres", [["a"], None, ["b"]], "the value is missing", "row 2, column genres"),
        ("genres", [[["a"]], [["b"]], [["c"]]], "[['a']] is not a list of words (and 2 more)", "row 1, column genres"),
        ("item_id", ["i1", "i2", None], "the id is missing", "row 3, column item_id"),
        ("item_id", [1.0, 2.0, float("nan")], "the id is missing", "row 3, column item_id"),
        ("on_sale", [b"maybe", None, None], '"maybe" is neither true nor false', "row 1, column on_sale"),
    ],
)
def test_parquet_column_of_wrong_type_is_refused(
    column: str, values: list[object], message: str, place: str, tmp_path: Path
) -> None:
    columns: dict[str, list[object]] = {
        "item_id": ["i1", "i2", "i3"],
        "genres": [["Drama"], ["Drama"], []],
        **dict.fromkeys(("title", "creator_id", "published", "stars", "refunds", "on_sale"), [None] * 3),
        column: values,
    }
    write(tmp_path, {**GOOD, "items.csv": None})
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    with pytest.raises(UsageError) as caught:
        data.open(tmp_path)
    text = page(caught.value, tmp_path)
    assert message in text
    assert f"items.parquet, {place}" in text


def test_unreadable_parquet_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {**GOOD, "users.csv": None, "users.parquet": b"not a Parquet file"})
    with pytest.raises(UsageError, match="cannot be read as Parquet") as caught:
        data.open(tmp_path)
    assert caught.value.where == str(tmp_path / "users.parquet")


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 400), st.integers(0, 4), st.sampled_from(NOISE))
@settings(max_examples=150, deadline=None)
def test_damaged_file_raises_only_usage_errors(name: str, at: int, length: int, noise: bytes) -> None:
    whole = GOOD[name].encode()
    at %= len(whole) + 1
    with TemporaryDirectory() as folder:
        write(Path(folder), {**GOOD, name: whole[:at] + noise + whole[at + length :]})
        try:
            data.open(folder)
        except UsageError as error:
            assert error.message


def test_unknown_source_is_named_with_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        data.open("ml-10k")
    assert (caught.value.where, caught.value.message) == ("ml-10k", "the data folder does not exist")
    assert "ml-100k" in caught.value.help
