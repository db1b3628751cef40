"""Turns the attributes of a catalog's items into sparse vectors, and finds similar items by them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from recpolicy.dataset.columns import Bools, ColumnData, Floats, Ints, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.schema import Role
from recpolicy.types import Type

WIDTH = 1000
"""Most attributes that are used; those of the most items come first."""
KNOTS = 8
"""Quantiles of a number; between two of them its effect is a straight line."""
BLOCK = 4096
"""Items whose attributes are in memory as a dense matrix at a time."""

Entries: TypeAlias = tuple[Ints, Ints, Floats]
"""Item, column and value of attributes, [entries] each."""


@dataclass(frozen=True)
class Attributes:
    """Attributes of items as sparse vectors: the entries `value` in row `item` and column `feature`, all [entries].

    A word, a category, a topic or a truth has its own column, which is 1 where it holds. A number has a column for each
    of its quantiles; the two nearest quantiles share the 1, and a number beyond the outermost counts as that one.
    """

    item: Ints
    feature: Ints
    value: Floats
    items: int
    width: int

    def of(self, rows: Ints) -> Floats:
        """Returns the dense vectors of these items, [rows, width]."""
        place = np.full(self.items, -1)
        place[rows] = np.arange(len(rows))
        at = place[self.item]
        mask = at >= 0
        out = np.zeros((len(rows), self.width))
        out[at[mask], self.feature[mask]] = self.value[mask]
        return out


def attributes(dataset: Dataset, learned: Ints) -> Attributes:
    """Reads the attributes of all items: those that `learned` items have, from all columns but ids and popularity."""
    known = np.zeros(dataset.items.rows, np.bool_)
    known[learned] = True
    specs = dataset.schema.item.values()
    columns = [dataset.items.columns.get(s.name) for s in specs if s.role not in (Role.ID, Role.POPULARITY)]
    parts: list[Entries] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    width = 0
    for item, feature, value in (_entries(column, known) for column in columns if column is not None):
        parts.append((item, feature + width, value))
        width += int(feature.max(initial=-1)) + 1
    item, feature, value = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    counts = np.bincount(feature[known[item]], minlength=width)
    selected = np.argsort(-counts, kind="stable")[: min(WIDTH, np.count_nonzero(counts))]
    column = np.full(width, -1)
    column[selected] = np.arange(len(selected))
    mask = column[feature] >= 0
    return Attributes(item[mask], column[feature[mask]], value[mask], dataset.items.rows, len(selected))


def _entries(column: ColumnData, known: Bools) -> Entries:
    item: Ints
    feature: NDArray[np.integer[Any]]
    match column:
        case NumberColumn():
            return _number(column.values, known)
        case TruthColumn():
            item = np.flatnonzero(column.values != 1)
            feature = column.values[item] // 2
        case WordColumn(type=Type.TEXT):
            words_of = [sorted(set(re.findall(r"\w+", text.casefold()))) for text in column.words]
            codes = {word: i for i, word in enumerate(dict.fromkeys(w for words in words_of for w in words))}
            rows = np.flatnonzero(column.values >= 0)
            pairs = [(row, codes[word]) for row in rows for word in words_of[column.values[row]]]
            item, feature = np.array(pairs, np.int64).reshape(-1, 2).T
        case WordColumn():
            item = np.flatnonzero(column.values >= 0)
            feature = column.values[item]
        case ListColumn():
            item = np.repeat(np.arange(len(column.values)), column.values.lengths)
            feature = column.values.values
        case _:
            assert_never(column)
    return item, feature.astype(np.int64), np.ones(len(item))


def _number(values: Floats, known: Bools) -> Entries:
    """The hat functions of a piecewise linear curve through the quantiles of the known values."""
    present = ~np.isnan(values)
    sample = values[known & present]
    knots = np.unique(np.quantile(sample, np.linspace(0, 1, KNOTS))) if len(sample) else sample
    hats = np.array([np.interp(values, knots, hat) for hat in np.eye(len(knots))]).reshape(len(knots), len(values))
    feature, item = np.nonzero((hats > 0) & present)
    return item, feature, hats[feature, item]


def rarity(facts: Attributes, learned: Ints) -> Floats:
    """Computes how rare each attribute is among the learned items, log(learned items / those that have it), [width]."""
    having = np.bincount(facts.feature[np.isin(facts.item, learned)], minlength=facts.width)
    return np.asarray(np.log(len(learned) / np.maximum(having, 1)), np.float64)


def directions(facts: Attributes, weights: Floats, rows: Ints) -> Floats:
    """Returns the weighed attributes of `rows` as vectors of length 1, [rows, width]; zeros for items without any."""
    vectors = facts.of(rows) * weights
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float64)


def similar_items(facts: Attributes, learned: Ints, items: Ints, most: int) -> list[Ints]:
    """Finds for each of `items` the `most` similar `learned` ones, most similar first; all share an attribute with it.

    Similarity is the cosine of the attributes, weighed by rarity.
    """
    weights = rarity(facts, learned)
    own = directions(facts, weights, items)
    parts = [own @ directions(facts, weights, learned[at : at + BLOCK]).T for at in range(0, len(learned), BLOCK)]
    similarity = np.concatenate(parts, 1)  # [items, learned]
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :most]
    return [learned[near[of[near] > 0]] for near, of in zip(nearest, similarity, strict=True)]
