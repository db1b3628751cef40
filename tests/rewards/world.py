"""Small data sets as plain Python values and, beside them, as the arrays that the compiler reads."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from recpolicy.dataset.columns import ColumnData, ListColumn, NumberColumn, Ragged, Table, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.schema import ColumnSpec, Role, Schema
from recpolicy.types import DAY, Type

GENRES = ("art", "books", "chess", "dance", "film")
LANGUAGES = ("en", "es", "pt")

ITEM = {
    "id": Type.TEXT,
    "genres": Type.LIST,
    "creator": Type.CATEGORY,
    "language": Type.CATEGORY,
    "popularity": Type.INT,
    "price": Type.FLOAT,
    "rate": Type.RATIO,
    "is_ad": Type.BOOL,
    "published": Type.DATE,
}
USER = {
    "age": Type.INT,
    "budget": Type.FLOAT,
    "language": Type.CATEGORY,
    "member": Type.BOOL,
    "likes": Type.LIST,
}

Record = dict[str, Any]
"""Column -> value; None is missing."""


@dataclass(frozen=True, eq=False)
class World:
    """Records, who took what (oldest first, the last three being what they took next), and the same as arrays."""

    items: list[Record]
    users: list[Record]
    history: list[list[int]]
    future: list[list[int]]
    now: list[float]
    dataset: Dataset
    rows: Rows


@cache
def world(seed: int, items: int = 14) -> World:
    """A data set of a few items and six users; the last user has neither history nor future."""
    rng = random.Random(seed)

    def some(value: object, missing: float = 0.15) -> object:
        return None if rng.random() < missing else value

    catalog: list[Record] = [
        {
            "id": f"i{i}",
            "genres": some(sorted(rng.sample(GENRES, rng.choice([0, 1, 1, 2, 3])))),
            "creator": some(f"c{rng.randrange(5)}"),
            "language": some(rng.choice(LANGUAGES)),
            "popularity": 0,
            "price": some(round(rng.uniform(0, 5), 1)),
            "rate": some(rng.choice([0.0, 0.01, 0.02, 0.5, 1.0])),
            "is_ad": some(rng.random() < 0.4),
            "published": some(DAY * rng.randrange(100)),
        }
        for i in range(items)
    ]
    people: list[Record] = [
        {
            "age": some(rng.randrange(10, 60)),
            "budget": some(round(rng.uniform(0, 5), 1)),
            "language": some(rng.choice((*LANGUAGES, "fi"))),
            "member": some(rng.random() < 0.5),
            "likes": some(sorted(rng.sample((*GENRES, "jazz"), 2))),
        }
        for _ in range(6)
    ]
    history = [rng.sample(range(items), rng.randrange(1, 6)) for _ in people[:-1]] + [[]]
    future = [rng.sample(range(items), rng.randrange(1, 5)) for _ in people[:-1]] + [[]]
    history[1] = [*history[1], history[1][0]]  # taken twice
    future[0] = [*future[0], future[0][0]]
    for i, item in enumerate(catalog):
        item["popularity"] = sum(i in taken for taken in history)
    now = [DAY * rng.randrange(40, 120) for _ in people]
    rows = Rows(np.arange(len(people)), np.array(now, np.float64), Ragged.of(history), Ragged.of(future))
    return World(catalog, people, history, future, now, dataset(catalog, people, history), rows)


def dataset(items: list[Record], users: list[Record], history: list[list[int]]) -> Dataset:
    """The records as a Dataset; its interactions are the histories."""
    start = np.append(0, np.cumsum([len(h) for h in history])).astype(np.int64)
    item = {n: ColumnSpec(n, t, role=Role.POPULARITY if n == "popularity" else None) for n, t in ITEM.items()}
    return Dataset(
        name="hand-made",
        schema=Schema("hand-made", item, {n: ColumnSpec(n, t) for n, t in USER.items()}),
        items=Table(len(items), {n: column(t, [r[n] for r in items]) for n, t in ITEM.items()}),
        users=Table(len(users), {n: column(t, [r[n] for r in users]) for n, t in USER.items()}),
        item_ids=tuple(f"i{i}" for i in range(len(items))),
        user_ids=tuple(f"u{i}" for i in range(len(users))),
        start=start,
        item=np.array([i for h in history for i in h], np.int32),
        time=np.full(int(start[-1]), np.nan),
        notes=(),
        digest="",
    )


def column(kind: Type, values: list[Any]) -> ColumnData:
    """Python values as a column."""
    if kind is Type.LIST:
        words = sorted({w for v in values for w in v or ()})
        codes = Ragged.of([[words.index(w) for w in v or ()] for v in values])
        return ListColumn(kind, codes, tuple(words), np.array([v is None for v in values]))
    if kind.is_word:
        words = sorted({v for v in values if v is not None}, reverse=True)
        return WordColumn(kind, np.array([-1 if v is None else words.index(v) for v in values], np.int32), tuple(words))
    if kind is Type.BOOL:
        return TruthColumn(kind, np.array([1 if v is None else 2 * int(v) for v in values], np.int8))
    return NumberColumn(kind, np.array([np.nan if v is None else v for v in values], np.float64))
