"""Finds words of a policy that do not occur in its data, and columns that are mostly missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np

from recpolicy.analysis.scene import Scene, missing, uses
from recpolicy.dataset.columns import ListColumn, WordColumn
from recpolicy.errors import Diagnostic
from recpolicy.errors import data_findings as errors
from recpolicy.errors.near import near
from recpolicy.language.policy import (
    Among,
    Column,
    Compare,
    Contains,
    Different,
    Expr,
    IsMissing,
    Per,
    Quota,
    Reward,
    Spread,
    Word,
    walk,
)

MOST_MISSING = 0.5
"""A column that is missing for a larger share of items or users is reported."""


def unknown_words(scene: Scene, expr: Expr) -> Iterator[tuple[Word, Column]]:
    """Yields the words of an expression that do not occur in the column they are compared with."""
    for node in walk(expr):
        column, words = _compared(node)
        if column is not None:
            known = _values(scene, column)
            yield from ((word, column) for word in words if word.value not in known)


def words(scene: Scene) -> Iterator[Diagnostic]:
    """Finds comparisons with words that do not occur: most are spelling errors."""
    seen: set[tuple[object, ...]] = set()
    for use in uses(scene.policy):
        for word, column in unknown_words(scene, use.expr):
            span, source, literal = scene.place(use.name, word, _quoted(word.value).__eq__)
            if (key := (span, source, word.value, column)) not in seen:
                seen.add(key)
                known = _values(scene, column)
                close = near(word.value, known)
                fix = _quoted(close) if literal and close is not None else None
                name = f"{column.table}.{column.name}"
                yield errors.unknown_word(span, word.value, name, close, tuple(known), fix, source)


def _quoted(word: str) -> str:
    """The word as a policy writes it."""
    return '"' + word.replace('"', '\\"') + '"'


def _compared(node: Expr) -> tuple[Column | None, tuple[Word, ...]]:
    match node:
        case Compare(op="is" | "is not", left=Column() as column, right=Word() as word):
            return column, (word,)
        case Compare(op="is" | "is not", left=Word() as word, right=Column() as column):
            return column, (word,)
        case Among(operand=Column() as column, options=options):
            return column, tuple(option for option in options if isinstance(option, Word))
        case Contains(word=Word() as word, column=column):
            return column, (word,)
        case _:
            return None, ()


def _values(scene: Scene, column: Column) -> dict[str, int]:
    """The words that occur in a column with their counts, the most frequent first."""
    data = scene.column(column)
    match data:
        case WordColumn():
            codes = data.values[data.values >= 0]
        case ListColumn():
            codes = data.values.values
        case _:
            return {}
    counts = np.bincount(codes, minlength=len(data.words))
    order = np.argsort(-counts, kind="stable")
    return {data.words[i]: int(counts[i]) for i in order if counts[i]}


def gaps(scene: Scene) -> Iterator[Diagnostic]:
    """Finds columns that are missing for most items or users; each is reported at its first use."""
    seen: set[Column] = set()
    for name, column in _columns(scene):
        if column not in seen:
            seen.add(column)
            without = missing(scene.column(column))
            if len(without) and without.mean() > MOST_MISSING:
                written = re.compile(rf"{column.table}\.").match
                span, source, _ = scene.place(name, column, written)
                things: Literal["items", "users"] = "items" if column.table == "item" else "users"
                label = f"{column.table}.{column.name}"
                yield errors.mostly_missing(span, label, int(without.sum()), len(without), things, source)


def _columns(scene: Scene) -> Iterator[tuple[str, Column]]:
    """Columns and the names of the rules that use them, except where a condition tests that they are missing."""
    for use in uses(scene.policy):
        nodes = list(walk(use.expr))
        tested = {node.operand for node in nodes if isinstance(node, IsMissing)}
        yield from ((use.name, node) for node in nodes if isinstance(node, Column) and node not in tested)
    for rule in scene.policy.rules:
        match rule:
            case Reward(measure=Spread(column=column)) | Quota(counted=Per(column=column) | Different(column=column)):
                yield rule.name, column
            case _:
                pass
