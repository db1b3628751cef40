"""Checks `Scorer`: a table of logged slates in, their scores out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recpolicy import data
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.errors import UsageError
from recpolicy.language import checker
from recpolicy.rewards import RewardComputer
from recpolicy.scoring import Scorer
from tests.scoring.logs import by_hand, logged, numbers, simulator


def test_scores_equal_compiled_policy(compiled: CompiledPolicy) -> None:
    table = logged(300)
    rows, slates = by_hand(table, 6)
    scores = Scorer(compiled, simulator(), ranks=True)(table)
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


def test_holes_are_counted_by_cause(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    first, second, third = dataset.item_ids[:3]
    table = pa.table(
        {"user_id": [dataset.user_ids[0]], "items": [[first, "gone", first, second, third, None, second, third]]}
    )
    scores = Scorer(compiled, dataset)(table).to_pylist()[0]
    assert (scores["holes"], scores["unknown"], scores["repeated"], scores["beyond"]) == (3, 2, 1, 2)


def test_seen_items_are_counted_and_keep_places(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    rating = numbers("age_rating")
    taken = [dataset.item_ids[i] for i in dataset.item[dataset.start[0] : dataset.start[1]] if rating[i] <= 16]
    table = pa.table({"user_id": [dataset.user_ids[0]], "items": [taken[:6]]})
    scores = Scorer(compiled, dataset)(table).to_pylist()[0]
    assert (scores["seen"], scores["holes"]) == (6, 0)
    assert scores["variety.value"] > 0


def test_history_of_row_leaves_holes_as_in_training(compiled: CompiledPolicy) -> None:
    dataset = simulator()
    rng = np.random.default_rng(0)
    users = np.flatnonzero(np.diff(dataset.start) > 8)[:60]
    cut = dataset.start[users] + 4
    rows = data.rows_at(dataset, users, cut, 4, dataset.start[users + 1])
    slates = np.stack([rng.permutation(dataset.items.rows)[:6] for _ in users]).astype(np.int32)
    slates[:, 0] = [rows.history.row(n)[0] for n in range(len(users))]  # seen
    slates[::2, 1] = [rows.next_items.row(n)[0] for n in range(0, len(users), 2)]
    table = pa.table(
        {
            "user_id": [dataset.user_ids[u] for u in users],
            "items": [[dataset.item_ids[i] for i in slate] for slate in slates],
            "history": [[dataset.item_ids[i] for i in rows.history.row(n)] for n in range(len(users))],
            "next_items": [[dataset.item_ids[i] for i in rows.next_items.row(n)] for n in range(len(users))],
            "now": rows.now,
        }
    )
    of_trainer = RewardComputer(compiled, rows, dataset.items.rows).of_slates(slates, range(len(users)))
    scorer = Scorer(compiled, dataset)
    for columns in (table, table.drop_columns(["history"])):  # the data hold the same history up to `now`
        found = scorer(columns)
        np.testing.assert_allclose(found.column("reward").to_numpy(), np.nansum(of_trainer.parts, 1), atol=1e-12)
        assert (found.column("seen").to_numpy() >= 1).all()


def test_now_defaults_to_last_event(scorer: Scorer) -> None:
    dataset = simulator()
    slate = {"user_id": [dataset.user_ids[0]], "items": [list(dataset.item_ids[:6])]}
    day = 86_400
    published = numbers("published")[:6]

    def fresh(**more: Any) -> float:
        return float(scorer(pa.table({**slate, **more})).column("fresh.value")[0].as_py())

    assert fresh() == 0  # the first items are the oldest
    assert fresh(now=[float(published.max()) + day]) == 1
    assert fresh(now=pa.array([int(published.max()) + day], pa.timestamp("s"))) == 1
    assert fresh(now=pa.array([None], pa.float64())) == 0


def test_numeric_ids_are_accepted(compiled: CompiledPolicy, tmp_path: Path) -> None:
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
    scores = Scorer(small, dataset)(pa.table({"user_id": [1], "items": [[0, 1, 2]]}))
    assert scores.column("user_id").to_pylist() == ["1"]
    assert scores.column("r.value").to_pylist() == pytest.approx([1 / 3])


def test_unscorable_rows_are_all_listed(scorer: Scorer) -> None:
    table = pa.table({"user_id": ["u0000", "nobody", None], "items": [["p0001"], ["p0001"], ["p0001"]]})
    with pytest.raises(UsageError) as stop:
        scorer(table)
    assert 'row 2: unknown user "nobody"' in stop.value.message and "row 3: no `user_id`" in stop.value.message


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"user": ["a"], "items": [["b"]]}, "no `user_id`"),
        ({"user_id": ["a"], "slate": [["b"]]}, "no `items`"),
        ({"user_id": ["a"], "items": ["b"]}, "`items` holds string"),
        ({"user_id": ["a"], "items": [[{"id": 1}]]}, "`items` holds list"),
        ({"user_id": [["a"]], "items": [["b"]]}, "`user_id` holds list"),
        ({"user_id": ["a"], "items": [["b"]], "now": [[1]]}, "`now` holds list"),
        (
            {"user_id": ["u0000"], "items": [["b"]], "now": ["yesterday"]},
            "row 1: `now` is 'yesterday', which is no time",
        ),
    ],
)
def test_wrong_columns_are_refused(scorer: Scorer, table: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        scorer(pa.table(table))


def test_dictionary_and_large_string_ids_are_accepted(scorer: Scorer) -> None:
    table = logged(50)
    large = pa.schema({"user_id": pa.large_string(), "items": pa.large_list(pa.large_string())})
    bare = table.drop_columns(["next_items"])
    assert scorer(bare.cast(large)).equals(scorer(bare))
    coded = bare.set_column(0, "user_id", table.column("user_id").dictionary_encode())
    assert scorer(coded).equals(scorer(bare))


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("reward r weight 1 = distance(item.genres)", ()),
        ("reward r weight 1 = ndcg(next_items)", ("next_items",)),
        ("boost r weight 1 = item.age < 9 days limit 2", ()),
        ("reward r weight 1 = calibration(item.genres)", ()),
        ("reward r weight 1 = serendipity(item.genres)", ("next_items",)),
        ("block b = item.is_ad and share(item.is_ad) of history > 5%\nreward r weight 1 = distance(item.genres)", ()),
        ("reward r weight 1 = share(item.is_ad)\nwhen count() of history > 30 {\n  reward r weight 0.5\n}", ()),
    ],
)
def test_unused_columns_are_not_read(rule: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "p.policy").write_text(
        f'policy "p" {{\n  language = 1\n  data = "simulator"\n  slate = 6\n}}\n{rule}\n'
    )
    compiled = compile(checker.load(str(tmp_path / "p.policy")), simulator())
    scorer, table = Scorer(compiled, simulator()), logged(200)
    assert scorer.columns == ("user_id", "items", "history", *columns, "now")
    rows, slates = by_hand(table, 6)  # with all there is
    found = scorer(table)
    reward = np.where(compiled.weights(rows).any(1), compiled.total(rows, slates), np.nan)  # no rule applies: no reward
    np.testing.assert_allclose(found.column("reward").to_numpy(), reward, atol=1e-12)
    np.testing.assert_array_equal(found.column("blocked").to_numpy(), compiled.blocked(rows, slates))
