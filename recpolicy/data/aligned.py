"""Renumbers the items of a data set: those of an earlier state first, in their old order, then the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from recpolicy.data.digest import with_digest
from recpolicy.dataset.columns import (
    Bools,
    ColumnData,
    Ints,
    ListColumn,
    NumberColumn,
    Ragged,
    Table,
    TruthColumn,
    WordColumn,
)
from recpolicy.dataset.rows import Dataset


@dataclass(frozen=True)
class Aligned:
    """A data set whose first `earlier` items are those of an earlier state of it; later items follow.

    An item that is no longer in the catalog has an id but no values.
    """

    dataset: Dataset
    earlier: int
    present: Bools  # [items], False for items that are no longer in the catalog

    @property
    def arrived(self) -> Ints:
        """The rows of the items that came later."""
        return np.arange(self.earlier, self.dataset.items.rows)


def aligned(dataset: Dataset, earlier: Sequence[str]) -> Aligned:
    """Renumbers the items as in an earlier state of the data set, whose item ids are `earlier`, in order of rows."""
    row = {id: i for i, id in enumerate(dataset.item_ids)}
    before = np.array([row.get(id, -1) for id in earlier], np.int64)
    later = np.setdiff1d(np.arange(dataset.items.rows), before)
    order = np.concatenate([before, later])  # the row in `dataset` of every item, -1 for an item that is gone
    number = np.zeros(dataset.items.rows, np.int32)
    number[order[order >= 0]] = np.flatnonzero(order >= 0)
    columns = {name: _taken(column, order) for name, column in dataset.items.columns.items()}
    ids = (*earlier, *(dataset.item_ids[i] for i in later))
    shown = dataset.shown and replace(dataset.shown, item=number[dataset.shown.item])
    renumbered = replace(
        dataset, items=Table(len(order), columns), item_ids=ids, item=number[dataset.item], shown=shown
    )
    return Aligned(with_digest(renumbered), len(earlier), order >= 0)


def _taken(column: ColumnData, rows: Ints) -> ColumnData:
    """The column at these rows; -1 stands for a row without a value."""
    gone = rows < 0
    match column:
        case NumberColumn():
            return replace(column, values=np.where(gone, np.nan, column.values[rows]))
        case TruthColumn():
            return replace(column, values=np.where(gone, np.int8(1), column.values[rows]))
        case WordColumn():
            return replace(column, values=np.where(gone, np.int32(-1), column.values[rows]))
        case ListColumn():
            begin, stop = column.values.offsets[:-1][rows], column.values.offsets[1:][rows]
            lists = Ragged.slices(column.values.values, begin, np.where(gone, begin, stop))
            return replace(column, values=lists, missing=gone | column.missing[rows])
        case _:
            assert_never(column)
