"""Reads slates from completions, and finds which items a user may be shown at all."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from recpolicy.dataset.columns import Bools, Codes
from recpolicy.dataset.rows import Rows, Slates

COMPARED = 10_000_000
"""Most pairs of a place and an event of a history that are compared one with the other."""
_ITEM = re.compile(r"<item_(\d{1,9})>")


def item_token(row: int) -> str:
    """Returns the text that stands for an item in prompts and answers; one token of the model's vocabulary."""
    return f"<item_{row}>"


def parse(completions: Sequence[str], *, k: int, items: int) -> Codes:
    """Reads the items of each completion's answer: what follows the last `<answer>`, up to `</answer>` or the end.

    Every item reference takes one place, up to K. An item that the catalog does not hold, or that is in the slate
    already, leaves a hole at its rank. No text is an error. Returns item rows [B, K], -1 a hole.
    """
    slates = np.full((len(completions), k), -1, np.int32)
    for i, text in enumerate(completions):
        _, tag, answer = text.rpartition("<answer>")
        if tag:
            named = [int(n) for n in _ITEM.findall(answer.partition("</answer>")[0])[:k]]
            slates[i, : len(named)] = [n if n < items and n not in named[:r] else -1 for r, n in enumerate(named)]
    return slates


def unseen(rows: Rows, items: int) -> Bools:
    """Finds the items that are not in each row's history, [B, items]; all items where they are repeatable.

    Where rows have candidates, this and `offered` are about those, [B, C].
    """
    width = items if rows.columns is None else rows.columns.shape[1]
    fresh = np.ones((len(rows), width), np.bool_)
    if not rows.repeatable:
        row = np.repeat(np.arange(len(rows)), rows.history.lengths)
        fresh[rows.found(row, rows.history.values)] = False
    return fresh


def offered(rows: Rows, items: int) -> Bools:
    """Finds the items for each row's slate, [B, items]: not in its history and, where it has a pool, in the pool."""
    fresh = unseen(rows, items)
    if rows.pool is not None:
        pooled = np.zeros_like(fresh)
        row, place = np.nonzero(rows.pool >= 0)
        pooled[rows.found(row, rows.pool[row, place])] = True
        fresh &= pooled
    return fresh


def unseen_at(slates: Codes, rows: Rows, items: int) -> Bools:
    """Finds the places whose item is not in the row's history, [B, K]; holes and repeatable items count as unseen."""
    if rows.repeatable:
        return np.ones(slates.shape, np.bool_)
    history, longest = rows.history, int(rows.history.lengths.max(initial=0))
    row = np.repeat(np.arange(len(rows)), history.lengths)
    if longest * slates.size <= COMPARED:  # comparing all pairs is faster than sorting
        padded = np.full((len(rows), longest), -2, np.int32)
        padded[row, np.arange(len(row)) - history.offsets[row]] = history.values
        return np.asarray(~(slates[:, :, None] == padded[:, None]).any(2))
    keys = np.arange(len(rows))[:, None] * items + slates  # [B, K]
    return (slates < 0) | ~np.isin(keys, row * items + history.values)


def without_seen(slates: Codes, rows: Rows, items: int) -> Slates:
    """Returns slates with a hole at every place whose item is in the row's history; [B, K] item rows.

    Where items are repeatable the slates stay as they are.
    """
    return Slates(np.where(unseen_at(slates, rows, items), slates, np.int32(-1)))
