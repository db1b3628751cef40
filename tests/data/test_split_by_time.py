"""Checks the split by time: it cuts all users at two moments, and parts before a cut ignore later events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recpolicy import data
from recpolicy.dataset.columns import NumberColumn, Table
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.errors import UsageError
from recpolicy.schema import ColumnSpec, Role, Schema
from recpolicy.types import DAY, Type

ITEMS = 7
Times = Sequence[Sequence[float]]


def dataset_of(times: Times, seed: int = 0) -> Dataset:
    """A data set whose users took random items at these times."""
    start = np.concatenate([[0], np.cumsum([len(own) for own in times])]).astype(np.int64)
    spec = ColumnSpec("popularity", Type.INT, role=Role.POPULARITY)
    return Dataset(
        name="drawn",
        schema=Schema("drawn", {"popularity": spec}),
        items=Table(ITEMS, {"popularity": NumberColumn(Type.INT, np.full(ITEMS, 99.0))}),
        users=Table(len(times), {}),
        item_ids=tuple(map(str, range(ITEMS))),
        user_ids=tuple(map(str, range(len(times)))),
        start=start,
        item=np.random.default_rng(seed).integers(ITEMS, size=start[-1]).astype(np.int32),
        time=np.array([t for own in times for t in sorted(own)], np.float64),
        notes=(),
        digest="drawn",
    )


def second(moment: float) -> str:
    """A time within the first minute of 1970 as the setting `split` takes it."""
    return f"1970-01-01T00:00:{int(moment):02}"


# ---- a slow reference -----------------------------------------------------------------------------------------------


@dataclass
class Naive:
    """The parts of a split by time, user by user: (history, next items, now) by user."""

    train: list[list[int]]
    validation: dict[int, tuple[list[int], list[int]]]
    test: dict[int, tuple[list[int], list[int]]]
    before_test: dict[int, list[int]]
    validation_from: float


def naive(dataset: Dataset, test_from: float, holdout: int) -> Naive | None:
    """The parts by a loop over users; None where one of them has nobody."""
    everything = sorted(dataset.time.tolist())
    tested = sum(t >= test_from for t in everything)
    left = len(everything) - 2 * tested
    if not tested or left <= 0:
        return None
    out = Naive([], {}, {}, {}, everything[left])
    for user in range(dataset.users.rows):
        own = slice(dataset.start[user], dataset.start[user + 1])
        events = list(zip(dataset.time[own].tolist(), dataset.item[own].tolist(), strict=True))
        train = [item for t, item in events if t < out.validation_from]
        validation = [item for t, item in events if out.validation_from <= t < test_from]
        test = [item for t, item in events if t >= test_from]
        out.train.append(train)
        if train and validation:
            out.validation[user] = train, validation[:holdout]
        if train + validation:
            out.before_test[user] = train + validation
            if test:
                out.test[user] = train + validation, test[:holdout]
    return out if any(out.train) and out.validation and out.test else None


def check(dataset: Dataset, by: str, test_from: float, holdout: int) -> None:
    """Compares a split by time with the reference."""
    expected = naive(dataset, test_from, holdout)
    if expected is None:
        with pytest.raises(UsageError):
            data.split(dataset, by, holdout=holdout)
        return
    split = data.split(dataset, by, holdout=holdout)
    assert (split.by, split.holdout, split.test_from) == (by, holdout, test_from)
    assert split.validation_from == expected.validation_from
    pairs = zip(dataset.start, split.train_end, strict=False)
    assert [dataset.item[a:b].tolist() for a, b in pairs] == expected.train
    for rows, own, now in (
        (split.validation, expected.validation, split.validation_from),
        (split.test, expected.test, test_from),
    ):
        assert parts(rows) == own
        assert (rows.now == now).all()
    assert {user: history for user, (history, _) in parts(split.before_test).items()} == expected.before_test
    assert (split.before_test.now == test_from).all() and not split.before_test.next_items.lengths.any()
    mean = np.mean([len(following) for _, following in expected.validation.values()])
    assert split.expected.tolist() == [max(1, round(mean))] * dataset.users.rows


def parts(rows: Rows) -> dict[int, tuple[list[int], list[int]]]:
    """Each user's history and next items."""
    return {
        int(user): (rows.history.row(i).tolist(), rows.next_items.row(i).tolist()) for i, user in enumerate(rows.user)
    }


times = st.lists(st.lists(st.integers(0, 24), max_size=14), min_size=1, max_size=8).filter(any)


@given(times, st.integers(0, 25), st.integers(1, 4), st.integers(0, 3))
def test_date_split_equals_naive_loop(own: Times, cut: int, holdout: int, seed: int) -> None:
    check(dataset_of(own, seed), second(cut), float(cut), holdout)


@given(times, st.sampled_from([1, 2.5, 10, 20, 33.3, 49]), st.integers(1, 4))
def test_share_split_cuts_at_time_of_its_first_event(own: Times, percent: float, holdout: int) -> None:
    dataset = dataset_of(own)
    everything = sorted(dataset.time.tolist())
    count = max(1, round(len(everything) * percent / 100))
    check(dataset, f"last {percent}%", everything[-count], holdout)


@given(times, st.integers(1, 24), st.integers(0, 9))
def test_events_after_cut_do_not_change_earlier_parts(own: Times, cut: int, seed: int) -> None:
    dataset = dataset_of(own)
    if naive(dataset, cut, 2) is None:
        return
    split = data.split(dataset, second(cut), holdout=2)
    # As many later events as there were, of other users, with other items, at other times.
    rng = np.random.default_rng(seed)
    later = [[t for t in user if t < cut] for user in own]
    for _ in range(int((dataset.time >= cut).sum())):
        later[rng.integers(len(later))].append(int(rng.integers(cut, 40)))
    other = dataset_of(later)
    item = other.item.copy()
    item[other.time < cut] = dataset.item[dataset.time < cut]
    other = replace(other, item=item)
    try:
        again = data.split(other, second(cut), holdout=2)
    except UsageError:
        return  # nobody who is known takes anything later
    assert known(other, again) == known(dataset, split)


def known(dataset: Dataset, split: Split) -> list[object]:
    """All that training may read."""
    view = data.training_view(dataset, split)
    column = view.items.columns["popularity"]
    assert isinstance(column, NumberColumn)
    train = [dataset.item[a:b].tolist() for a, b in zip(dataset.start, split.train_end, strict=False)]
    rows = [(r.user.tolist(), r.now.tolist(), parts(r)) for r in (split.validation, split.before_test)]
    return [train, rows, column.values.tolist(), view.takers, split.expected.tolist()]


# ---- cases by hand --------------------------------------------------------------------------------------------------

DAYS = [[0, 1, 2, 3, 6, 7, 9], [0, 4, 8, 8, 9], [1, 2, 2], [6, 9], [9, 9]]
"""Five users, by the day of each event."""


def in_days(days: Times) -> Dataset:
    return dataset_of([[day * DAY for day in own] for own in days])


def test_date_split_of_five_users() -> None:
    split = data.split(in_days(DAYS), "1970-01-09", holdout=2)  # day 8: seven events are from then on
    assert split.validation_from == 2 * DAY  # of three events on day 2 one would do, but they stay together
    assert (split.train_end - in_days(DAYS).start[:-1]).tolist() == [2, 1, 1, 0, 0]
    assert split.validation.user.tolist() == [0, 1, 2] and split.test.user.tolist() == [0, 1, 3]
    assert split.before_test.user.tolist() == [0, 1, 2, 3]
    assert split.test.next_items.lengths.tolist() == [1, 2, 1]
    assert split.notes[:5] == (
        "Test: the 7 events from 1970-01-09 on. Validation: 8 events from 1970-01-03 on, before the test. "
        "Training: the 4 events before.",
        "Users tested on their first 2 events of the test part: 1.",
        "Users tested on fewer than 2, all they have there: 2.",
        "Users whose first event is in the test part, not tested: 1.",
        "Users without an event in the training part: 2.",
    )
    assert split.notes[5].startswith("Items first taken after the training part")


def test_training_view_counts_users_with_training_events() -> None:
    dataset = in_days(DAYS)
    assert data.training_view(dataset, data.split(dataset, "1970-01-09", holdout=2)).takers == 3
    assert data.training_view(dataset, data.split(dataset, holdout=1)).takers == 5


@pytest.mark.parametrize("by", ["1970-01-09", "1970-01-09T00:00", "1970-01-08T23:00:00-01:00", "1970-01-08 00:00:01"])
def test_split_time_accepts_several_formats(by: str) -> None:
    assert len(data.split(in_days(DAYS), by, holdout=2).test) == 3


@pytest.mark.parametrize(
    ("days", "by", "message", "help"),
    [
        (DAYS, "tomorrow", "no way to split is `tomorrow`", 'write "user", "leave-one-out", a date'),
        (DAYS, "last 50%", "no way to split is `last 50%`", "less than 50%"),
        (DAYS, "last 0%", "no way to split is `last 0%`", "more than 0%"),
        (DAYS, "1971-01-01", "no event is from 1971-01-01 on", "the events are from 1970-01-01 to 1970-01-10"),
        (DAYS, "1970-01-02", "17 events are from 1970-01-02 on and 2 before", "write a time well after 1970-01-07"),
        ([[1, 1, 1]], "last 10%", "3 events are from 1970-01-02 on and 0 before", '`split = "user"`'),
        ([[0, 1, 2], [3]], "last 25%", "nobody has an event in the part from 1970-01-04 on", '`split = "user"`'),
        ([[math.nan, 1, 2]], "last 10%", "needs the time of every event; 1 of 3 have none", "[interactions] time"),
        ([[math.nan] * 3], "1970-01-02", "needs the time of every event; 3 of 3 have none", '`split = "user"`'),
    ],
)
def test_invalid_split_is_refused_with_help(days: Times, by: str, message: str, help: str) -> None:
    with pytest.raises(UsageError) as refused:
        data.split(in_days(days), by)
    assert message in refused.value.message and help in refused.value.help


# ---- by user --------------------------------------------------------------------------------------------------------


@given(times.filter(lambda own: max(map(len, own)) >= 3), st.integers(1, 5))
def test_leave_one_out_equals_user_split_with_holdout_1(own: Times, holdout: int) -> None:
    dataset = dataset_of(own)
    one, user = data.split(dataset, "leave-one-out", holdout=holdout), data.split(dataset, "user", holdout=1)
    assert (one.by, one.holdout) == ("leave-one-out", 1)
    assert one.notes == user.notes and one.expected.tolist() == [1] * len(own)
    for a, b in ((one.validation, user.validation), (one.test, user.test)):
        assert parts(a) == parts(b) and a.now.tolist() == b.now.tolist()
        assert (a.next_items.lengths == 1).all()
    assert one.train_end.tolist() == user.train_end.tolist()


def test_user_split_has_its_test_users_before_the_test() -> None:
    split = data.split(in_days(DAYS))
    assert split.before_test.user.tolist() == split.test.user.tolist()
    assert split.before_test.now.tolist() == split.test.now.tolist()
    assert not split.before_test.next_items.lengths.any() and split.test_from is None
