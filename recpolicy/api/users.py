"""Tells of users that the data do not have: nobody in particular, or columns that come with a call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import pyarrow as pa

from recpolicy.api.frames import arrow
from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, Ragged, Table, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.schema import Role, Schema
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading.files import from_arrow
from recpolicy.tables.values.columns import column


def with_nobody(dataset: Dataset) -> Dataset:
    """Adds a last user about whom nothing is known; a row whose user is -1 finds that one."""
    columns = {name: _and_missing(held) for name, held in dataset.users.columns.items()}
    return replace(
        dataset,
        users=Table(dataset.users.rows + 1, columns),
        user_ids=dataset.user_ids,
        start=np.append(dataset.start, dataset.start[-1]),
    )


def _and_missing(held: ColumnData) -> ColumnData:
    match held:
        case NumberColumn():
            return replace(held, values=np.append(held.values, np.nan))
        case TruthColumn():
            return replace(held, values=np.append(held.values, np.int8(1)))
        case WordColumn():
            return replace(held, values=np.append(held.values, np.int32(-1)))
        case ListColumn():
            lists = Ragged(np.append(held.values.offsets, held.values.offsets[-1]), held.values.values)
            return replace(held, values=lists, missing=np.append(held.missing, True))
        case _:
            assert_never(held)


def inline(users: Any, schema: Schema, count: int) -> Table:
    """Reads the columns of `count` users, named as policies name them; what is not given is missing.

    Raises UsageError for columns that the schema does not have, and for values of a wrong type.
    """
    table = arrow(users, "users")
    specs = {name: spec for name, spec in schema.user.items() if spec.role is not Role.ID}
    for name in table.column_names:
        if name not in specs:
            close = near(name, specs)
            help = (f"did you mean `{close}`? " if close else "") + "columns: " + ", ".join(specs)
            raise UsageError(f"no column `user.{name}`", where="users", help=help)
    if table.num_rows != count:
        raise UsageError(f"{table.num_rows} users for {count} lists", where="users", help="give a row for each list")
    for name in specs:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(count))
    raw, problems = from_arrow(table, Path("users")), Problems()
    columns = {name: column(raw, replace(spec, source=name, optional=True), problems) for name, spec in specs.items()}
    problems.stop()
    return Table(count, columns)
