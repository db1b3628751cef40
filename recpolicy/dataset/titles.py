"""Finds the names of a data set's items for people."""

from __future__ import annotations

from recpolicy.dataset.columns import WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.schema import Role


def titles(dataset: Dataset) -> tuple[str, ...]:
    """Returns the name of each item, [items]: its title, else its id."""
    spec = dataset.schema.with_role(Role.TITLE)
    column = dataset.items.columns.get(spec.name) if spec else None
    if not isinstance(column, WordColumn):
        return dataset.item_ids
    return tuple(column.words[c] if c >= 0 else id for c, id in zip(column.values, dataset.item_ids, strict=True))
