"""Opens the tables of a folder or a database, with their schema."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recpolicy import schema as schemas
from recpolicy.schema import Role, Schema
from recpolicy.sources import own_schema, title
from recpolicy.tables import infer, recbole
from recpolicy.tables.source import RawData, find


@dataclass(frozen=True)
class Opened:
    """Raw tables and the schema by which they are read; `notes` say what was inferred, one sentence each."""

    raw: RawData
    schema: Schema
    notes: tuple[str, ...] = ()


def open(source: str, schema: Schema | None = None) -> Opened:
    """Opens a folder or a database. The schema is the given one, that of its `schema.toml`, or an inferred one.

    Raises UsageError for tables that cannot be read, and for a schema that cannot be used.
    """
    if schema is None and (stated := own_schema(source)) is not None:
        schema = schemas.load(stated)
    raw = find(source, schema.queries if schema else None)
    if raw.stem is not None:
        id = schema.with_role(Role.ID) if schema else None
        item_column = id.source if id and id.source else "item_id"
        raw = replace(raw, items=recbole.with_director(raw.items, raw.stem, item_column))
    if schema is not None:
        return Opened(raw, schema)
    return Opened(raw, *infer.schema(raw, name=title(source)))
