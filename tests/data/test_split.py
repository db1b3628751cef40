"""Checks that splits never leak the future: histories precede next items, statistics use training events only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.dataset.columns import NumberColumn, Ragged, Table, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.schema import ColumnSpec, Role, Schema
from recpolicy.types import Type


def dataset_of(lengths: list[int], seed: int = 0, items: int = 7) -> Dataset:
    """A data set whose users have `lengths` interactions with random items at times 0, 1, 2 ... of their own."""
    rng = np.random.default_rng(seed)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    item = rng.integers(items, size=start[-1]).astype(np.int32)
    spec = ColumnSpec("popularity", Type.INT, role=Role.POPULARITY)
    counted = NumberColumn(Type.INT, np.full(items, 99.0))
    return Dataset(
        name="drawn",
        schema=Schema("drawn", {"popularity": spec}),
        items=Table(items, {"popularity": counted}),
        users=Table(len(lengths), {}),
        item_ids=tuple(map(str, range(items))),
        user_ids=tuple(map(str, range(len(lengths)))),
        start=start,
        item=item,
        time=np.concatenate([np.arange(n, dtype=float) for n in lengths]) if lengths else np.zeros(0),
        notes=(),
        digest="drawn",
    )


lengths = st.lists(st.integers(0, 14), min_size=1, max_size=8).filter(lambda ns: max(ns) >= 3)


@given(lengths, st.integers(1, 4), st.integers(0, 3))
def test_split_cuts_each_user_in_time_order(lengths: list[int], holdout: int, seed: int) -> None:
    dataset = dataset_of(lengths, seed)
    split = data.split(dataset, holdout=holdout)
    validated = {int(u): i for i, u in enumerate(split.validation.user)}
    tested = {int(u): i for i, u in enumerate(split.test.user)}
    assert validated.keys() == tested.keys() == {u for u, n in enumerate(lengths) if n >= 3}
    for user, n in enumerate(lengths):
        events = dataset.item[dataset.start[user] : dataset.start[user + 1]].tolist()
        train = events[: split.train_end[user] - dataset.start[user]]
        if n < 3:
            assert train == events
            continue
        held = holdout if n >= 3 * holdout else 1
        i, j = validated[user], tested[user]
        assert split.validation.history.row(i).tolist() == train == events[: n - 2 * held]
        assert split.validation.next_items.row(i).tolist() == events[n - 2 * held : n - held]
        assert split.test.history.row(j).tolist() == events[: n - held]
        assert split.test.next_items.row(j).tolist() == events[n - held :]
        # The times of drawn events are their positions: `now` is the last of the history, before what comes next.
        assert split.validation.now[i] == n - 2 * held - 1
        assert split.test.now[j] == n - held - 1


@given(lengths, st.integers(1, 5), st.data())
def test_training_rows_stay_in_training_part(lengths: list[int], horizon: int, draw: st.DataObject) -> None:
    dataset = dataset_of(lengths)
    split = data.split(dataset, holdout=2)
    users = draw.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6))
    user = np.array(users)
    begin, end = dataset.start[user], split.train_end[user]
    cut = np.array([draw.draw(st.integers(int(b), int(e))) for b, e in zip(begin, end, strict=True)])
    rows = data.rows_at(dataset, user, cut, horizon, end)
    for i in range(len(users)):
        assert rows.history.row(i).tolist() == dataset.item[begin[i] : cut[i]].tolist()
        assert rows.next_items.row(i).tolist() == dataset.item[cut[i] : min(cut[i] + horizon, end[i])].tolist()
        if cut[i] > begin[i]:
            assert rows.now[i] == cut[i] - begin[i] - 1


def test_row_without_history_uses_time_of_next_item() -> None:
    dataset = dataset_of([3, 4])
    rows = data.rows_at(dataset, np.array([1]), np.array([3]), 2, np.array([7]))
    assert rows.history.row(0).tolist() == []
    assert rows.now.tolist() == [0.0]


def test_rows_at_end_have_full_history_and_no_next_items() -> None:
    dataset = dataset_of([3, 0, 4])
    rows = data.rows_at_end(dataset, np.array([2, 0, 1]))
    assert [rows.history.row(i).tolist() for i in range(3)] == [
        dataset.item[3:].tolist(),
        dataset.item[:3].tolist(),
        [],
    ]
    assert rows.user.tolist() == [2, 0, 1] and rows.next_items.lengths.tolist() == [0, 0, 0]


@given(lengths, st.integers(0, 3))
def test_training_view_counts_users_of_training_part(lengths: list[int], seed: int) -> None:
    dataset = dataset_of(lengths, seed)
    split = data.split(dataset, holdout=1)
    viewed = data.training_view(dataset, split)
    takers: list[set[int]] = [set() for _ in range(dataset.items.rows)]
    for user, end in enumerate(split.train_end):
        for item in dataset.item[dataset.start[user] : end]:
            takers[item].add(user)
    column = viewed.items.columns["popularity"]
    assert isinstance(column, NumberColumn)
    assert column.values.tolist() == [len(users) for users in takers]
    assert viewed.digest != dataset.digest
    np.testing.assert_array_equal(viewed.item, dataset.item)


def test_later_events_do_not_change_earlier_rows() -> None:
    dataset = dataset_of([12, 9, 10])
    split = data.split(dataset, holdout=2)
    held = np.ones(len(dataset.item), np.bool_)
    for user, end in enumerate(split.train_end):
        held[dataset.start[user] : end] = False
    item = np.where(held, (dataset.item + 3) % 7, dataset.item).astype(np.int32)
    other = replace(dataset, item=item)
    again = data.split(other, holdout=2)
    assert again.validation.history.values.tolist() == split.validation.history.values.tolist()
    assert again.validation.now.tolist() == split.validation.now.tolist()
    before, after = (data.training_view(d, split).items.columns["popularity"] for d in (dataset, other))
    assert isinstance(before, NumberColumn) and isinstance(after, NumberColumn)
    assert before.values.tolist() == after.values.tolist()


def test_split_notes_count_users() -> None:
    split = data.split(dataset_of([30, 12, 2, 0]), holdout=10)
    assert split.notes == (
        "Users tested on their last 10 and validated on the 10 before: 1.",
        "Users with fewer than 30 interactions, tested and validated on 1 each: 1.",
        "Users with fewer than 3 interactions, for training only: 2.",
    )


@pytest.mark.parametrize(("lengths", "holdout"), [([2, 1], 1), ([5], 0)])
def test_invalid_split_is_refused(lengths: list[int], holdout: int) -> None:
    with pytest.raises(UsageError):
        data.split(dataset_of(lengths), holdout=holdout)


def test_repeated_rows_keep_their_parts() -> None:
    dataset = dataset_of([6, 3, 9])
    rows = data.split(dataset, holdout=1).test
    twice = rows.take(np.array([2, 0, 2]))
    assert twice.user.tolist() == [2, 0, 2]
    assert twice.history.row(0).tolist() == twice.history.row(2).tolist() == rows.history.row(2).tolist()
    assert isinstance(twice.next_items, Ragged)


def test_training_popularity_excludes_held_out_events() -> None:
    dataset = data.open("simulator")
    split = data.split(dataset)
    whole, viewed = (d.items.columns["popularity"] for d in (dataset, data.training_view(dataset, split)))
    assert isinstance(whole, NumberColumn) and isinstance(viewed, NumberColumn)
    assert (viewed.values <= whole.values).all()
    assert viewed.values.sum() == (split.train_end - dataset.start[:-1]).sum()  # no user takes an item twice here
    assert isinstance(dataset.items.columns["creator"], WordColumn)
