"""Checks `recpolicy.load`: the numbers of training, of `Scorer` and of the object are the same for the same rows."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import recpolicy
from recpolicy import data
from recpolicy.api import LoadedPolicy
from recpolicy.dataset.rows import Rows
from recpolicy.errors import PolicyError, UsageError
from recpolicy.policies import __path__ as samples_at
from recpolicy.rewards import RewardComputer
from recpolicy.scoring import Scorer
from tests.scoring.logs import numbers, simulator

SAMPLES = sorted(path.stem for path in Path(samples_at[0]).glob("*.policy"))


@pytest.fixture(scope="module")
def balanced() -> LoadedPolicy:
    return recpolicy.load("balanced", "simulator")


def drawn(policy: LoadedPolicy, count: int, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """Rows at random cuts, and lists of which some items are seen and some are next items."""
    dataset, rng = simulator(), np.random.default_rng(seed)
    users = rng.choice(np.flatnonzero(np.diff(dataset.start) > 12), count)
    rows = data.rows_at(dataset, users, dataset.start[users] + 6, 4, dataset.start[users + 1])
    slates = np.stack([rng.permutation(dataset.items.rows)[: policy.slate] for _ in users]).astype(np.int32)
    for row in range(0, count, 2):
        slates[row, 0], slates[row, 1] = rows.history.row(row)[0], rows.next_items.row(row)[0]
    return rows, slates


def named(rows: list[np.ndarray]) -> list[list[str]]:
    return [[simulator().item_ids[item] for item in row if item >= 0] for row in rows]


@pytest.mark.parametrize("name", SAMPLES)
def test_one_meaning_for_trainer_scorer_and_object(name: str) -> None:
    dataset = simulator()
    try:
        policy = recpolicy.load(name, "simulator")
    except PolicyError:
        pytest.skip(f"the sample `{name}` is for other data")
    rows, slates = drawn(policy, 40)
    histories, following = ([named([r.row(n)])[0] for n in range(len(rows))] for r in (rows.history, rows.next_items))
    users = [dataset.user_ids[u] for u in rows.user]
    lists = named(list(slates))
    of_trainer = RewardComputer(policy.compiled, rows, dataset.items.rows).of_slates(slates, range(len(rows)))
    applies = of_trainer.weights.any(1)
    reward = np.where(applies, np.nansum(of_trainer.parts, 1), np.nan)
    table = pa.table({"user_id": users, "items": lists, "history": histories, "next_items": following, "now": rows.now})
    logged = Scorer(policy.compiled, dataset)(table)
    for found in (
        policy.score(lists, user=users, history=histories, next_items=following, now=rows.now),
        policy.score(lists, user=users, next_items=following, now=rows.now),
    ):
        np.testing.assert_allclose(found.reward, reward, atol=1e-9)
        np.testing.assert_allclose(logged.column("reward").to_numpy(), reward, atol=1e-9)
        for at, rule in enumerate(policy.rules):
            np.testing.assert_allclose(found.rules[rule], of_trainer.values[:, at], atol=1e-9)
            np.testing.assert_allclose(found.weights[rule], of_trainer.weights[:, at], atol=1e-9)
            np.testing.assert_allclose(found.ranks[rule], of_trainer.marginals[rule], atol=1e-9)
        assert not found.problems
        assert found.seen[::2].all() and not found.seen.all()


def test_batch_equals_rows_one_by_one(balanced: LoadedPolicy) -> None:
    rows, slates = drawn(balanced, 20, seed=1)
    lists, users = named(list(slates)), [simulator().user_ids[u] for u in rows.user]
    together = balanced.score(lists, user=users, now=rows.now)
    alone = [
        balanced.score([ids], user=user, now=now).reward[0]
        for ids, user, now in zip(lists, users, rows.now, strict=True)
    ]
    np.testing.assert_allclose(together.reward, alone, atol=1e-12)


def test_unknown_user_and_items_are_problems_of_their_rows(balanced: LoadedPolicy) -> None:
    known = list(simulator().item_ids[:3])
    found = balanced.score([known, ["gone", *known], known], user=["u0000", "u0001", "nobody"])
    assert [(p.row, p.reason) for p in found.problems] == [
        (1, "1 items are not in the catalog: 'gone'"),
        (2, "unknown user 'nobody'"),
    ]
    assert np.isnan(found.reward).tolist() == [False, False, True]


def test_anonymous_user_has_missing_columns_and_inline_columns_count() -> None:
    policy = recpolicy.load("family_safe", "simulator")
    rated = np.flatnonzero(numbers("age_rating") == 16)
    list_ = [simulator().item_ids[i] for i in rated[:2]]
    found = policy.score([list_, list_], users={"age": [12, 40]})
    assert found.blocked.tolist() == [True, False]
    assert policy.score([list_]).blocked.tolist() == [True]  # nothing is known, so the block may hold
    with pytest.raises(UsageError, match=r"no column `user\.agee`"):
        policy.score([list_], users={"agee": [12]})


@pytest.mark.parametrize("kind", ["arrow", "pandas", "mapping", "file"])
def test_tables_in_memory_need_no_data_set(kind: str, tmp_path: Path) -> None:
    (tmp_path / "p.policy").write_text(
        'policy "p" {\n  language = 1\n  data = "."\n  slate = 3\n}\n'
        "reward variety weight 1 = distance(item.genres)\nquota cheap weight 1 = at least 1 where item.price < 10\n"
    )
    columns = {"item_id": ["a", "b", "c"], "genres": ["x|y", "x", "z"], "price": [5.0, 20.0, 30.0]}
    tables = {
        "arrow": pa.table(columns),
        "pandas": pd.DataFrame(columns),
        "mapping": columns,
        "file": tmp_path / "i.csv",
    }
    pd.DataFrame(columns).to_csv(tmp_path / "i.csv", index=False)
    policy = recpolicy.load(tmp_path / "p.policy", items=tables[kind])
    found = policy.score([["a", "b", "c"], ["b", "c"]])
    np.testing.assert_allclose(found.rules["cheap"], [1, 0])
    assert found.satisfied["cheap"].tolist() == [True, False]
    assert policy.rerank([["a", "b", "c"]], [[0.1, 0.2, 0.3]], strength=0).lists[0][0] == "c"


def test_rerank_leaves_out_history_blocked_and_unknown(balanced: LoadedPolicy) -> None:
    ids = list(simulator().item_ids[:40])
    reranked = balanced.rerank([[*ids, "gone"]], [np.linspace(1, 0, 41)], user="u0000", history=[ids[:10]])
    assert len(reranked.lists[0]) == balanced.slate
    assert not set(reranked.lists[0]) & {*ids[:10], "gone"}
    assert reranked.problems[0].reason == "1 candidates are not in the catalog: 'gone'"
    by_score = balanced.rerank([ids], [np.linspace(1, 0, 40)], user="u0000", history=[ids[:10]], strength=0.0)
    assert by_score.lists[0] == ids[10 : 10 + balanced.slate]


def test_evaluation_is_paired_with_a_baseline(balanced: LoadedPolicy) -> None:
    rows, slates = drawn(balanced, 60, seed=2)
    lists, users = named(list(slates)), [simulator().user_ids[u] for u in rows.user]
    following = [named([rows.next_items.row(n)])[0] for n in range(len(rows))]
    perfect = [
        [*ids, *[i for i in list_ if i not in ids]][: balanced.slate]
        for ids, list_ in zip(following, lists, strict=True)
    ]
    found = balanced.evaluate(perfect, next_items=following, user=users, now=rows.now, baseline=lists)
    assert found.accuracy["recall"].mean == 1.0
    assert found.less_baseline["ndcg"].low > 0
    assert found.decision is not None
    alone = balanced.evaluate(lists, next_items=following, user=users, now=rows.now)
    assert (alone.decision, dict(alone.less_baseline)) == (None, {})


def test_explanation_names_every_place(balanced: LoadedPolicy) -> None:
    text = balanced.explain(simulator().item_ids[:4], user="u0001")
    assert "A list for user u0001" in text and simulator().item_ids[3] in text


def test_object_survives_pickling_and_threads(balanced: LoadedPolicy) -> None:
    again = pickle.loads(pickle.dumps(balanced))
    lists = [list(simulator().item_ids[n : n + 8]) for n in range(40)]
    expected = [balanced.score([ids], user="u0001").reward[0] for ids in lists]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda ids: again.score([ids], user="u0001").reward[0], lists))
    np.testing.assert_allclose(found, expected, atol=0)


def test_loading_imports_no_torch() -> None:
    code = "import recpolicy, sys; recpolicy.load('balanced', 'simulator'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_wrong_use_is_told_apart(balanced: LoadedPolicy) -> None:
    with pytest.raises(UsageError, match="both `data` and `items`"):
        recpolicy.load("balanced", "simulator", items={"item_id": ["a"]})
    with pytest.raises(UsageError, match="`items` is no table"):
        recpolicy.load("balanced", items=42)
    with pytest.raises(UsageError, match="2 values for 1 lists"):
        balanced.score([["p0001"]], user=["u0000", "u0001"])
    with pytest.raises(UsageError, match="'noon' is no time"):
        balanced.score([["p0001"]], now="noon")
