"""Reads tables of any library as Arrow tables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy.errors import UsageError


def arrow(table: Any, name: str) -> pa.Table:
    """Returns a table of any library as an Arrow table. Raises UsageError for anything else."""
    try:
        if isinstance(table, pa.Table):
            return table
        if isinstance(table, Mapping):
            return pa.table({key: pa.array(list(values)) for key, values in table.items()})
        if hasattr(table, "to_arrow"):  # polars
            return table.to_arrow()
        if hasattr(table, "iloc"):  # pandas
            return pa.Table.from_pandas(table, preserve_index=False)
        return pa.table(table)  # anything with Arrow's stream interface
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        help = "give an Arrow, pandas or polars table, a mapping of columns, or the path of a file"
        raise UsageError(f"`{name}` is no table: {reason}", help=help) from None


def lists_as_parquet(user: list[str], lists: list[list[str]]) -> bytes:
    """Returns lists of item ids as a Parquet file with the columns `user_id` and `items`."""
    schema = pa.schema({"user_id": pa.string(), "items": pa.list_(pa.string())})
    file = io.BytesIO()
    pq.write_table(pa.table({"user_id": user, "items": lists}, schema), file)
    return file.getvalue()
