"""A catalog in, what is said of its items as sparse vectors out, and which items are alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from recpolicy.dataset.columns import Bools, ColumnData, Floats, Ints, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.schema import Role
from recpolicy.types import Type

WIDTH = 1000
"""At most so many attributes are looked at, those of most items first."""
KNOTS = 8
"""Quantiles of a number between which its effect is a straight line."""
BLOCK = 4096
"""Items whose attributes are held as a matrix at once."""


@dataclass(frozen=True)
class Attributes:
    """What is said of items, as sparse vectors: the entries `value` in row `item` and column `feature`, all [entries].

    A word, a category, a topic or a truth is a column of its own, which is 1 where it holds. A number has a column for
    each of its quantiles, the two nearest of which share the 1: what lies beyond all known numbers is like the last.
    """

    item: Ints
    feature: Ints
    value: Floats
    items: int
    width: int

    def of(self, rows: Ints) -> Floats:
        """The vectors of the named items, [rows, width]."""
        place = np.full(self.items, -1)
        place[rows] = np.arange(len(rows))
        at = place[self.item]
        named = at >= 0
        out = np.zeros((len(rows), self.width))
        out[at[named], self.feature[named]] = self.value[named]
        return out


def attributes(dataset: Dataset, learned: Ints) -> Attributes:
    """What all items have of the attributes that `learned` ones have: all columns but ids and popularity."""
    known = np.zeros(dataset.items.rows, np.bool_)
    known[learned] = True
    specs = dataset.schema.item.values()
    columns = [dataset.items.columns.get(s.name) for s in specs if s.role not in (Role.ID, Role.POPULARITY)]
    parts, width = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))], 0
    for item, feature, value in (_entries(column, known) for column in columns if column is not None):
        parts.append((item, feature + width, value))
        width += int(feature.max(initial=-1)) + 1
    item, feature, value = (np.concatenate(some) for some in zip(*parts, strict=True))
    counts = np.bincount(feature[known[item]], minlength=width)
    kept = np.argsort(-counts, kind="stable")[: min(WIDTH, np.count_nonzero(counts))]
    column = np.full(width, -1)
    column[kept] = np.arange(len(kept))
    held = column[feature] >= 0
    return Attributes(item[held], column[feature[held]], value[held], dataset.items.rows, len(kept))


def _entries(column: ColumnData, known: Bools) -> tuple[Ints, Ints, Floats]:
    """Item, feature and value of everything that a column says, [entries] each."""
    match column:
        case NumberColumn():
            return _number(column.values, known)
        case TruthColumn():
            said = np.flatnonzero(column.values != 1)
            return said, column.values[said].astype(np.int64) // 2, np.ones(len(said))
        case WordColumn(type=Type.TEXT):
            said = np.flatnonzero(column.values >= 0)
            spelled = [sorted(set(re.findall(r"\w+", text.casefold()))) for text in column.words]
            codes = {word: i for i, word in enumerate(dict.fromkeys(w for words in spelled for w in words))}
            pairs = [(row, codes[word]) for row in said for word in spelled[column.values[row]]]
            item, feature = np.array(pairs, np.int64).reshape(-1, 2).T
            return item, feature, np.ones(len(item))
        case WordColumn():
            said = np.flatnonzero(column.values >= 0)
            return said, column.values[said].astype(np.int64), np.ones(len(said))
        case ListColumn():
            item = np.repeat(np.arange(len(column.values)), column.values.lengths)
            return item, column.values.values.astype(np.int64), np.ones(len(item))
        case _:
            assert_never(column)


def _number(values: Floats, known: Bools) -> tuple[Ints, Ints, Floats]:
    """The hat functions of a piecewise linear curve through the quantiles of what is known."""
    told = ~np.isnan(values)
    knots = (
        np.unique(np.quantile(values[told & known], np.linspace(0, 1, KNOTS))) if (told & known).any() else np.zeros(0)
    )
    parts = []
    for at in range(len(knots)):
        hat = np.interp(values, knots, np.eye(len(knots))[at])
        item = np.flatnonzero(told & (hat > 0))
        parts.append((item, np.full(len(item), at), hat[item]))
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    item, feature, value = (np.concatenate(some) for some in zip(nothing, *parts, strict=True))
    return item, feature, value


def rarity(facts: Attributes, learned: Ints) -> Floats:
    """How rare each attribute is among the learned items, [width]: log(learned items / those that have it)."""
    having = np.bincount(facts.feature[np.isin(facts.item, learned)], minlength=facts.width)
    return np.asarray(np.log(len(learned) / np.maximum(having, 1)), np.float64)


def directions(facts: Attributes, weights: Floats, rows: Ints) -> Floats:
    """The attributes of `rows`, weighed, as vectors of length 1, [rows, width]; zeros where nothing is known."""
    vectors = facts.of(rows) * weights
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float64)


def alike(facts: Attributes, learned: Ints, items: Ints, most: int) -> list[Ints]:
    """For each of `items` the `learned` ones most like it, the most alike first; only such as share something with it.

    Likeness is the cosine of the attributes, each weighed by its rarity.
    """
    weights = rarity(facts, learned)
    own = directions(facts, weights, items)
    parts = [own @ directions(facts, weights, learned[at : at + BLOCK]).T for at in range(0, len(learned), BLOCK)]
    likeness = np.concatenate(parts, 1)  # [items, learned]
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
    return [learned[near[of[near] > 0]] for near, of in zip(nearest, likeness, strict=True)]
