"""Computes SHA-256 over the content of a data set: equal data have equal digests, in whatever format they were read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset


def with_digest(dataset: Dataset) -> Dataset:
    """Returns the data set with its digest: SHA-256, as hex, over name, schema, tables, ids and interactions."""
    return replace(dataset, digest=_digest(dataset))


def _digest(dataset: Dataset) -> str:
    state = hashlib.sha256()

    def add(*parts: object) -> None:
        state.update(json.dumps([str(p) for p in parts]).encode())

    def fill(*arrays: NDArray[np.generic]) -> None:
        for array in arrays:
            add(array.dtype.str, array.shape)
            state.update(np.ascontiguousarray(array).tobytes())

    def column(name: str, data: ColumnData) -> None:
        add(name, data.type.value)
        match data:
            case NumberColumn() | TruthColumn():
                fill(data.values)
            case WordColumn():
                add(*data.words)
                fill(data.values)
            case ListColumn():
                add(*data.words)
                fill(data.values.offsets, data.values.values, data.missing)
            case _:
                assert_never(data)

    add(dataset.name, dataset.schema)
    for table in (dataset.items, dataset.users):
        add(table.rows)
        for name, data in sorted(table.columns.items()):
            column(name, data)
    add(*dataset.item_ids)
    add(*dataset.user_ids)
    fill(dataset.start, dataset.item, dataset.time)
    if dataset.weight is not None:
        fill(dataset.weight)
    if dataset.shown is not None:
        fill(dataset.shown.start, dataset.shown.item, dataset.shown.time)
    return state.hexdigest()
