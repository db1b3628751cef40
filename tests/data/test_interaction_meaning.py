"""Checks which interactions count as taken, how much, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import data
from recpolicy.dataset.rows import Dataset
from recpolicy.dataset.slates import unseen, without_seen
from recpolicy.errors import UsageError

ITEMS = "item_id\n" + "".join(f"i{n}\n" for n in range(6))
USERS = "user_id\na\nb\n"


def read(folder: Path, log: str, interactions: str = "", name: str = "interactions.csv") -> Dataset:
    (folder / "items.csv").write_text(ITEMS)
    (folder / "users.csv").write_text(USERS)
    (folder / name).write_text(log)
    (folder / "schema.toml").write_text(f"[item]\n[user]\n[interactions]\n{interactions}")
    return data.open(folder)


def test_exact_repeats_count_once_and_are_counted(tmp_path: Path) -> None:
    dataset = read(tmp_path, "user_id,item_id,timestamp\na,i0,1\na,i0,1\na,i1,2\nb,i0,1\nb,i0,1\nb,i0,1\n")
    assert dataset.start.tolist() == [0, 2, 3]
    assert any(note.startswith("3 interactions repeat another one exactly") for note in dataset.notes)


def test_exact_repeats_count_once_where_items_are_repeatable(tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp\na,i0,1\na,i0,1\na,i0,2\n"
    dataset = read(tmp_path, log, "repeatable = true\n")
    assert dataset.item.tolist() == [0, 0]


def test_items_taken_again_do_not_count_and_are_counted(tmp_path: Path) -> None:
    dataset = read(tmp_path, "user_id,item_id,timestamp\na,i1,3\na,i0,1\na,i1,2\nb,i1,5\n")
    assert (dataset.item.tolist(), dataset.time.tolist()) == ([0, 1, 1], [1, 2, 5])
    assert any(note.startswith("1 interactions are of items that the user had taken before") for note in dataset.notes)


def test_column_order_breaks_ties_of_time(tmp_path: Path) -> None:
    log = "user_id,item_id,date,order\n" + "".join(f"a,i{n},2022-04-08,{5 - n}\n" for n in range(6))
    dataset = read(tmp_path, log)
    assert dataset.item.tolist() == [5, 4, 3, 2, 1, 0]
    assert not any("at random" in note for note in dataset.notes)


def test_order_with_gaps_is_enough_where_every_row_has_a_time(tmp_path: Path) -> None:
    dataset = read(tmp_path, "user_id,item_id,timestamp,order\na,i1,2,\na,i0,1,7\n")
    assert dataset.item.tolist() == [0, 1]


LABELLED = "user_id,item_id,timestamp,label,rating,event\n" + (
    "a,i0,1,1,5,buy\na,i1,2,0,-1,view\na,i2,3,1,,view\nb,i3,1,1,3,buy\nb,i3,2,0,-1,view\nb,i4,3,0,4.5,\n"
)


@pytest.mark.parametrize(
    ("positive", "items"),
    [
        ("label is 1", [0, 2, 3]),
        ("rating >= 4", [0, 4]),  # a missing rating does not count
        ("rating >= 4 or label is 1", [0, 2, 3, 4]),
        ('event is "buy"', [0, 3]),
        ('event in ["buy", "view"] and not rating < 0', [0, 3]),
        ("rating is missing", [2]),
        ("percentile(rating) > 50%", [0, 4]),
    ],
)
def test_positive_says_which_rows_count(positive: str, items: list[int], tmp_path: Path) -> None:
    dataset = read(tmp_path, LABELLED, f"positive = '{positive}'\n")
    assert dataset.item.tolist() == items
    assert any(note.startswith(f"{len(items)} of 6 interactions count as taken") for note in dataset.notes)
    assert dataset.shown is not None
    assert len(dataset.shown.item) == 6 - len(items)


def test_rows_that_do_not_count_are_kept_as_shown(tmp_path: Path) -> None:
    dataset = read(tmp_path, LABELLED, "positive = 'label is 1'\n")
    assert dataset.shown is not None
    assert (dataset.shown.start.tolist(), dataset.shown.item.tolist()) == ([0, 1, 3], [1, 3, 4])
    assert dataset.shown.time.tolist() == [2, 2, 3]


def test_columns_that_might_say_what_counts_are_named(tmp_path: Path) -> None:
    dataset = read(tmp_path, LABELLED)
    note = next(note for note in dataset.notes if "not read" in note)
    assert "`label`, `rating`, `event`" in note
    assert "positive" in note


def test_kinds_of_event_are_counted(tmp_path: Path) -> None:
    dataset = read(tmp_path, LABELLED, "event = \"event\"\npositive = 'label is 1'\n")
    assert any("by kind: view 1 of 3, buy 2 of 2, no kind 0 of 1" in note for note in dataset.notes)


def test_weight_is_a_number_over_the_columns(tmp_path: Path) -> None:
    dataset = read(tmp_path, LABELLED, "positive = 'label is 1'\nweight = 'rating / 5'\n")
    assert dataset.weight is not None
    np.testing.assert_allclose(dataset.weight, [1, 0, 0.6])


def test_negative_weight_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weight of this interaction is -1") as caught:
        read(tmp_path, LABELLED, "weight = 'rating'\n")
    assert caught.value.where.endswith("interactions.csv, line 3")


@pytest.mark.parametrize("text", ["ratnig >= 4", "rating >=", "rating", "label = 1 and", 'rating is "five"'])
def test_condition_that_cannot_be_read_names_the_key_and_the_columns(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, LABELLED, f"positive = '{text}'\n")
    assert "interactions.positive" in caught.value.where
    assert "user_id, item_id, timestamp, label, rating, event" in caught.value.help


@pytest.mark.parametrize(("unit", "time"), [("ms", 86_400.0), ("second", 86_400_000.0), ("millisecond", 86_400.0)])
def test_unit_of_times_is_heeded(unit: str, time: float, tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp\na,i0,86400000\n"
    assert read(tmp_path, log, f'unit = "{unit}"\n').time.tolist() == [time]


def test_repeatable_items_are_labels_and_may_be_shown_again(tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp\n" + "".join(f"a,i{n % 2},{n}\n" for n in range(6))
    dataset = read(tmp_path, log, "repeatable = true\n")
    assert dataset.item.tolist() == [0, 1, 0, 1, 0, 1]
    rows = data.rows_at(dataset, np.array([0]), np.array([2]), 4, np.array([6]))
    assert rows.next_items.row(0).tolist() == [0, 1]  # each once
    assert unseen(rows, 6).all()
    assert without_seen(np.array([[0, 3]], np.int32), rows.take(np.array([0])), 6).items.tolist() == [[0, 3]]


@pytest.mark.parametrize("positive", ["weight is 1", "Rating >= 4", "share > 0", "`in` is 1", "`Order Total` > 7"])
def test_columns_of_any_name_can_be_asked_for(positive: str, tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp,weight,Rating,share,in,Order Total\na,i0,1,1,5,1,1,9\na,i1,2,0,1,0,0,7\n"
    assert read(tmp_path, log, f"positive = '{positive}'\n").item.tolist() == [0]
