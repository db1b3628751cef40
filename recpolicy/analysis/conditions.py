"""Finds conditions of a policy that never or always hold in its data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recpolicy.analysis.messages import unknown_words
from recpolicy.analysis.scene import Scene, hint, true_for, uses
from recpolicy.compiler.catalog import TRUE, UNKNOWN, by_item_only
from recpolicy.errors import Diagnostic
from recpolicy.errors import data_findings as errors
from recpolicy.language.policy import Expr, OfHistory, Quota, walk

FEW_USERS = 200
"""Most users for whom a condition on users and items is evaluated."""


def conditions(scene: Scene) -> Iterator[Diagnostic]:
    """Finds conditions with one value for all items, or in a `when` for all users; each is reported at its first use.

    `words` reports the conditions with a word that does not occur, and `supply` those of an at-least that no item
    matches.
    """
    seen: set[Expr] = set()
    for use in uses(scene.policy):
        if use.expr in seen or use.kind == "value" or next(unknown_words(scene, use.expr), None) is not None:
            continue
        seen.add(use.expr)
        span, source, _ = scene.place(use.name, use.expr, bool)
        if use.kind == "when":
            if any(isinstance(node, OfHistory) for node in walk(use.expr)):
                continue  # histories grow, and the rows are those of today
            users = len(scene.rows)
            matching = sum(int(true_for(batch, use.expr).sum()) for _, batch in scene.parts())
            if users and matching in (0, users):
                error = errors.everybody if matching else errors.nobody
                yield error(span, users, hint(scene, use.expr), source)
            continue
        rule = scene.rule(use.name)
        at_least = isinstance(rule, Quota) and rule.at_least is not None
        pairs, matching, unknown = _pairs(scene, use.expr)
        of = f"{scene.items:,} items" if by_item_only(use.expr) else f"{pairs:,} pairs of users and items"
        if pairs and matching == 0 and not at_least:
            yield errors.never(span, use.name, of, unknown, hint(scene, use.expr), source)
        elif pairs and matching + unknown == pairs and matching:
            yield errors.always(span, use.name, of, unknown, hint(scene, use.expr), source)


def _pairs(scene: Scene, predicate: Expr) -> tuple[int, int, int]:
    """The number of (user, item) pairs, and of those for which a condition is true and unknown."""
    few = scene.some(1 if by_item_only(predicate) else FEW_USERS)
    pairs = matching = unknown = 0
    for _, batch in few.parts():
        truth = np.broadcast_to(batch.truth(batch.catalog.term(predicate)), batch.shape)
        pairs += truth.size
        matching += int((truth == TRUE).sum())
        unknown += int((truth == UNKNOWN).sum())
    return pairs, matching, unknown
