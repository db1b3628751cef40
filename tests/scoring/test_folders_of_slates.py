"""`recpolicy score --slates FOLDER` scores Parquet parts as one file, and names rows by their part."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import cli, scoring
from recpolicy.errors import UsageError
from recpolicy.scoring import Scorer
from tests.scoring.logs import as_jsonl, logged


def parts(folder: Path, table: pa.Table, size: int) -> Path:
    folder.mkdir()
    for at in range(0, len(table), size):
        pq.write_table(table.slice(at, size), folder / f"part-{at // size}.parquet")
    (folder / "_SUCCESS").touch()
    return folder


def test_parts_and_compressed_lines_score_as_one_file(scorer: Scorer, tmp_path: Path) -> None:
    table = logged(120)
    whole = scorer(table).combine_chunks()
    folder = parts(tmp_path / "slates", table, 10)  # part-2 comes before part-10
    as_jsonl(table, tmp_path / "slates.jsonl")
    packed = tmp_path / "slates.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "slates.jsonl").read_bytes()))
    for path in (folder, packed):
        found = list(scoring.score_file(scorer, path, rows=7))
        assert pa.Table.from_batches(s.table(ids) for s, ids, _ in found).combine_chunks().equals(whole)
    shares = [share for _, _, share in scoring.score_file(scorer, folder)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1) and len(shares) == 12


def test_a_bad_row_is_named_by_its_part(scorer: Scorer, tmp_path: Path) -> None:
    users = ["u0000"] * 29 + ["nobody"]
    folder = parts(tmp_path / "slates", pa.table({"user_id": users, "items": [["p0001"]] * 30}), 10)
    with pytest.raises(UsageError, match=r'part-2\.parquet, row 10: unknown user "nobody"'):
        list(scoring.score_file(scorer, folder))


def test_parts_need_the_same_columns(scorer: Scorer, tmp_path: Path) -> None:
    folder = parts(tmp_path / "slates", logged(20), 10)
    table = pq.read_table(folder / "part-1.parquet")
    pq.write_table(table.drop_columns(["next_items"]), folder / "part-1.parquet")
    with pytest.raises(UsageError, match=r"no column `next_items`, part-0.parquet has one") as stop:
        list(scoring.score_file(scorer, folder))
    assert stop.value.where == str(folder / "part-1.parquet")


def test_the_command_takes_a_folder_and_writes_beside_it(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = parts(tmp_path / "slates", logged(30), 10)
    arguments = ["score", str(policy), "--slates", str(folder), "-o"]
    assert cli.main([*arguments, str(tmp_path / "scores.parquet")]) == 0
    assert "slates: 30 slates by" in capsys.readouterr().out
    assert cli.main([*arguments, str(folder / "scores.parquet")]) == 2
    assert "the scores would lie among the slates" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "empty")]) == 2
    assert "the folder holds no .parquet file" in capsys.readouterr().err
