"""Adds the director of each film to RecBole data, from the knowledge graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.errors import UsageError
from recpolicy.tables.reading import Array, RawTable, read

DIRECTED_BY = "film.film.directed_by"
"""The Freebase relation from a film to its director; `DIRECTED` is its inverse."""
DIRECTED = "film.director.film"


def with_director(items: RawTable, stem: Path, item_column: str) -> RawTable:
    """Adds a column `director` (entity ids) to the items, from `stem`.kg and `stem`.link.

    A film with several directors gets the first in the file. Returns the table unchanged where the files are absent or
    name no director, and where it has the column already.
    """
    graph_path, link_path = stem.with_name(stem.name + ".kg"), stem.with_name(stem.name + ".link")
    exist = graph_path.exists() and link_path.exists()
    if not exist or "director" in items.columns or item_column not in items.columns:
        return items
    graph, link = read(graph_path), read(link_path)
    head, relation, tail = (_column(graph, name) for name in ("head_id", "relation_id", "tail_id"))
    forward, inverse = pc.equal(relation, DIRECTED_BY), pc.equal(relation, DIRECTED)
    films = pa.concat_arrays([head.filter(forward), tail.filter(inverse)])
    directors = pa.concat_arrays([tail.filter(forward), head.filter(inverse)])
    if not len(films):
        return items
    # index_in finds the first match: of several directors the first, of several links the first.
    entity = _column(link, "entity_id").take(pc.index_in(items.columns[item_column], _column(link, "item_id")))
    director = directors.take(pc.index_in(entity, films))  # null where the item has no entity or no director
    return replace(items, columns={**items.columns, "director": director}, hints={**items.hints, "director": "token"})


def _column(table: RawTable, name: str) -> Array:
    if name not in table.columns:
        raise UsageError(f"no column `{name}`", where=str(table.path), help="columns: " + ", ".join(table.columns))
    return table.columns[name]
