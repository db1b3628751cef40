"""Checks the simulated platform: same seed, same platform; its rules hold; users follow their tastes."""

from __future__ import annotations

import numpy as np
import pytest

from recpolicy.data import simulate
from recpolicy.data.simulator import TOPICS
from recpolicy.dataset.columns import ListColumn, NumberColumn
from recpolicy.errors import UsageError


def test_same_seed_gives_same_platform() -> None:
    first, again, other = simulate(seed=3), simulate(seed=3), simulate(seed=4)
    assert first.dataset.digest == again.dataset.digest
    assert first.taste.tolist() == again.taste.tolist()
    assert other.dataset.digest != first.dataset.digest


def test_sizes_follow_arguments() -> None:
    simulation = simulate(users=20, items=150, creators=10, seed=1)
    dataset = simulation.dataset
    assert (dataset.items.rows, dataset.users.rows) == (150, 20)
    assert simulation.taste.shape == (20, len(TOPICS))
    np.testing.assert_allclose(simulation.taste.sum(1), 1)
    per_user = np.diff(dataset.start)
    assert per_user.min() >= 15 and per_user.max() <= 60


def test_items_are_taken_once_and_after_publication() -> None:
    dataset = simulate().dataset
    published = dataset.items.columns["published"]
    assert isinstance(published, NumberColumn)
    assert (published.values[dataset.item] <= dataset.time).all()
    for begin, end in zip(dataset.start[:-1], dataset.start[1:], strict=True):
        assert len(set(dataset.item[begin:end].tolist())) == end - begin


def test_last_seen_precedes_all_events() -> None:
    dataset = simulate().dataset
    seen = dataset.users.columns["last_seen"]
    assert isinstance(seen, NumberColumn)
    assert np.nanmax(seen.values) < dataset.time.min()


def test_only_optional_columns_have_missing_values() -> None:
    dataset = simulate().dataset
    for specs, table in ((dataset.schema.item, dataset.items), (dataset.schema.user, dataset.users)):
        for name, column in table.columns.items():
            if isinstance(column, NumberColumn):
                assert np.isnan(column.values).any() == specs[name].optional, name


def test_users_take_items_of_their_taste() -> None:
    simulation = simulate()
    dataset = simulation.dataset
    genres = dataset.items.columns["genres"]
    assert isinstance(genres, ListColumn)
    about = np.zeros((dataset.items.rows, len(TOPICS)))
    about[np.repeat(np.arange(dataset.items.rows), genres.values.lengths), genres.values.values] = 1
    about /= about.sum(1, keepdims=True)
    interest = simulation.taste @ about.T  # [users, items]
    user = np.repeat(np.arange(dataset.users.rows), np.diff(dataset.start))
    assert interest[user, dataset.item].mean() > 2 * interest.mean()


def test_too_small_platform_is_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        simulate(items=40)
