"""Checks baselines: equal to their definitions, independent of held-out events, better than popularity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.dataset.columns import Floats, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.evaluation import baselines, classics
from recpolicy.evaluation.baselines import Baseline, Ease, ItemKNN, fit, top
from recpolicy.evaluation.metrics import accuracy

SIMULATED = data.simulate(users=150, items=200, creators=30, seed=1).dataset


@pytest.fixture(scope="module")
def split() -> Split:
    return data.split(SIMULATED, holdout=5)


@pytest.fixture(scope="module")
def fitted(split: Split) -> dict[str, Baseline]:
    return fit(SIMULATED, split, 10)


def training(dataset: Dataset, split: Split) -> np.ndarray:
    seen = np.zeros((len(dataset.user_ids), dataset.items.rows))
    for user, end in enumerate(split.train_end):
        seen[user, dataset.item[dataset.start[user] : end]] = 1
    return seen


def test_baselines_beat_popularity(split: Split, fitted: dict[str, Baseline]) -> None:
    rows = split.test
    ndcg = {n: np.nanmean(accuracy("ndcg", rows, top(b.scores(rows), rows, 10))) for n, b in fitted.items()}
    assert list(ndcg) == ["popularity", "itemknn", "ease", "ease_recency"]
    assert all(ndcg[name] > ndcg["popularity"] for name in list(ndcg)[1:])


@pytest.mark.parametrize("transposed", [False, True], ids=["fewer users", "fewer items"])
def test_ease_equals_closed_form(transposed: bool) -> None:
    users, items = (80, 30) if transposed else (20, 60)
    dataset, split = random_data(users, items)
    found = fit(dataset, split, 5)["ease"]
    seen, history = training(dataset, split), np.zeros((len(split.test), items))
    for b in range(len(split.test)):
        history[b, split.test.history.row(b)] = 1
    inverse = np.linalg.inv(seen.T @ seen + found.settings["penalty"] * np.eye(items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(found.scores(split.test), history @ weights, atol=1e-4)


def test_itemknn_equals_its_definition() -> None:
    dataset, split = random_data(30, 20)
    found = fit(dataset, split, 5)["itemknn"]
    assert isinstance(found, ItemKNN)
    seen, n = training(dataset, split), found.neighbours
    together, count = seen.T @ seen, seen.sum(0)
    for b in range(len(split.test)):
        history = split.test.history.row(b)
        for j in range(20):
            cosine = together[j] / np.maximum((count[j] * count) ** 0.5 + found.nearest.shrink, 1)
            cosine[j] = 0
            nearest = np.argsort(-cosine, kind="stable")[:n]
            assert found.scores(split.test)[b, j] == pytest.approx(
                cosine[nearest[np.isin(nearest, history)]].sum(), abs=1e-5
            )


def test_recency_weight_halves_every_half_life(fitted: dict[str, Baseline]) -> None:
    found = fitted["ease_recency"]
    assert isinstance(found, Ease) and found.half_life is not None
    two_back = replace(found, half_life=2.0)
    one = np.zeros(1, np.int64), np.zeros(1)

    def scores(*history: int) -> Floats:
        found: Floats = two_back.scores(Rows(*one, Ragged.of([history]), Ragged.of([[]])))[0]
        return found

    old, middle, last = scores(5), scores(6), scores(7)
    np.testing.assert_allclose(scores(5, 6, 7), 0.5 * old + 0.5**0.5 * middle + last, atol=1e-5)
    np.testing.assert_allclose(scores(7, 5, 6, 7), scores(5, 6, 7), atol=1e-5)  # taken again: as its last time


def test_held_out_events_do_not_change_baselines(split: Split, fitted: dict[str, Baseline]) -> None:
    item = SIMULATED.item.copy()
    for user in split.test.user:
        item[SIMULATED.start[user + 1] - 5 : SIMULATED.start[user + 1]] = 0  # the test events
    again = fit(replace(SIMULATED, item=item), split, 10)
    for name, model in fitted.items():
        assert model.settings == again[name].settings
        np.testing.assert_array_equal(model.scores(split.test), again[name].scores(split.test))


def test_top_skips_seen_and_illegal_items() -> None:
    rows = Rows(np.zeros(2, np.int64), np.zeros(2), Ragged.of([[1], []]), Ragged.of([[], []]))
    scores = np.array([[0.1, 0.9, 0.3, 0.3], [0.2, 0.2, 0.2, 0.2]], np.float32)
    assert top(scores, rows, 2).items.tolist() == [[2, 3], [0, 1]]
    legal = np.array([[True, True, False, False], [False, False, False, True]])
    assert top(scores, rows, 3, legal).items.tolist() == [[0, -1, -1], [3, -1, -1]]
    assert top(scores, rows, 6).items.tolist() == [[2, 3, 0, -1, -1, -1], [0, 1, 2, 3, -1, -1]]


def random_data(users: int, items: int) -> tuple[Dataset, Split]:
    """Users who each took nine items at random, and the split that holds out one and one."""
    rng = np.random.default_rng(users)
    item = np.concatenate([rng.permutation(items)[:9] for _ in range(users)]).astype(np.int32)
    start = np.arange(users + 1) * 9
    cut = replace(
        SIMULATED,
        items=replace(SIMULATED.items, rows=items),
        user_ids=SIMULATED.user_ids[:users],
        start=start,
        item=item,
        time=np.zeros(len(item)),
    )
    return cut, data.split(cut, holdout=1)


@pytest.mark.parametrize("repeatable", [False, True])
def test_training_matrix_holds_the_largest_weight_of_each_pair(repeatable: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "items.csv").write_text("item_id\n" + "".join(f"{n}\n" for n in range(6)))
    (tmp_path / "users.csv").write_text("user_id\na\nb\n")
    drawn = zip("ab" * 15, rng.integers(0, 6, 30), rng.random(30), strict=True)
    log = [(user, item, time, stars) for time, (user, item, stars) in enumerate(drawn)]
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp,stars\n" + "".join(f"{u},{i},{t},{w}\n" for u, i, t, w in log)
    )
    text = f"[item]\n[user]\n[interactions]\nweight = 'stars'\nrepeatable = {str(repeatable).lower()}\n"
    (tmp_path / "schema.toml").write_text(text)
    dataset = data.open(tmp_path)
    split = data.split(dataset, holdout=1)
    expected = np.zeros((2, 6), np.float32)
    for user in range(2):
        for event in range(dataset.start[user], split.train_end[user]):
            item = dataset.item[event]
            expected[user, item] = max(expected[user, item], dataset.weight[event])  # type: ignore[index]
    np.testing.assert_allclose(baselines.taken(dataset, split), expected)
    np.testing.assert_allclose(classics.taken(dataset, split).toarray(), expected)
