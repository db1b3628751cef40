"""Checks initial item embeddings, made of co-occurrence and attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from recpolicy import data
from recpolicy.data import split
from recpolicy.dataset.columns import ColumnData, ListColumn, Ragged, Table, WordColumn
from recpolicy.dataset.rows import Dataset, Split
from recpolicy.trainer.models import embeddings

ITEMS = 120
SILENT = (3, 50, 119)
"""Items of which nothing is said in `told`."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return data.simulate(users=60, items=ITEMS, creators=8).dataset


def parted(dataset: Dataset) -> Split:
    return split(dataset, holdout=5)


def told(dataset: Dataset, silent: tuple[int, ...] = ()) -> Dataset:
    """The data set whose items have topics and a creator only, and those of `silent` neither."""
    topics, creator = (dataset.items.columns[name] for name in ("genres", "creator"))
    assert isinstance(topics, ListColumn) and isinstance(creator, WordColumn)
    rows = [[] if item in silent else topics.values.row(item).tolist() for item in range(ITEMS)]
    missing = topics.missing | np.isin(np.arange(ITEMS), silent)
    codes = np.where(np.isin(np.arange(ITEMS), silent), np.int32(-1), creator.values)
    columns: dict[str, ColumnData] = {
        "genres": replace(topics, values=Ragged.of(rows), missing=missing),
        "creator": replace(creator, values=codes),
    }
    return replace(dataset, items=Table(ITEMS, columns))


def said(dataset: Dataset) -> list[dict[str, float]]:
    """Topics and creator of each item, weighed by how few of the items in training have them, one by one."""
    topics, creator = (dataset.items.columns[name] for name in ("genres", "creator"))
    assert isinstance(topics, ListColumn) and isinstance(creator, WordColumn)
    words = [[f"topic {topic}" for topic in topics.values.row(item).tolist()] for item in range(ITEMS)]
    for item, code in enumerate(creator.values.tolist()):
        words[item] += [f"creator {code}"] if code >= 0 else []
    ends = parted(dataset).train_end.tolist()
    learned = {item for u, end in enumerate(ends) for item in dataset.item[dataset.start[u] : end].tolist()}
    out = []
    for own in words:
        having = {word: sum(word in words[item] for item in learned) for word in own}
        weights = {word: log(len(learned) / count) for word, count in having.items() if count}
        length = sqrt(sum(weight**2 for weight in weights.values()))
        out.append({word: weight / length for word, weight in weights.items()})
    return out


def apart(one: dict[str, float], two: dict[str, float]) -> float:
    return sqrt(sum((one.get(word, 0.0) - two.get(word, 0.0)) ** 2 for word in {**one, **two}))


def distances(vectors: Tensor) -> Tensor:
    return (vectors[:, None] - vectors).square().sum(2).sqrt()


MADE = {"start": embeddings.initial_item_embeddings, "tastes": embeddings.collaborative, "meanings": embeddings.content}


@pytest.mark.parametrize("width", [8, 64, 300])
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_item_embeddings_have_unit_deviation(
    make: Callable[[Dataset, Split, int], Tensor], width: int, dataset: Dataset
) -> None:
    torch.manual_seed(0)
    found = make(dataset, parted(dataset), width)
    assert found.shape == (ITEMS, width) and found.dtype == torch.float32
    assert float(found.std()) == pytest.approx(1.0, abs=0.1) and found.isfinite().all()
    of_columns = found.square().mean(0)
    assert float(of_columns.max()) < 8 * float(of_columns.median()), "no column has most of it"


def test_wide_embeddings_preserve_attribute_distances(dataset: Dataset) -> None:
    torch.manual_seed(1)
    some = told(dataset, SILENT)
    found = distances(embeddings.content(some, parted(some), 64)).double().numpy()
    words = said(some)
    wanted = np.array([[apart(one, two) for two in words] for one in words])
    scale = found.sum() / wanted.sum()
    np.testing.assert_allclose(found, scale * wanted, atol=1e-3 * scale)


def test_narrow_embeddings_keep_similar_items_near(dataset: Dataset) -> None:
    torch.manual_seed(2)
    some = told(dataset)
    creator, topics = some.items.columns["creator"], some.items.columns["genres"]
    assert isinstance(creator, WordColumn) and isinstance(topics, ListColumn)
    shared = [[len({*topics.values.row(a)} & {*topics.values.row(b)}) for b in range(ITEMS)] for a in range(ITEMS)]
    same = torch.from_numpy(creator.values[:, None] == creator.values)
    alike = same & (torch.tensor(shared) > 0) & ~torch.eye(ITEMS, dtype=torch.bool)
    strange = ~same & (torch.tensor(shared) == 0)
    for make in (embeddings.content, embeddings.initial_item_embeddings):
        far = distances(make(some, parted(some), 8))
        assert alike.any() and far[alike].mean() < 0.8 * far[strange].mean()


def test_items_without_attributes_start_equal(dataset: Dataset) -> None:
    torch.manual_seed(3)
    some = told(dataset, SILENT)
    found = embeddings.content(some, parted(some), 16)
    assert found.isfinite().all()
    torch.testing.assert_close(found[[*SILENT]], found[[SILENT[0]] * 3])
    assert (distances(found)[SILENT[0]] > 1e-3).sum() == ITEMS - len(SILENT)


def test_catalog_without_attributes_uses_only_interactions(dataset: Dataset) -> None:
    bare = replace(dataset, items=Table(ITEMS, {}))
    assert not embeddings.content(bare, parted(bare), 16).any()
    torch.manual_seed(4)
    found = embeddings.initial_item_embeddings(bare, parted(bare), 16)
    assert found.isfinite().all() and float(found.std()) == pytest.approx(sqrt(0.5), abs=0.1)


def test_same_seed_gives_same_embeddings(dataset: Dataset) -> None:
    made = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        made.append(embeddings.initial_item_embeddings(dataset, parted(dataset), 8))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_held_out_events_do_not_change_embeddings(dataset: Dataset) -> None:
    end = parted(dataset)
    moved = dataset.item.copy()
    for user, last in enumerate(end.train_end.tolist()):
        moved[last : dataset.start[user + 1]] = 7
    found = []
    for some in (dataset, replace(dataset, item=moved)):
        torch.manual_seed(0)
        found.append(embeddings.initial_item_embeddings(some, end, 8))
    assert torch.equal(*found)
