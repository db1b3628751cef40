"""Holds the material of every finding: a compiled policy, its data and rows of users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.candidate_batch import EVERY_ITEM, CandidateBatch
from recpolicy.compiler.catalog import TRUE
from recpolicy.dataset.columns import Bools, ColumnData, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.language.policy import (
    Average,
    Block,
    Boost,
    Column,
    Compare,
    Expr,
    Node,
    Novelty,
    Policy,
    Portion,
    Quota,
    Reward,
    Rule,
    Target,
    Where,
    walk,
)
from recpolicy.span import Source, Span
from recpolicy.types import DAY, Type

PAIRS = 2_000_000
"""Most (user, item) pairs looked at at once: 16 MB for numbers."""
USERS = 2000
"""Most users looked at; of more users, this many are drawn with a fixed seed."""
ALL_PAIRS = 200_000_000
"""Most (user, item) pairs looked at: of catalogs with more than 100,000 items fewer users are drawn."""


def users_looked_at(items: int) -> int:
    """Returns how many users are looked at, at most, for a catalog of so many items."""
    return max(1, min(USERS, ALL_PAIRS // max(items, 1)))


@dataclass(frozen=True)
class Use:
    """An expression of the rule `name`: its condition, its measured number, or the condition of its `when`."""

    name: str
    kind: str
    """`when`, `value`, or the kind of the rule."""
    expr: Expr


def uses(policy: Policy) -> Iterator[Use]:
    """Yields every outermost expression of a policy, rule by rule."""
    for rule in policy.rules:
        yield from (Use(rule.name, "when", rule.weight.only),) if rule.weight.only is not None else ()
        yield from (Use(rule.name, "when", branch) for branch, _ in rule.weight.changes)
        match rule:
            case Reward(measure=measure):
                yield from _measured(rule.name, measure)
            case Boost():
                yield Use(rule.name, "bury" if rule.bury else "boost", rule.where)
            case Quota(counted=Where(predicate=predicate)):
                yield Use(rule.name, "quota", predicate)
            case _:
                pass
    for block in policy.blocks:
        yield from (Use(block.name, "when", block.only),) if block.only is not None else ()
        yield Use(block.name, "block", block.where)
    for target in policy.targets:
        yield from (Use(target.name, "when", target.only),) if target.only is not None else ()
        yield from _measured(target.name, target.metric)


def _measured(name: str, measure: object) -> Iterator[Use]:
    match measure:
        case Portion(where=where):
            yield Use(name, "reward", where)
        case Average(operand=operand) | Novelty(column=operand):
            yield Use(name, "value", operand)
        case _:
            pass


@dataclass(frozen=True, eq=False)
class Scene:
    """A policy, its data and users. `rows` are drawn from `everybody`, the number of users with a row."""

    compiled: CompiledPolicy
    dataset: Dataset
    rows: Rows
    everybody: int
    sources: Mapping[str, Source]
    """The files, by rule name, of the rules that are not in the main file."""

    @property
    def policy(self) -> Policy:
        """The policy that was compiled."""
        return self.compiled.policy

    @property
    def main(self) -> Source | None:
        """The main file of the policy, where there is one."""
        return next(iter(self.policy.sources), None)

    @property
    def items(self) -> int:
        """Number of items in the catalog."""
        return self.dataset.items.rows

    def some(self, most: int) -> Scene:
        """Returns the same scene with at most so many users."""
        return replace(self, rows=self.rows.sample(most, seed=0))

    def parts(self) -> Iterator[tuple[slice, CandidateBatch]]:
        """Yields the rows, a few at a time, with the whole catalog as candidates."""
        step = max(1, PAIRS // max(1, self.items))
        for first in range(0, len(self.rows), step):
            part = slice(first, min(first + step, len(self.rows)))
            yield (
                part,
                CandidateBatch(self.compiled.catalog, self.rows.take(np.arange(part.start, part.stop)), EVERY_ITEM),
            )

    def users(self, some: int, of: int, *, within: bool) -> str:
        """Describes a count of users for a message; `within` means those of a `when`."""
        drawn = f", drawn from {self.everybody:,}" if len(self.rows) < self.everybody else ""
        counted = f"{some:,} of {of:,} users" if some < of else f"all {of:,} users" if of > 1 else "the only user"
        return f"{counted}{' it is for' if within else ''}{drawn}"

    def column(self, column: Column) -> ColumnData:
        """Returns the data of a column."""
        table = self.dataset.items if column.table == "item" else self.dataset.users
        return table.columns[column.name]

    def rule(self, name: str) -> Rule | Block | Target:
        """Returns the rule, block or target of that name."""
        named = (*self.policy.rules, *self.policy.blocks, *self.policy.targets)
        return next(rule for rule in named if rule.name == name)

    def place(self, name: str, node: Node, written: Callable[[str], object]) -> tuple[Span, Source | None, bool]:
        """Finds the place of `node` of a rule: its span, its file (None: the main one), and whether it is certain.

        The contents of a `let` may be in another file than the rule, so the place is the first file where `written` is
        true of the text at the span. Where there is none, the rule itself is the place.
        """
        own = self.sources.get(name, self.main)
        for source in dict.fromkeys((own, *self.policy.sources)):
            if source is not None and written(source.text[node.span.start : node.span.end]):
                return node.span, None if source is self.main else source, True
        span = node.span if own is None else self.rule(name).span
        return span, self.sources.get(name), False


def true_for(batch: CandidateBatch, predicate: Expr | None) -> Bools:
    """Finds the rows for which a condition on the user is true, [B]; all for None."""
    if predicate is None:
        return np.ones(len(batch.rows), np.bool_)
    return np.broadcast_to(batch.truth(batch.catalog.term(predicate)) == TRUE, (len(batch.rows), 1))[:, 0]


def missing(column: ColumnData) -> Bools:
    """Finds the rows without a value, [rows]."""
    match column:
        case NumberColumn():
            return np.isnan(column.values)
        case TruthColumn():
            return np.equal(column.values, 1)
        case WordColumn():
            return np.less(column.values, 0)
        case ListColumn():
            return column.missing


def hint(scene: Scene, expr: Expr) -> str | None:
    """Describes the range in the data of the first number or date that `expr` compares; None without one."""
    compared = (column for node in walk(expr) if isinstance(node, Compare) for column in walk(node))
    column = next((c for c in compared if isinstance(c, Column) and c.type.is_measured), None)
    if column is None:
        return None
    data = scene.column(column)
    assert isinstance(data, NumberColumn)
    known = data.values[~np.isnan(data.values)]
    if not len(known):
        return f"`{column.table}.{column.name}` is missing everywhere"
    low, high = (_written(float(value), column.type) for value in (known.min(), known.max()))
    return f"`{column.table}.{column.name}` lies between {low} and {high} in this data"


def _written(value: float, kind: Type) -> str:
    match kind:
        case Type.DATE:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
        case Type.DURATION:
            return f"{value / DAY:.4g} days"
        case Type.RATIO:
            return f"{100 * value:.4g}%"
        case _:
            return f"{value:.6g}"
