"""Describes the items, topics and users of a data set in the words that prompts may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, assert_never

import numpy as np

from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, Ragged, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.dataset.slates import item_token
from recpolicy.explain import values
from recpolicy.schema import Role
from recpolicy.types import Type

Clean: TypeAlias = Callable[[str], str]
"""Makes a word of the data fit for a prompt."""
MANY = 100
"""Most different values of a user's attribute in profiles: one with more is nearly an id."""
LISTED = 5
"""Most words of a list that are named."""


@dataclass(frozen=True)
class Item:
    """An item as a template sees it: `item.token`, `item.title` and so on, all text, empty where unknown."""

    _words: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Text that Jinja reads as `item.NAME`. Raises KeyError for a name that items do not have."""
        return self._words[name]

    def __str__(self) -> str:
        return self["token"]


@dataclass(frozen=True)
class Topics:
    """Topics of items."""

    words: tuple[str, ...]
    of: Ragged  # [items], codes into `words`


def topics(dataset: Dataset, clean: Clean) -> Topics:
    """Reads topics from the first column of lists, else the first of categories that are neither id nor creator."""
    columns = dataset.items.columns
    for column in columns.values():
        if isinstance(column, ListColumn):
            return Topics(tuple(map(clean, column.words)), column.values)
    for name, spec in dataset.schema.item.items():
        match columns.get(name):
            case WordColumn(type=Type.CATEGORY, values=codes, words=words) if spec.role not in (Role.ID, Role.CREATOR):
                known = codes >= 0
                return Topics(tuple(map(clean, words)), Ragged(np.append(0, np.cumsum(known)), codes[known]))
    return Topics((), Ragged(np.zeros(dataset.items.rows + 1, np.int64), np.zeros(0, np.int32)))


def items(dataset: Dataset, about: Topics, clean: Clean) -> tuple[Item, ...]:
    """Describes every item of the catalog in the words named in `fields`."""
    clean = cache(clean)
    columns = {name: list(_texts(column, clean)) for name, column in dataset.items.columns.items()}
    title = _title(dataset)
    creator, published = (_with_role(dataset, role) for role in (Role.CREATOR, Role.PUBLISHED))
    out = []
    for row in range(dataset.items.rows):
        own = {name: texts[row] for name, texts in columns.items()}
        genres = ", ".join(about.words[t] for t in about.of.row(row)[:LISTED])
        by = f"by {own[creator]}" if creator and own[creator] else ""
        facts = (genres, by, _year(dataset.items.columns.get(published or ""), row))
        own |= {
            "token": item_token(row),
            "title": (own[title] if title else "") or clean(dataset.item_ids[row]),
            "topics": genres,
            "about": "; ".join(fact for fact in facts if fact),
        }
        out.append(Item(own))
    return tuple(out)


def fields(dataset: Dataset) -> tuple[str, ...]:
    """Returns the names of an item's texts: token, title, topics, `about` with all that matters, and its columns."""
    return tuple(dict.fromkeys(("token", "title", "topics", "about", *dataset.items.columns)))


def profiles(dataset: Dataset, clean: Clean) -> list[str]:
    """Describes each user by the attributes with few different values: categories and whole numbers."""
    parts: list[list[str]] = [[] for _ in range(dataset.users.rows)]
    for name, spec in dataset.schema.user.items():
        column = dataset.users.columns.get(name)
        if spec.role is Role.ID or column is None:
            continue
        match column:
            case WordColumn(type=Type.CATEGORY, values=codes, words=words) if len(words) <= MANY:
                texts = [f"{name} {clean(word)}" for word in words]
                for user in np.flatnonzero(codes >= 0):
                    parts[user].append(texts[codes[user]])
            case NumberColumn(type=Type.INT, values=numbers) if len(np.unique(numbers)) <= MANY:
                for user in np.flatnonzero(~np.isnan(numbers)):
                    parts[user].append(f"{name} {int(numbers[user])}")
            case _:
                pass
    return [" ".join(p) or "unknown" for p in parts]


def _title(dataset: Dataset) -> str | None:
    """The column of titles: the one with that role, else the first of free text that is not the id."""
    free = (name for name, spec in dataset.schema.item.items() if spec.type is Type.TEXT and spec.role is not Role.ID)
    return _with_role(dataset, Role.TITLE) or next((n for n in free if n in dataset.items.columns), None)


def _with_role(dataset: Dataset, role: Role) -> str | None:
    spec = dataset.schema.with_role(role)
    return spec.name if spec and spec.name in dataset.items.columns else None


def _texts(column: ColumnData, clean: Clean) -> Iterator[str]:
    """Each row's value as text; empty where it is missing."""
    match column:
        case WordColumn(values=codes, words=words):
            yield from (clean(words[code]) if code >= 0 else "" for code in codes)
        case ListColumn(values=lists, words=words):
            for row in range(len(lists)):
                yield ", ".join(clean(words[code]) for code in lists.row(row)[:LISTED])
        case TruthColumn(values=truths):
            yield from (("no", "", "yes")[truth] for truth in truths)
        case NumberColumn(type=kind, values=numbers):
            yield from ("" if np.isnan(number) else values.amount(float(number), kind) for number in numbers)
        case _:
            assert_never(column)


def _year(column: ColumnData | None, row: int) -> str:
    if not isinstance(column, NumberColumn) or np.isnan(column.values[row]):
        return ""
    return str(np.datetime64(int(column.values[row]), "s").astype("datetime64[Y]"))
