"""Reads a folder of Parquet parts, hive partitions included, as one table."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from recpolicy.errors import UsageError


def files(folder: Path) -> tuple[Path, ...]:
    """Returns the Parquet files below a folder in natural order: `part-2` before `part-10`.

    Leaves out what writers hide behind `_` or a dot. Raises UsageError where there is none.
    """
    inside = [(path, path.relative_to(folder).parts) for path in folder.rglob("*.parquet") if path.is_file()]
    found = [(path, names) for path, names in inside if not any(name.startswith((".", "_")) for name in names)]
    if not found:
        help = "put part-0.parquet, part-1.parquet, ... into it, in folders like day=2024-05-01 or without"
        raise UsageError("the folder holds no .parquet file", where=str(folder), help=help)
    return tuple(path for path, names in sorted(found, key=lambda each: [_natural(name) for name in each[1]]))


class Parts:
    """The parts of one table: all rows in the order of the files."""

    def __init__(self, folder: Path) -> None:
        """Reads all parts. Raises UsageError for one with other columns than the first has, and as Arrow does."""
        self._names = [path.relative_to(folder).as_posix() for path in files(folder)]
        hive = ds.partitioning(flavor="hive")
        paths = [str(folder / name) for name in self._names]
        whole = ds.dataset(paths, format="parquet", partitioning=hive, partition_base_dir=str(folder))
        stored = {Path(fragment.path).relative_to(folder).as_posix(): fragment for fragment in whole.get_fragments()}
        fragments = [stored[name] for name in self._names]
        schemas = [fragment.physical_schema for fragment in fragments]
        for name, schema in zip(self._names, schemas, strict=True):
            self._check(folder, name, schemas[0], schema)
        partitions = [field for field in whole.schema if field.name not in schemas[0].names]
        tables = [
            fragment.to_table(schema=pa.schema([*schema, *partitions]))
            for fragment, schema in zip(fragments, schemas, strict=True)
        ]
        self.table = pa.concat_tables(tables, promote_options="permissive")
        self._first = [0, *accumulate(len(table) for table in tables)]

    def row_name(self, row: int) -> str:
        """Describes a row (from 0) of the whole by its file and its row there."""
        part = bisect_right(self._first, row) - 1
        return f"{self._names[part]}, row {row - self._first[part] + 1}"

    def _check(self, folder: Path, name: str, first: pa.Schema, schema: pa.Schema) -> None:
        """Checks that a part has the columns of the first one, in types that go together."""
        where, help = str(folder / name), f"all parts need the columns of {self._names[0]}: {', '.join(first.names)}"
        if absent := [column for column in first.names if column not in schema.names]:
            raise UsageError(f"this part has no column `{absent[0]}`", where=where, help=help)
        if added := [column for column in schema.names if column not in first.names]:
            raise UsageError(f"this part has a column `{added[0]}` that others lack", where=where, help=help)
        try:
            pa.unify_schemas([first, schema], promote_options="permissive")
        except pa.ArrowException:
            for field in first:
                try:
                    pa.unify_schemas(
                        [pa.schema([field]), pa.schema([schema.field(field.name)])], promote_options="permissive"
                    )
                except pa.ArrowException:
                    kinds = f"{schema.field(field.name).type}, in {self._names[0]} {field.type}"
                    help = "write the column with one type in all parts"
                    raise UsageError(f"`{field.name}` holds {kinds}", where=where, help=help) from None
            raise


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sorts the numbers in a name as numbers."""
    pieces: list[str | int] = [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+)", name))]
    return pieces, name
