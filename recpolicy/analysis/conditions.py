"""Conditions of a policy and its data in, those that never or always hold out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recpolicy.analysis.messages import unknown_words
from recpolicy.analysis.scene import Scene, hint, true_for, uses
from recpolicy.compiler.catalog import TRUE, UNKNOWN, by_item_only
from recpolicy.errors import Diagnostic
from recpolicy.errors import catalog as errors
from recpolicy.language.policy import Expr, OfHistory, Quota, walk

FEW_USERS = 200
"""Users for whom a condition on users and items is tried."""


def conditions(scene: Scene) -> Iterator[Diagnostic]:
    """Conditions of rules that tell no items apart, and of `when` that tell no users apart, each at its first use.

    A condition with a word that does not occur is left to `words`, and that of an at-least which nothing matches to
    `supply`.
    """
    seen: set[Expr] = set()
    for use in uses(scene.policy):
        if use.expr in seen or use.kind == "value" or next(unknown_words(scene, use.expr), None) is not None:
            continue
        seen.add(use.expr)
        span, source, _ = scene.place(use.name, use.expr, bool)
        if use.kind == "when":
            if any(isinstance(node, OfHistory) for node in walk(use.expr)):
                continue  # histories grow: the rows are those of today
            users, matching = len(scene.rows), _users(scene, use.expr)
            if users and matching in (0, users):
                make = errors.everybody if matching else errors.nobody
                yield make(span, users, hint(scene, use.expr), source)
            continue
        rule = scene.rule(use.name)
        asks = isinstance(rule, Quota) and rule.at_least is not None
        pairs, matching, unknown = _items(scene, use.expr)
        of = f"{scene.items:,} items" if by_item_only(use.expr) else f"{pairs:,} pairs of users and items"
        if pairs and matching == 0 and not asks:
            yield errors.never(span, use.name, of, unknown, hint(scene, use.expr), source)
        elif pairs and matching + unknown == pairs and matching:
            yield errors.always(span, use.name, of, unknown, hint(scene, use.expr), source)


def _users(scene: Scene, predicate: Expr) -> int:
    """Users for whom a condition is true."""
    return sum(int(true_for(pool, predicate).sum()) for _, pool in scene.parts())


def _items(scene: Scene, predicate: Expr) -> tuple[int, int, int]:
    """How many (user, item) pairs there are, for how many a condition is true, and for how many unknown."""
    few = scene.some(1 if by_item_only(predicate) else FEW_USERS)
    pairs = matching = unknown = 0
    for _, pool in few.parts():
        truth = np.broadcast_to(pool.truth(pool.catalog.term(predicate)), pool.shape)
        pairs += truth.size
        matching += int((truth == TRUE).sum())
        unknown += int((truth == UNKNOWN).sum())
    return pairs, matching, unknown
