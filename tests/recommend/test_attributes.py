"""Checks item attributes as vectors: similar items, and regression on attributes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.data import Aligned
from recpolicy.dataset.columns import Floats, Ints
from recpolicy.trainer.coldstart import regression
from recpolicy.trainer.models import item_attributes
from tests.recommend.platform import sparse


def test_attributes_encode_words_topics_booleans_and_numbers(catalog: Aligned) -> None:
    learned = np.arange(60)
    facts = item_attributes.attributes(catalog.dataset, learned)
    same = facts.of(np.array([1, catalog.earlier + 1, 60, 2]))  # c1, its copy, what has left, another
    np.testing.assert_array_equal(same[0], same[1])
    assert not same[2].any() and (same[3] != same[0]).any()
    # the title's three words, topic, creator and `free` are 1 each, and so are rating, published and creator_since
    assert same[0].sum() == pytest.approx(3 + 1 + 1 + 1 + 3) and facts.width <= item_attributes.WIDTH


def test_id_only_catalog_has_no_attributes(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text("".join(f'{{"item_id": "{id}"}}\n' for id in "abc"))
    (tmp_path / "users.jsonl").write_text('{"user_id": "u"}\n')
    (tmp_path / "interactions.jsonl").write_text('{"user_id": "u", "item_id": "a", "timestamp": 1}\n')
    (tmp_path / "schema.toml").write_text(
        'name = "bare"\n[item]\nid = { column = "item_id", type = "text", role = "id" }'
    )
    facts = item_attributes.attributes(data.open(tmp_path), np.arange(2))
    assert facts.of(np.arange(3)).shape == (3, 0)
    assert [len(like) for like in item_attributes.similar_items(facts, np.arange(2), np.array([2]), 4)] == [0]


def test_similar_items_are_ordered_and_share_attributes() -> None:
    #          a rare topic, a frequent one, another
    x = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float64)
    learned: Ints = np.arange(5)
    [like] = item_attributes.similar_items(sparse(x), learned, np.array([5]), 4)
    assert like.tolist() == [0, 1, 2, 3], "the rare topic counts for more, and item 4 shares none"
    assert [len(of) for of in item_attributes.similar_items(sparse(x), learned, np.array([5, 4]), 2)] == [2, 1]


def test_ridge_penalty_minimises_leave_one_out_error() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((30, 12)) < 0.4).astype(np.float64)
    targets = x @ rng.normal(size=(12, 3)) + rng.normal(scale=2.0, size=(30, 3))
    facts, rows = sparse(np.vstack([x, rng.random((5, 12))])), np.arange(30)

    def solved(x: Floats, y: Floats, penalty: float, at: Floats) -> Floats:
        centred = x - x.mean(0)
        slopes = np.linalg.solve(centred.T @ centred + penalty * np.eye(12), centred.T @ (y - y.mean(0)))
        return np.asarray(y.mean(0) + (at - x.mean(0)) @ slopes, np.float64)

    def errors(penalty: float) -> float:
        left = [solved(np.delete(x, i, 0), np.delete(targets, i, 0), penalty, x[i]) - targets[i] for i in range(30)]
        return float((np.array(left) ** 2).sum())

    best = min(regression.PENALTIES, key=errors)
    assert min(regression.PENALTIES) < best < max(regression.PENALTIES)
    found = regression.fit(facts, rows, targets)
    np.testing.assert_allclose(
        found.of(facts.of(np.arange(30, 35))), solved(x, targets, best, facts.of(np.arange(30, 35)))
    )
