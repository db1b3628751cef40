"""Checks real data sets against published counts; skipped where they are not present."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.data import download
from recpolicy.dataset.columns import NumberColumn, WordColumn
from recpolicy.errors import UsageError
from recpolicy.schema import Role

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "items", "users", "interactions", "creators"),
    [
        ("goodbooks", 10_000, 1_856, 207_299, 3_885),
        ("kuairand-pure", 7_583, 10_879, 519_489, 6_510),
        ("ml-latest-small", 9_125, 671, 100_004, 1_867),
    ],
)
def test_shared_datasets_open_and_split(name: str, items: int, users: int, interactions: int, creators: int) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the data set {name} is not beside the repository (shared/data)")
    dataset = data.open(SHARED / name)
    assert (dataset.items.rows, dataset.users.rows, len(dataset.item)) == (items, users, interactions)
    creator = dataset.items.columns["creator"]
    assert isinstance(creator, WordColumn)
    assert len(creator.words) == creators
    assert all(dataset.schema.with_role(role) for role in Role)
    split = data.split(dataset)
    assert not np.isnan(split.test.now).any()
    assert (split.test.next_items.lengths >= 1).all()
    viewed = data.training_view(dataset, split).items.columns["popularity"]
    assert isinstance(viewed, NumberColumn)
    assert 0 < viewed.values.max() <= users


def test_movielens_100k_matches_published_counts() -> None:
    if not (download.cache() / "ml-100k").is_dir():
        try:
            data.get("ml-100k")
        except UsageError as e:
            pytest.skip(f"MovieLens-100K cannot be fetched here: {e}")
    dataset = data.open("ml-100k")
    assert (dataset.items.rows, dataset.users.rows, len(dataset.item)) == (1_682, 943, 100_000)
    toy_story = dataset.item_ids.index("1")
    title, popularity, creator = (dataset.items.columns[name] for name in ("title", "popularity", "creator"))
    assert isinstance(title, WordColumn) and isinstance(popularity, NumberColumn) and isinstance(creator, WordColumn)
    assert title.words[title.values[toy_story]] == "Toy Story"
    assert popularity.values[toy_story] == 452
    assert (creator.values >= 0).sum() == 1_590
    per_user = np.diff(dataset.start)
    assert (per_user.min(), per_user.max()) == (20, 737)
    steps = np.diff(dataset.time)
    first_of_user = dataset.start[1:-1] - 1
    assert (np.delete(steps, first_of_user) >= 0).all()
    last, before = dataset.start[1:] - 1, dataset.start[1:] - 2
    assert (dataset.time[last] == dataset.time[before]).sum() > 400  # users who end on a tied second
