"""Reports the values of a column that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import Bools
from recpolicy.schema import ColumnSpec
from recpolicy.tables.problems import Problems, shown
from recpolicy.tables.reading import RawTable


class Reporter:
    """Turns row numbers into one problem or note of a column."""

    def __init__(self, table: RawTable, name: str, problems: Problems) -> None:
        self.table, self.name, self.problems = table, name, problems
        self.raw = table.columns[name]
        self.reported = np.zeros(table.rows, np.bool_)

    def wrong(self, rows: NDArray[np.intp], message: Callable[[int], str], help: str = "") -> None:
        """Reports `rows` (from 0) as one kind of problem; `message` describes one row."""
        if len(rows):
            self.reported[rows] = True
            first = int(rows[0])
            self.problems.add(message(first), self.table.place(first, self.name), help, more=len(rows) - 1)

    def misfits(self, rows: NDArray[np.intp], phrase: str, help: str = "") -> None:
        """Reports `rows` with their value and a phrase about it: `"2O21" is not a date`."""
        self.wrong(rows, lambda row: f"{shown(self.raw[row].as_py())} {phrase}", help)

    def required(self, spec: ColumnSpec, missing: Bools) -> None:
        """Reports the missing values of a column that is not optional, except rows that are reported already."""
        if not spec.optional:
            help = f"fill it in, or write optional = true for `{spec.name}` in schema.toml"
            self.absent(missing, "value", help)

    def absent(self, missing: Bools, what: str, help: str) -> None:
        """Reports the rows where `what` is missing, [rows], except rows that are reported already."""
        self.wrong(np.flatnonzero(missing & ~self.reported), lambda _: f"the {what} is missing", help)

    def note(self, text: str) -> None:
        """Adds a note about the column."""
        self.problems.note(f"{self.table.path.name}: `{self.name}` {text}")
