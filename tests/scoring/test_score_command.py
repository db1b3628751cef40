"""`recpolicy score`: logged slates in, what the policy says of each of them out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import checker, cli, data, scoring
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.data import rows_at
from recpolicy.dataset import Dataset, Rows, Slates
from recpolicy.errors import UsageError
from recpolicy.table import Floats, NumberColumn, Ragged

POLICY = """\
policy "scored" {
  language = 1
  data     = "simulator"
  slate    = 6
}

reward relevance weight 0.6 = ndcg(next_items)
reward variety   weight 0.3 = distance(item.genres)
boost  fresh     weight 0.2 = item.age < 60 days limit 2
bury   doubtful  weight 0.1 = item.report_rate > 2%
quota  one_voice weight 0.2 = at most 1 per item.creator
block  unsafe               = item.age_rating > 16

when user.age < 30 {
  reward surprise weight 0.2 = novelty(item.popularity)
}
"""
KINDS = {"user_id": pa.string(), "items": pa.list_(pa.string()), "next_items": pa.list_(pa.string())}


@cache
def simulator() -> Dataset:
    return data.open("simulator")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "scored.policy"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def compiled(policy: Path) -> CompiledPolicy:
    return compile(checker.load(str(policy)), simulator())


def numbers(column: str) -> Floats:
    held = simulator().items.columns[column]
    assert isinstance(held, NumberColumn)
    return held.values


def logged(count: int, seed: int = 0) -> pa.Table:
    """Slates as a platform would log them: of any length up to 8, some items repeated, some unknown."""
    rng = np.random.default_rng(seed)
    known = [*simulator().item_ids, "gone"]
    return pa.table(
        {
            "user_id": [simulator().user_ids[u] for u in rng.integers(0, simulator().users.rows, count)],
            "items": [[known[i] for i in rng.integers(0, len(known), n)] for n in rng.integers(0, 9, count)],
            "next_items": [[known[i] for i in rng.integers(0, len(known), n)] for n in rng.integers(0, 4, count)],
        },
        schema=pa.schema(KINDS),
    )


def by_hand(table: pa.Table, k: int) -> tuple[Rows, Slates]:
    """The same rows and slates, read with plain Python."""
    dataset = simulator()
    users = {name: row for row, name in enumerate(dataset.user_ids)}
    items = {name: row for row, name in enumerate(dataset.item_ids)}
    slates = []
    for record in table.to_pylist():
        slate: list[int] = []
        for name in record["items"][:k]:
            row = items.get(name, -1)
            slate.append(-1 if row in slate else row)
        slates.append(slate + [-1] * (k - len(slate)))
    user = np.array([users[r["user_id"]] for r in table.to_pylist()])
    end = dataset.start[user + 1]
    rows = rows_at(dataset, user, end, 0, end)
    after = Ragged.of([[items[n] for n in r["next_items"] if n in items] for r in table.to_pylist()])
    return Rows(rows.user, rows.now, rows.history, after), Slates(np.array(slates, np.int32))


# ---- the function ---------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_compiled_policy(compiled: CompiledPolicy) -> None:
    table = logged(300)
    rows, slates = by_hand(table, 6)
    scores = scoring.score_batch(compiled, simulator(), table, ranks=True)
    assert scores.column("user_id").to_pylist() == table.column("user_id").to_pylist()
    np.testing.assert_allclose(scores.column("reward").to_numpy(), compiled.total(rows, slates), atol=1e-12)
    np.testing.assert_array_equal(scores.column("blocked").to_numpy(), compiled.blocked(rows, slates))
    for name, marginals in compiled.marginals(rows, slates).items():
        np.testing.assert_allclose(scores.column(f"{name}.value").to_numpy(), marginals.sum(1), atol=1e-12)
        ranks = [[np.nan if v is None else v for v in row] for row in scores.column(f"{name}.ranks").to_pylist()]
        np.testing.assert_allclose(ranks, marginals, atol=1e-12)
    met = compiled.satisfied(rows, slates)["one_voice"]
    np.testing.assert_array_equal(scores.column("one_voice.satisfied").to_numpy(), met)
    assert scores.column("surprise.value").null_count > 0, "the segment leaves some users out"
    assert scores.column("relevance.value").null_count > 0, "some slates have no next items"


def test_holes_are_counted_by_what_they_come_from(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    first, second, third = dataset.item_ids[:3]
    table = pa.table(
        {"user_id": [dataset.user_ids[0]], "items": [[first, "gone", first, second, third, None, second, third]]}
    )
    scores = scoring.score_batch(compiled, dataset, table).to_pylist()[0]
    assert (scores["holes"], scores["unknown"], scores["repeated"], scores["beyond"]) == (3, 2, 1, 2)


def test_items_of_the_history_are_counted_and_keep_their_places(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    rating = numbers("age_rating")
    taken = [dataset.item_ids[i] for i in dataset.item[dataset.start[0] : dataset.start[1]] if rating[i] <= 16]
    table = pa.table({"user_id": [dataset.user_ids[0]], "items": [taken[:6]]})
    scores = scoring.score_batch(compiled, dataset, table).to_pylist()[0]
    assert (scores["seen"], scores["holes"]) == (6, 0)
    assert scores["variety.value"] > 0


def test_now_is_the_last_event_unless_it_is_given(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    slate = {"user_id": [dataset.user_ids[0]], "items": [list(dataset.item_ids[:6])]}
    day = 86_400
    published = numbers("published")[:6]

    def fresh(**more: Any) -> float:
        return float(
            scoring.score_batch(compiled, dataset, pa.table({**slate, **more})).column("fresh.value")[0].as_py()
        )

    assert fresh() == 0  # the first items are the oldest
    assert fresh(now=[float(published.max()) + day]) == 1
    assert fresh(now=pa.array([int(published.max()) + day], pa.timestamp("s"))) == 1
    assert fresh(now=pa.array([None], pa.float64())) == 0


def test_ids_may_be_numbers(compiled: CompiledPolicy, tmp_path: Path) -> None:
    for name, of in (("items", "item"), ("users", "user")):
        lines = [
            f"{of}_id" + (",genres" if of == "item" else ""),
            *(f"{i}" + (",a" if of == "item" else "") for i in range(9)),
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n1,1,1\n")
    (tmp_path / "p.policy").write_text(
        'policy "p" {\n  language = 1\n  data = "."\n  slate = 3\n}\nreward r weight 1 = share(item.popularity > 0)\n'
    )
    dataset = data.open(tmp_path)
    small = compile(checker.load(str(tmp_path / "p.policy")), dataset)
    scores = scoring.score_batch(small, dataset, pa.table({"user_id": [1], "items": [[0, 1, 2]]}))
    assert scores.column("user_id").to_pylist() == ["1"]
    assert scores.column("r.value").to_pylist() == pytest.approx([1 / 3])


def test_all_rows_that_cannot_be_scored_are_named(compiled: CompiledPolicy) -> None:
    table = pa.table({"user_id": ["u0000", "nobody", None], "items": [["p0001"], ["p0001"], ["p0001"]]})
    with pytest.raises(UsageError) as stop:
        scoring.score_batch(compiled, simulator(), table)
    assert 'row 2: unknown user "nobody"' in stop.value.message and "row 3: no `user_id`" in stop.value.message


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"user": ["a"], "items": [["b"]]}, "no `user_id`"),
        ({"user_id": ["a"], "slate": [["b"]]}, "no `items`"),
        ({"user_id": ["a"], "items": ["b"]}, "`items` holds string"),
        ({"user_id": ["a"], "items": [[1.5]]}, "`items` holds list"),
        ({"user_id": [["a"]], "items": [["b"]]}, "`user_id` holds list"),
        ({"user_id": ["a"], "items": [["b"]], "now": ["yesterday"]}, "`now` holds string"),
    ],
)
def test_wrong_columns_are_wrong_use(compiled: CompiledPolicy, table: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        scoring.score_batch(compiled, simulator(), pa.table(table))


# ---- files ----------------------------------------------------------------------------------------------------------


def as_jsonl(table: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), "utf-8")


def test_the_size_of_the_batches_does_not_matter(compiled: CompiledPolicy, tmp_path: Path) -> None:
    pq.write_table(logged(100), tmp_path / "slates.parquet")
    whole = scoring.score_batch(compiled, simulator(), logged(100))
    for size in (1, 7, 64, 1000):
        parts = [t for t, _ in scoring.score_file(compiled, simulator(), tmp_path / "slates.parquet", size=size)]
        assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())


def test_parquet_and_jsonl_are_the_same(policy: Path, tmp_path: Path) -> None:
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


def test_jsonl_reads_times_and_numbers(compiled: CompiledPolicy, tmp_path: Path) -> None:
    path = tmp_path / "slates.jsonl"
    path.write_text(
        '\ufeff{"user_id": "u0000", "items": ["p0001"], "now": "2024-01-31T00:00:00Z"}\n\n'
        '{"user_id": "u0000", "items": ["p0001"], "now": 1706659200, "page": 7}\n',
        "utf-8",
    )
    ((scores, _),) = scoring.score_file(compiled, simulator(), path)
    first, second = scores.to_pylist()
    assert first == second


def test_the_summary_says_what_was_found(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(logged(400), tmp_path / "slates.parquet")
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.parquet")]) == 0
    said = capsys.readouterr().out
    assert said.startswith('slates.parquet: 400 slates by "scored" version 1, 6 places\n')
    for rule in ("relevance", "variety", "fresh", "doubtful", "one_voice", "surprise", "R, the whole reward"):
        assert f"\n{rule} " in said
    assert "Slates with a blocked item: " in said and "items that the catalog does not hold" in said
    assert sorted(tmp_path.iterdir()) == [tmp_path / "slates.parquet"]


def test_slates_without_next_items_have_no_relevance(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(logged(20).drop_columns(["next_items"]), tmp_path / "slates.parquet")
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.parquet")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("relevance"))
    assert "applies to no slate" in line


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_no_slates_are_no_problem(kind: str, policy: Path, tmp_path: Path) -> None:
    pq.write_table(logged(0), tmp_path / "slates.parquet")
    (tmp_path / "slates.jsonl").write_text("")
    assert (
        cli.main(
            ["score", str(policy), "--slates", str(tmp_path / f"slates.{kind}"), "-o", str(tmp_path / "o.parquet")]
        )
        == 0
    )
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0


def test_bad_rows_are_named_together_and_nothing_is_written(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.table(
        {"user_id": ["u0000", "x", "u0001", "y"], "items": [["p0001"], ["p0001"], None, ["p0001"]]}, schema=None
    )
    as_jsonl(table, tmp_path / "slates.jsonl")
    out = tmp_path / "out.jsonl"
    assert cli.main(["score", str(policy), "--slates", str(tmp_path / "slates.jsonl"), "-o", str(out)]) == 2
    said = capsys.readouterr().err
    for words in ('line 2: unknown user "x"', "line 3: no `items`", 'line 4: unknown user "y"', "slates.jsonl"):
        assert words in said
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
def test_files_that_cannot_be_read_are_wrong_use(
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
def test_wrong_use(
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


def test_the_interval_holds_the_truth_though_users_repeat() -> None:
    """95 % of intervals hold the mean when every user's slates are alike: those of independent slates would not."""
    rng = np.random.default_rng(0)
    dataset = simulator()
    users = np.repeat(np.arange(dataset.users.rows), 10)
    held = 0
    for _ in range(200):
        values = np.repeat(rng.normal(0.5, 0.1, dataset.users.rows), 10)
        tally = scoring.Tally(dataset)
        for part in np.array_split(np.arange(len(users)), 3):
            tally.add(pa.table({"user_id": [""] * len(part), "reward": values[part]}), users[part])
        found = tally.mean("reward")
        assert found.mean == pytest.approx(values.mean())
        held += abs(found.mean - 0.5) <= found.margin
    assert 180 <= held <= 199


def test_one_user_gives_no_interval() -> None:
    tally = scoring.Tally(simulator())
    tally.add(pa.table({"user_id": ["a"], "reward": [0.25]}), np.zeros(1, np.int64))
    found = tally.mean("reward")
    assert (found.mean, found.slates) == (0.25, 1) and np.isnan(found.margin)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(policy: Path, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.parquet"
        with pq.ParquetWriter(path, pa.schema(KINDS)) as writer:
            for part in range(count // 5_000):
                writer.write_table(logged(5_000, seed=part))
        out = str(tmp_path / "out.parquet")
        script = (
            "import resource, sys; from recpolicy.cli import main; code = main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, "score", str(policy), "--slates", str(path), "-o", out],
            capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert pq.ParquetFile(out).metadata.num_rows == count
        return int(done.stderr.split()[-1])

    assert peak(100_000) < 1.25 * peak(10_000)
