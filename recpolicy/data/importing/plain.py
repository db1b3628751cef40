"""Reads data folders, RecBole folders and databases: sources that hold the tables already, or two or one of them."""

from __future__ import annotations

from os.path import isdir, isfile
from pathlib import Path

from recpolicy import schema as schemas
from recpolicy.data.importing.found import Found
from recpolicy.errors import UsageError
from recpolicy.schema import Role, Schema
from recpolicy.sources import database, own_schema
from recpolicy.tables import recbole, source


def matches(name: str) -> bool:
    """Checks for a database, and for a folder with interactions."""
    if database(name) is not None:
        return True
    folder = Path(name)
    return isdir(folder) and bool(source.atomic(folder) or source.candidates(folder, "interactions"))


def load(name: str, given: Path | None) -> Found:
    """Reads the tables with the schema `given`, else with the one that lies there. Items and users may be absent.

    Raises UsageError for a table or a schema that cannot be read.
    """
    stated = given or own_schema(name)
    schema = schemas.load(stated) if stated else None
    tables, stem = source.tables(name, schema.queries if schema else None, optional=("items", "users"))
    items = tables.get("items")
    origins = {}
    if stem is not None and items is not None:
        items = recbole.with_director(items, stem, _id(schema))
        if "director" not in tables["items"].columns:
            origins["items.director"] = f"The first director in {stem.name}.kg"
    return Found(
        kind=_kind(name, stem),
        items=items,
        users=tables.get("users"),
        interactions=tables["interactions"],
        origins=origins,
        schema=schema,
        schema_text=stated.read_text("utf-8") if stated else None,
    )


def _id(schema: Schema | None) -> str:
    id = schema.with_role(Role.ID) if schema else None
    return id.source if id and id.source else "item_id"


def _kind(name: str, stem: Path | None) -> str:
    if (path := database(name)) is not None:
        return f"the DuckDB database {path.name}"
    return "RecBole atomic files" if stem else "a data folder"


def refused(name: str) -> UsageError | None:
    """Returns the error for a source whose kind is known and that is given in a way that is not; None for others."""
    path = Path(name)
    if isfile(path) and path.suffix in (".db", ".duckdb"):
        return UsageError("this is a database", where=name, help=f"write duckdb: before it: duckdb:{name}")
    return None
