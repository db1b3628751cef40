"""Reads files of lists for the commands: users, items or candidates with scores, and what is known of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.tables.reading import is_list, read
from recpolicy.tables.values.words import texts

OPTIONAL = ("history", "next_items", "now")


@dataclass(frozen=True)
class Listed:
    """The columns of a file of lists, by name: a list with an entry for each row."""

    path: Path
    columns: dict[str, list[Any]]

    def __getitem__(self, name: str) -> list[Any]:
        return self.columns[name]

    def get(self, name: str) -> list[Any] | None:
        """Returns a column, or None where the file does not have it."""
        return self.columns.get(name)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read_lists(path: Path, lists: Sequence[str], *, required: Sequence[str] = ()) -> Listed:
    """Reads a Parquet or JSONL file with `user_id`, the columns `lists` and `required`, and maybe `OPTIONAL` ones.

    Raises UsageError where a column is absent or holds no lists.
    """
    table = read(path)
    needed = ("user_id", *lists, *required)
    for name in needed:
        if name not in table.columns:
            close = near(name, [n for n in table.names if n not in needed])
            help = (f"rename `{close}`? " if close else "") + "there are: " + ", ".join(table.names)
            raise UsageError(f"no `{name}`", where=str(path), help=help)
    out: dict[str, list[Any]] = {}
    for name in (*needed, *(n for n in OPTIONAL if n in table.columns and n not in needed)):
        column = table.columns[name]
        if name in (*lists, "history", "next_items") and not is_list(column.type):
            raise UsageError(f"`{name}` holds {column.type}", where=str(path), help="it holds a list in each row")
        values = texts(column).to_pylist() if name == "user_id" else column.to_pylist()
        out[name] = [[] if v is None else v for v in values] if is_list(column.type) else values
    return Listed(path, out)
