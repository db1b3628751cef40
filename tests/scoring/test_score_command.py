"""Checks the command `recpolicy score`: logged slates in, a summary and a file of scores out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import cli, scoring
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.errors import UsageError
from recpolicy.scoring import Scorer, Scores, Tally
from tests.scoring.logs import KINDS, as_jsonl, logged, simulator


def test_batch_size_does_not_change_scores(scorer: Scorer, tmp_path: Path) -> None:
    pq.write_table(logged(100), tmp_path / "slates.parquet")
    whole = scorer(logged(100))
    for size in (1, 7, 64, 1000):
        found = scoring.score_file(scorer, tmp_path / "slates.parquet", rows=size)
        parts = pa.Table.from_batches(scores.table(user_id) for scores, user_id, _ in found)
        assert parts.combine_chunks().equals(whole.combine_chunks())


def test_parquet_and_jsonl_give_same_scores(policy: Path, tmp_path: Path) -> None:
    table = logged(50)
    pq.write_table(table, tmp_path / "slates.parquet")
    as_jsonl(table, tmp_path / "slates.jsonl")
    for kind in ("parquet", "jsonl"):
        for out in ("parquet", "jsonl"):
            arguments = ["score", str(policy), "--slates", str(tmp_path / f"slates.{kind}"), "--ranks"]
            assert cli.main([*arguments, "-o", str(tmp_path / f"{kind}.{out}")]) == 0
    assert pq.read_table(tmp_path / "parquet.parquet").equals(pq.read_table(tmp_path / "jsonl.parquet"))
    assert (tmp_path / "parquet.jsonl").read_text() == (tmp_path / "jsonl.jsonl").read_text()
    rows = [json.loads(line) for line in (tmp_path / "parquet.jsonl").read_text().splitlines()]
    assert rows == pq.read_table(tmp_path / "parquet.parquet").to_pylist()


def test_row_groups_with_own_dictionaries_are_read(scorer: Scorer, tmp_path: Path) -> None:
    table = logged(500)
    slates = [[*names[:3], None, *names[3:]] for names in table.column("items").to_pylist()]
    table = table.set_column(1, "items", pa.array(slates, KINDS["items"]))
    whole = scorer(table).combine_chunks()
    for options in ({}, {"use_dictionary": False}, {"dictionary_pagesize_limit": 100, "data_page_size": 100}):
        pq.write_table(table, tmp_path / "slates.parquet", row_group_size=70, **options)
        found = scoring.score_file(scorer, tmp_path / "slates.parquet", rows=32)
        assert pa.Table.from_batches(s.table(ids) for s, ids, _ in found).combine_chunks().equals(whole)


def test_error_line_numbers_count_every_line(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "slates.jsonl"
    good, bad = '{"user_id": "u0000", "items": ["p0001"]}\n', '{"user_id": "x", "items": ["p0001"]}\n'
    for before in (good * 3, good + "\n \n", '{"user_id": "u0000", "items": ["p0001", 7]}\n' + good * 2):
        path.write_text(before + bad + good)
        with pytest.raises(UsageError, match='line 4: unknown user "x"'):
            list(scoring.score_file(scorer, path))


def test_bad_row_messages_stop_at_20(scorer: Scorer, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["x"] * 1000, "items": [["p0001"]] * 1000}), tmp_path / "slates.parquet")
    for rows in (7, 5000):
        with pytest.raises(UsageError) as stop:
            list(scoring.score_file(scorer, tmp_path / "slates.parquet", rows=rows))
        assert "the first 20 reasons" in stop.value.message and stop.value.message.count("\n") == 20
        assert "row 20:" in stop.value.message and "row 21:" not in stop.value.message


def test_progress_reaches_the_end(scorer: Scorer, tmp_path: Path) -> None:
    for kind in ("parquet", "jsonl"):
        path = tmp_path / f"slates.{kind}"
        pq.write_table(logged(100), path) if kind == "parquet" else as_jsonl(logged(100), path)
        calls = deque[tuple[int, float]](maxlen=1)
        scoring.score_files(scorer, path, None, progress=lambda *progress, calls=calls: calls.append(progress))
        assert calls.pop() == (100, 1.0)


def test_jsonl_reads_iso_and_numeric_times(scorer: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "slates.jsonl"
    path.write_text(
        '\ufeff{"user_id": "u0000", "items": ["p0001"], "now": "2024-01-31T00:00:00Z"}\n\n'
        '{"user_id": "u0000", "items": ["p0001"], "now": 1706659200, "page": 7}\n',
        "utf-8",
    )
    ((scores, user_id, _),) = scoring.score_file(scorer, path)
    first, second = scores.table(user_id).to_pylist()
    assert first == second


def test_summary_shows_rules_and_counts(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(logged(400), tmp_path / "slates.parquet")
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.parquet")]) == 0
    output = capsys.readouterr().out
    assert output.startswith('slates.parquet: 400 slates by "scored" version 1, 6 places\n')
    for rule in ("relevance", "variety", "fresh", "doubtful", "one_voice", "surprise", "R, the whole reward"):
        assert f"\n{rule} " in output
    assert "Slates with a blocked item: " in output and "items that the catalog does not hold" in output
    assert sorted(tmp_path.iterdir()) == [tmp_path / "slates.parquet"]


def test_slates_without_next_items_have_no_relevance(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(logged(20).drop_columns(["next_items"]), tmp_path / "slates.parquet")
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.parquet")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("relevance"))
    assert "applies to no slate" in line


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_empty_slates_file_is_accepted(kind: str, policy: Path, tmp_path: Path) -> None:
    pq.write_table(logged(0), tmp_path / "slates.parquet")
    (tmp_path / "slates.jsonl").write_text("")
    assert (
        cli.main(
            ["score", str(policy), "--slates", str(tmp_path / f"slates.{kind}"), "-o", str(tmp_path / "o.parquet")]
        )
        == 0
    )
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0


def test_bad_rows_are_listed_and_no_output_is_written(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table(
        {"user_id": ["u0000", "x", "u0001", "y"], "items": [["p0001"], ["p0001"], None, ["p0001"]]}, schema=None
    )
    as_jsonl(table, tmp_path / "slates.jsonl")
    out = tmp_path / "out.jsonl"
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.jsonl"), "-o", str(out)]) == 2
    output = capsys.readouterr().err
    for words in ('line 2: unknown user "x"', "line 3: no `items`", 'line 4: unknown user "y"', "slates.jsonl"):
        assert words in output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["slates.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.csv", "user_id,items\n", ".parquet and .jsonl"),
        ("s.parquet", "no parquet", "cannot be read"),
        ("s.jsonl", '{"user_id": "u0000", "items": ["p0001"]}\n{"user_id": ', "s.jsonl, line 2"),
        ("s.jsonl", "[1]\n", "not a JSON object"),
        ("s.jsonl", '{"user_id": "u0000", "item": ["p0001"]}\n', "rename `item`?"),
        ("s.jsonl", '{"user_id": "u0000", "items": "p0001"}\n', "lists of item ids"),
        ("s.jsonl", '{"user_id": "u0000", "items": [1.5]}\n', "1.5 is no id"),
        ("s.jsonl", '{"user_id": "u0000", "items": [], "now": "soon"}\n', '"soon", which is no time'),
        ("none.jsonl", None, "No such file"),
    ],
)
def test_unreadable_slates_file_is_usage_error(
    name: str, content: str | None, words: str, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ranks"], "--out FILE"),
        (["-o", "scores.csv"], ".parquet or .jsonl"),
        (["-o", "slates.parquet"], "would overwrite the slates"),
        (["-o", "no/such/folder.parquet"], "cannot write"),
    ],
)
def test_usage_errors_exit_2(
    arguments: list[str],
    words: str,
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pq.write_table(logged(3), tmp_path / "slates.parquet")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["score", str(policy), "--slates", "slates.parquet", *arguments]) == 2
    assert words in capsys.readouterr().err


# ---- the summary's numbers ------------------------------------------------------------------------------------------


def rewarded(user: Ints, reward: Floats) -> Scores:
    return Scores(user, reward, counts={}, values={}, abstained={}, satisfied={}, ranks={})


def test_interval_covers_mean_with_repeated_users() -> None:
    """95 % of intervals hold the mean when every user's slates are alike: those of independent slates would not."""
    rng = np.random.default_rng(0)
    dataset = simulator()
    users = np.repeat(np.arange(dataset.users.rows), 10)
    held = 0
    for _ in range(200):
        values = np.repeat(rng.normal(0.5, 0.1, dataset.users.rows), 10)
        tally = Tally(dataset.users.rows)
        for part in np.array_split(np.arange(len(users)), 3):
            tally.add(rewarded(users[part], values[part]))
        found = tally.mean("reward")
        assert found.mean == pytest.approx(values.mean())
        held += abs(found.mean - 0.5) <= found.margin
    assert 180 <= held <= 199


def test_single_user_has_no_interval() -> None:
    tally = Tally(simulator().users.rows)
    tally.add(rewarded(np.zeros(1, np.int64), np.array([0.25])))
    found = tally.mean("reward")
    assert (found.mean, found.slates) == (0.25, 1) and np.isnan(found.margin)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: getrusage begins at the peak of the parent process")
def test_memory_does_not_grow_with_file_size(policy: Path, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.parquet"
        with pq.ParquetWriter(path, pa.schema(KINDS)) as writer:
            for part in range(count // 5_000):
                writer.write_table(logged(5_000, seed=part))
        out = str(tmp_path / "out.parquet")
        script = (
            "import re, sys; from recpolicy.cli import main; code = main(sys.argv[1:]);"
            r"print(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1], file=sys.stderr); sys.exit(code)"
        )
        process = subprocess.run(
            [sys.executable, "-c", script, "score", str(policy), "--slates", str(path), "-o", out],
            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert pq.ParquetFile(out).metadata.num_rows == count
        return int(process.stderr.split()[-1])

    assert peak(100_000) < 1.25 * peak(10_000)
