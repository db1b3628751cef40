"""Checks `recpolicy rerank` and `recpolicy evaluate` on files of candidates and lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recpolicy
from recpolicy import cli, data
from tests.scoring.logs import simulator

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "evaluation.json"


def rows(seed: int, count: int = 80, candidates: int = 40) -> list[dict[str, Any]]:
    """Users at random cuts, with candidates among which their next items have the higher scores."""
    dataset, rng = simulator(), np.random.default_rng(seed)
    users = rng.choice(np.flatnonzero(np.diff(dataset.start) > 14), count, replace=False)
    cut = data.rows_at(dataset, users, dataset.start[users] + 8, 4, dataset.start[users + 1])
    out = []
    for n, user in enumerate(users):
        following = cut.next_items.row(n)
        others = np.setdiff1d(rng.permutation(dataset.items.rows)[:candidates], following)
        items = [*following, *others]
        scores = [*(0.5 + rng.random(len(following))), *rng.random(len(others))]
        ids = [[dataset.item_ids[i] for i in part] for part in (items, cut.history.row(n), following)]
        row = {"user_id": dataset.user_ids[user], "candidates": ids[0], "scores": scores}
        out.append({**row, "history": ids[1], "next_items": ids[2], "now": float(cut.now[n])})
    return out


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_lists_are_those_of_the_object(suffix: str, tmp_path: Path) -> None:
    records = rows(0)
    file, out = write(tmp_path / f"c{suffix}", records), tmp_path / f"lists{suffix}"
    assert run("rerank", "balanced", "--data", "simulator", "--candidates", file, "--strength", 4, "-o", out) == 0
    read = pq.read_table(out).to_pylist() if suffix == ".parquet" else [*map(json.loads, out.read_text().splitlines())]
    policy = recpolicy.load("balanced", "simulator")
    columns = {name: [record[name] for record in records] for name in records[0]}
    expected = policy.rerank(
        columns["candidates"],
        columns["scores"],
        user=columns["user_id"],
        history=columns["history"],
        now=columns["now"],
        strength=4,
    )
    assert [row["items"] for row in read] == expected.lists
    assert [row["user_id"] for row in read] == columns["user_id"]


def test_fitted_strength_has_the_largest_reward_of_those_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, held = write(tmp_path / "c.jsonl", rows(1)), write(tmp_path / "h.jsonl", rows(2))
    out = tmp_path / "lists.jsonl"
    assert run("rerank", "balanced", "--data", "simulator", "--candidates", file, "--fit", held, "-o", out) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines() if line[:1].isdigit()]
    chosen = next(row for row in table if row[-1] == "chosen")
    assert float(chosen[1]) == max(float(row[1]) for row in table)
    assert float(chosen[2]) > 0.5 * float(table[0][2])  # the policy's own weights would leave less of the relevance


def lists_of(records: list[dict[str, Any]], strength: float, noise: float) -> list[dict[str, Any]]:
    """Lists by the records' scores with some noise, reranked with a strength."""
    rng = np.random.default_rng(0)
    reranked = recpolicy.load("balanced", "simulator").rerank(
        [record["candidates"] for record in records],
        [np.array(record["scores"]) + noise * rng.standard_normal(len(record["scores"])) for record in records],
        user=[record["user_id"] for record in records],
        history=[record["history"] for record in records],
        strength=strength,
    )
    return [{**record, "items": items} for record, items in zip(records, reranked.lists, strict=True)]


@pytest.mark.parametrize(
    ("strength", "noise", "code", "words"),
    [
        (0.0, 0.0, 0, "SHIP: the whole reward changed by +"),  # better scores
        (0.0, 3.0, 1, "DO NOT SHIP: relevance (guard): "),  # worse scores
        (0.0, 0.4, 1, "UNDECIDED: "),  # the same lists
    ],
)
def test_evaluation_decides_and_follows_its_schema(
    strength: float, noise: float, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = rows(3)
    today = lists_of(records, 0.0, 0.4)
    lists = write(tmp_path / "l.jsonl", lists_of(records, strength, noise))
    base = write(tmp_path / "b.parquet", [{"user_id": r["user_id"], "items": r["items"]} for r in today[::-1]])
    command = ("evaluate", "balanced", "--data", "simulator", "--lists", lists)
    assert run(*command, "--baseline", base, "-o", tmp_path / "f.json", "--fail-unless", "ship") == code
    assert capsys.readouterr().out.startswith(words)
    figures = json.loads((tmp_path / "f.json").read_text())
    jsonschema.validate(figures, json.loads(SCHEMA.read_text()))
    assert figures["decision"]["word"] == words.partition(":")[0]
    assert run(*command) == 0  # without a baseline there is nothing to decide
    assert "SHIP" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "record", "words"),
    [
        (["--strength", "-1"], {}, "--strength is -1.0"),
        ([], {"scores": None}, "no `scores`"),
        ([], {"scores": [1.0]}, "1 scores for 2 candidates"),
        ([], {"candidates": "p0001"}, "`candidates` holds string"),
        (["--fit", "c.jsonl"], {}, "no `next_items`"),
    ],
)
def test_wrong_candidates_are_usage_errors(
    arguments: list[str],
    record: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = {"user_id": "u0000", "candidates": ["p0001", "p0002"], "scores": [1.0, 0.5], **record}
    write(tmp_path / "c.jsonl", [{key: value for key, value in whole.items() if value is not None}])
    command = ("rerank", "balanced", "--data", "simulator", "--candidates", "c.jsonl", "-o", "out.jsonl")
    assert run(*command, *arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_baseline_without_a_list_of_some_user_is_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = write(tmp_path / "l.jsonl", [{"user_id": "u0000", "items": ["p0001"], "next_items": ["p0002"]}])
    base = write(tmp_path / "b.jsonl", [{"user_id": "u0001", "items": ["p0001"]}])
    assert run("evaluate", "balanced", "--data", "simulator", "--lists", lists, "--baseline", base) == 2
    assert "no list for user 'u0000'" in capsys.readouterr().err
    assert run("evaluate", "balanced", "--data", "simulator", "--lists", lists, "--fail-unless", "ship") == 2
