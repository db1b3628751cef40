"""Checks `recpolicy data`: get, check and describe."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from recpolicy.cli import data as command
from recpolicy.errors import UsageError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="recpolicy")
    command.add(parser.add_subparsers())
    args = parser.parse_args(["data", *words])
    code: int = args.run(args)
    return code


def test_describe_prints_counts_dates_and_missing_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", "simulator") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("simulator: 600 items, 300 users, ")
    assert lines[1] == "from 2024-06-24 to 2024-12-20"
    by_name = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert {"item.id", "item.genres", "item.age", "user.last_seen"} <= by_name.keys()
    assert by_name["item.report_rate"].endswith("% missing")
    assert "time since published" in by_name["item.age"]
    assert "missing" not in by_name["item.creator"]


def test_check_prints_result_and_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "simulator") == 0
    out = capsys.readouterr().out
    assert "No problem found." in out
    assert "Users tested on their last 10 " in out


def test_schema_option_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "items.csv").write_text("sku\n1\n2\n3\n")
    (tmp_path / "users.csv").write_text("user_id\n1\n")
    (tmp_path / "interactions.csv").write_text("user_id,sku,timestamp\n1,1,1\n1,2,2\n1,3,3\n")
    schema = tmp_path / "other.toml"
    schema.write_text('[item]\nid = { column = "sku", type = "text", role = "id" }\n[interactions]\nitem = "sku"\n')
    with pytest.raises(UsageError, match="no column `item_id`"):
        run("check", str(tmp_path))
    assert run("check", str(tmp_path), "--schema", str(schema)) == 0
    assert "3 items, 1 users, 3 interactions" in capsys.readouterr().out


def test_get_prints_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECPOLICY_CACHE", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    assert run("get", "ml-100k") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "ml-100k")
