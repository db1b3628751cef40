"""A compiled policy, its data and rows of users in, what every finding about them is made from out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.catalog import TRUE
from recpolicy.compiler.pool import EVERY_ITEM, Pool
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
"""Most users looked at; more are drawn from with a fixed seed."""


@dataclass(frozen=True)
class Use:
    """An expression of the rule `name`: its condition, the number it measures, or the condition of its `when`."""

    name: str
    kind: str
    """`when`, `value`, or the kind of the rule."""
    expr: Expr


def uses(policy: Policy) -> Iterator[Use]:
    """Every outermost expression of a policy, rule by rule."""
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
    """What is analysed. `rows` are drawn from `everybody`, the number of users with a row of their own."""

    compiled: CompiledPolicy
    dataset: Dataset
    rows: Rows
    everybody: int
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Files of the rules that do not stand in the main one, by name."""

    @staticmethod
    def of(compiled: CompiledPolicy, dataset: Dataset, rows: Rows, sources: Mapping[str, Source]) -> Scene:
        """With as many of the rows as are looked at."""
        return Scene(compiled, dataset, rows.sample(USERS, seed=0), len(rows), sources)

    @property
    def policy(self) -> Policy:
        return self.compiled.policy

    @property
    def items(self) -> int:
        """Items of the catalog."""
        return self.dataset.items.rows

    def some(self, most: int) -> Scene:
        """The same with fewer users."""
        return replace(self, rows=self.rows.sample(most, seed=0))

    def parts(self) -> Iterator[tuple[slice, Pool]]:
        """The rows a few at a time, each with the whole catalog as candidates."""
        step = max(1, PAIRS // max(1, self.items))
        for first in range(0, len(self.rows), step):
            part = slice(first, min(first + step, len(self.rows)))
            yield part, Pool(self.compiled.catalog, self.rows.take(np.arange(part.start, part.stop)), EVERY_ITEM)

    def users(self, some: int, of: int, *, within: bool) -> str:
        """How a message counts users; `within` a `when`."""
        drawn = f", drawn from {self.everybody:,}" if len(self.rows) < self.everybody else ""
        counted = f"{some:,} of {of:,} users" if some < of else f"all {of:,} users" if of > 1 else "the only user"
        return f"{counted}{' it is for' if within else ''}{drawn}"

    def column(self, column: Column) -> ColumnData:
        """The data of a column."""
        table = self.dataset.items if column.table == "item" else self.dataset.users
        return table.columns[column.name]

    # ---- where a finding stands

    def rule(self, name: str) -> Rule | Block | Target:
        """The rule, block or target of that name."""
        named = (*self.policy.rules, *self.policy.blocks, *self.policy.targets)
        return next(rule for rule in named if rule.name == name)

    def place(self, name: str, node: Node, written: Callable[[str], object]) -> tuple[Span, Source | None, bool]:
        """Where `node` of a rule stands, in which file (None: the main one), and whether `written` is true of it there.

        What a `let` holds may stand in another file than the rule; where it is not found the rule itself is the place.
        """
        main = self.policy.sources[0] if self.policy.sources else None
        own = self.sources.get(name, main)
        for source in dict.fromkeys((own, *self.policy.sources)):
            if source is not None and written(source.text[node.span.start : node.span.end]):
                return node.span, None if source is main else source, True
        span = node.span if own is None else self.rule(name).span
        return span, self.sources.get(name), False


def true_for(pool: Pool, predicate: Expr | None) -> Bools:
    """Rows for which a condition on the user is true, [B]; all for None."""
    if predicate is None:
        return np.ones(len(pool.rows), np.bool_)
    return np.broadcast_to(pool.truth(pool.catalog.term(predicate)) == TRUE, (len(pool.rows), 1))[:, 0]


def missing(column: ColumnData) -> Bools:
    """Rows without a value, [rows]."""
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
    """The values that the first number or date compared in `expr` has in the data."""
    for node in walk(expr):
        if isinstance(node, Compare):
            for column in walk(node):
                if isinstance(column, Column) and column.type.is_measured:
                    data = scene.column(column)
                    assert isinstance(data, NumberColumn)
                    known = data.values[~np.isnan(data.values)]
                    if not len(known):
                        return f"`{column.table}.{column.name}` is missing everywhere"
                    low, high = (_written(float(value), column.type) for value in (known.min(), known.max()))
                    return f"`{column.table}.{column.name}` lies between {low} and {high} in this data"
    return None


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
