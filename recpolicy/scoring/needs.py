"""Finds the facts about a slate's user that the rules of a policy read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from recpolicy.language.policy import OfHistory, Policy, Relevance, Serendipity, Spread


@dataclass(frozen=True)
class Needs:
    """The facts that the scores of slates depend on; the others are left empty."""

    history: bool
    next_items: bool


def needs(policy: Policy) -> Needs:
    """Finds the facts that the rules and blocks of a policy read; targets and tests do not count."""
    nodes = list(_nodes((policy.rules, policy.blocks)))
    return Needs(
        history=any(_reads_history(node) for node in nodes),
        next_items=any(isinstance(node, Relevance | Serendipity) for node in nodes),
    )


def _reads_history(node: object) -> bool:
    return isinstance(node, OfHistory | Serendipity) or (isinstance(node, Spread) and node.measure == "calibration")


def _nodes(tree: object) -> Iterator[object]:
    """All dataclasses in a tree of dataclasses and tuples."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from _nodes(part)
    elif is_dataclass(tree):
        yield tree
        for field in fields(tree):
            yield from _nodes(getattr(tree, field.name))
