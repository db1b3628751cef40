"""Checks that the items of a later data set are numbered as in an earlier one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.data import Aligned
from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from tests.recommend.platform import before, later, write


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset, Aligned]:
    home: Path = tmp_path_factory.mktemp("data")
    old, new = data.open(write(home / "before", before())), data.open(write(home / "later", later()))
    return old, new, data.aligned(new, old.item_ids)


def test_known_items_keep_rows_and_new_items_follow(states: tuple[Dataset, Dataset, Aligned]) -> None:
    old, new, found = states
    assert found.dataset.item_ids[: found.earlier] == old.item_ids
    assert [found.dataset.item_ids[row] for row in found.arrived] == list(new.item_ids[:8])
    assert np.flatnonzero(~found.present).tolist() == [old.item_ids.index("gone")]


def test_events_and_columns_follow_their_items(states: tuple[Dataset, Dataset, Aligned]) -> None:
    old, new, found = states
    assert [found.dataset.item_ids[i] for i in found.dataset.item] == [new.item_ids[i] for i in new.item]
    for name, column in old.items.columns.items():
        moved = found.dataset.items.columns[name]
        here = np.arange(60)  # all but the one that has left
        match column, moved:
            case (WordColumn(), WordColumn()):
                assert [moved.words[c] for c in moved.values[here]] == [column.words[c] for c in column.values[here]]
                assert moved.values[60] == -1
            case (ListColumn(), ListColumn()):
                for row in here.tolist():
                    assert [moved.words[c] for c in moved.values.row(row)] == [
                        column.words[c] for c in column.values.row(row)
                    ]
                assert moved.missing.tolist() == [False] * 60 + [True] + [False] * 8
            case (NumberColumn(), NumberColumn()):
                np.testing.assert_array_equal(moved.values[here], column.values[here])
                assert np.isnan(moved.values[60]) and not np.isnan(moved.values[61:]).any()
            case (TruthColumn(), TruthColumn()):
                np.testing.assert_array_equal(moved.values[here], column.values[here])
                assert moved.values[60] == 1


def test_self_alignment_keeps_digest(states: tuple[Dataset, Dataset, Aligned]) -> None:
    old, _, _ = states
    assert data.aligned(old, old.item_ids).dataset.digest == old.digest


@given(st.data())
def test_every_item_keeps_its_id_values_and_events(
    states: tuple[Dataset, Dataset, Aligned], drawn: st.DataObject
) -> None:
    _, new, _ = states
    known = drawn.draw(st.lists(st.sampled_from(new.item_ids), unique=True))
    earlier = drawn.draw(st.permutations([*known, *(f"left-{i}" for i in range(drawn.draw(st.integers(0, 3))))]))
    found = data.aligned(new, earlier)
    ids = found.dataset.item_ids
    assert list(ids[: found.earlier]) == earlier and len(set(ids)) == len(ids)
    assert {ids[row] for row in np.flatnonzero(found.present)} == set(new.item_ids)
    assert [ids[item] for item in found.dataset.item] == [new.item_ids[item] for item in new.item]
    row = {id: i for i, id in enumerate(new.item_ids)}
    for name, column in found.dataset.items.columns.items():
        for i, id in enumerate(ids):
            expected = value(new.items.columns[name], row[id]) if id in row else None
            assert value(column, i) == expected, (name, id)
    assert data.aligned(new, ids).dataset.digest == found.dataset.digest, "its own numbers stay as they are"


def value(column: ColumnData, row: int) -> object:
    """The value of a row in a form that can be compared; None where it is missing."""
    match column:
        case NumberColumn(values=numbers):
            return None if np.isnan(numbers[row]) else float(numbers[row])
        case TruthColumn(values=truths):
            return (False, None, True)[truths[row]]
        case WordColumn(values=codes, words=words):
            return words[codes[row]] if codes[row] >= 0 else None
        case ListColumn(values=lists, words=words, missing=missing):
            return None if missing[row] else tuple(words[code] for code in lists.row(row))
