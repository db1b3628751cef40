"""A data set in, one SHA-256 over its content out: equal data give equal digests whatever format they came in."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, assert_never

import numpy as np

from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, TruthColumn, WordColumn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recpolicy.dataset.rows import Dataset


def digest(dataset: Dataset) -> str:
    """SHA-256, as hex, over name, schema, tables, ids and interactions; `notes` and the old digest do not count."""
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
        for name in sorted(table.columns):
            column(name, table.columns[name])
    add(*dataset.item_ids)
    add(*dataset.user_ids)
    fill(dataset.start, dataset.item, dataset.time)
    return state.hexdigest()
