"""Opens a policy with its data, from files or from tables in memory."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from recpolicy import data as data_sets
from recpolicy.api.frames import arrow
from recpolicy.api.loaded import LoadedPolicy
from recpolicy.compiler import compile
from recpolicy.data.build import build
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.language import checker
from recpolicy.schema import Schema
from recpolicy.tables import infer
from recpolicy.tables.reading import RawTable, read
from recpolicy.tables.reading.files import from_arrow
from recpolicy.tables.source import RawData

_NO_USERS = pa.table({"user_id": pa.array([], pa.string())})
_NO_EVENTS = pa.table({"user_id": pa.nulls(0), "item_id": pa.nulls(0), "timestamp": pa.nulls(0, pa.int64())})


def load(
    policy: str | Path,
    data: str | Path | Dataset | None = None,
    *,
    items: Any = None,
    users: Any = None,
    interactions: Any = None,
    schema: Schema | None = None,
    params: Mapping[str, str] | None = None,
    as_of: datetime.date | None = None,
) -> LoadedPolicy:
    """Checks a policy against its data and compiles it, without torch.

    `policy`: a path, or the name of a sample. `data`: a data set as `--data` takes it, or one that is open. Instead of
    it `items`, and maybe `users` and `interactions`, are tables: Arrow, pandas, polars, a mapping of columns, or the
    path of a file. Without either, the data are those that the policy's header names. Columns and roles are those of
    `schema`, else of the data, else inferred (docs/schema.md). `params` are other values for the policy's params and
    `as_of` the day that dates are compared with, as on the command line.
    Raises PolicyError with every finding, and UsageError for data that cannot be used.
    """
    if data is not None and items is not None:
        raise UsageError("both `data` and `items` are given", help="give a data set, or tables")
    if items is not None:
        dataset = _in_memory(items, users, interactions, schema)
    elif isinstance(data, Dataset):
        dataset = data
    else:
        dataset = data_sets.open(_source(policy) if data is None else str(data), schema)
    loaded = checker.read(str(policy), schema=dataset.schema, as_of=as_of, params=params)
    return LoadedPolicy(partial(compile, loaded.policy), dataset)


def _source(policy: str | Path) -> str:
    """The data that the policy's header names, from the policy's own folder."""
    loaded = checker.read(str(policy))
    name = loaded.policy.data
    if name is None:
        raise UsageError("the policy names no data", where=str(policy), help="give `data` or `items`")
    beside = loaded.folder / name
    return str(beside) if beside.exists() else name


def _in_memory(items: Any, users: Any, interactions: Any, schema: Schema | None) -> Dataset:
    raw = RawData(
        _table(items, "items"),
        _table(_NO_USERS if users is None else users, "users"),
        _table(_NO_EVENTS if interactions is None else interactions, "interactions"),
    )
    notes: tuple[str, ...] = ()
    if schema is None:
        schema, notes = infer.schema(raw, name="tables")
    return build(raw, schema, seed=0, notes=notes)


def _table(table: Any, name: str) -> RawTable:
    if isinstance(table, str | Path):
        return read(Path(table))
    return from_arrow(arrow(table, name), Path(name))
