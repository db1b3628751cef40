"""Turns quotas and blocks into demands on numbers of places, and demands into linear inequalities.

The inequalities hold for every slate that meets the demands: if no numbers satisfy them, no slate meets the demands.
The reverse may fail: rarely only fractions of items satisfy them, and then the contradiction is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from recpolicy.language import policy
from recpolicy.language.checker.conflicts.kinds import Formula, Part, formula, kinds, parts
from recpolicy.language.checker.conflicts.linear import Inequality, Row
from recpolicy.language.checker.statements.quotas import places
from recpolicy.types import Type


@dataclass(frozen=True)
class QuotaBounds:
    """A quota or block as numbers: `low` to `high` counted places in the first `length`, or in any if `sliding`.

    `counted`: a condition, or the column whose values are counted each by itself (`per`) or once each. `when`: the
    users it is for, None for all.
    """

    rule: policy.Quota | policy.Block | None
    """None is the demand that the slate is not empty."""
    counted: Formula | policy.Column
    low: int | None
    high: int | None
    length: int
    sliding: bool = False
    per: bool = False
    when: policy.Expr | None = None

    def pieces(self, cuts: Sequence[int]) -> Iterator[tuple[range, int | None, int | None]]:
        """Yields stretches of places from the first or to the last, with the least and most that may count there."""
        if not self.sliding:
            yield range(self.length), self.low, self.high
            return
        different = isinstance(self.counted, policy.Column) and not self.per
        n = self.length
        end = cuts[-1]
        stretches = [range(stop) for stop in cuts[1:]] + [range(start, end) for start in cuts[1:-1]]
        for stretch in stretches:
            whole, rest = divmod(len(stretch), n)
            if different:
                low = self.low if whole else None
                high = None if self.high is None else self.high * (whole + (rest > 0))
            else:  # disjoint runs, and what a run that reaches beyond the stretch leaves to the rest of it
                low = None if self.low is None else whole * self.low + max(0, self.low - (n - rest))
                high = None if self.high is None else whole * self.high + min(self.high, rest)
            yield stretch, low, high


def demands(rules: policy.Policy) -> list[QuotaBounds]:
    """Returns the demands of a policy on a slate: its blocks, and the quotas that have a weight for some user."""
    blocks = [QuotaBounds(block, formula(block.where), None, 0, rules.slate, when=block.only) for block in rules.blocks]
    quotas = [rule for rule in rules.rules if isinstance(rule, policy.Quota)]
    return blocks + [_quota(rule, rules.slate, when) for rule in quotas if (when := _when(rule)) is not False]


def _quota(rule: policy.Quota, slate: int, when: policy.Expr | None) -> QuotaBounds:
    length = slate if rule.window is None else rule.window.length
    low = None if rule.at_least is None else places(rule.at_least, length, at_least=True)
    high = None if rule.at_most is None else places(rule.at_most, length, at_least=False)
    counted = rule.counted
    of = formula(counted.predicate) if isinstance(counted, policy.Where) else counted.column
    sliding = rule.window is not None and rule.window.sliding
    return QuotaBounds(rule, of, low, high, length, sliding, isinstance(counted, policy.Per), when)


def _when(rule: policy.Quota) -> policy.Expr | Literal[False] | None:
    """The users for whom a quota is hard or has a weight above 0: a condition, None for all, False for none."""
    if rule.hard:
        return rule.weight.only
    users: policy.Expr | bool = policy.highest(rule.weight.base) > 0
    for branch, weight in rule.weight.changes:
        span = branch.span
        if policy.highest(weight) > 0:
            users = users if users is True else branch if users is False else policy.Logic(span, "or", branch, users)
        elif users is not False:
            other = policy.Not(span, branch)
            users = other if users is True else policy.Logic(span, "and", other, users)
    if isinstance(users, bool):
        return rule.weight.only if users else False
    return users if rule.weight.only is None else policy.Logic(users.span, "and", rule.weight.only, users)


# ---- inequalities ---------------------------------------------------------------------------------------------------

Owned: TypeAlias = tuple[Inequality, int | None]
"""An inequality and the number of the demand behind it, None if it always holds."""


def values_of(column: policy.Column, formulas: Iterable[Formula]) -> list[Part]:
    """Returns the values of a column that conditions name, each as the comparison with that value."""
    values: dict[Part, None] = {}
    for part in (part for node in formulas for part in parts(node)):
        match part.variable:
            case policy.Contains(_, policy.Word(), of) if of == column:
                values[part] = None
            case policy.Column() if part.variable == column and column.type is Type.BOOL:
                values[part] = None
            case policy.Column() if part.variable == column:
                words = sorted(filter(None, map(str, part.values)))
                values |= {Part(column, frozenset((word,))): None for word in words}
    return list(values)


@dataclass(frozen=True)
class Model:
    """Some demands, and for each kind of item which of the `formulas` are true of it."""

    demands: Sequence[QuotaBounds]
    formulas: Mapping[Formula, int]
    kinds: Sequence[tuple[bool, ...]]
    slate: int

    def inequalities(self, chosen: Iterable[int]) -> list[Owned]:
        """Builds the inequalities of the chosen demands, each with the demand behind it."""
        return _Inequalities(self, {i: self.demands[i] for i in sorted(chosen)}).build()


def model(of: Sequence[QuotaBounds], slate: int, most: int) -> Model | None:
    """Builds the model of the demands; None if it needs more than `most` numbers of items."""
    formulas: dict[Formula, int] = {}
    for demand in of:
        if not isinstance(demand.counted, policy.Column):
            formulas.setdefault(demand.counted, len(formulas))
    for column in {demand.counted: None for demand in of if isinstance(demand.counted, policy.Column)}:
        for value in values_of(column, tuple(formulas)):
            formulas.setdefault(value, len(formulas))
    every = kinds(tuple(formulas), most)
    stretches = len({slate, *(demand.length for demand in of)})
    return None if every is None or len(every) * stretches > most else Model(of, formulas, every, slate)


class _Inequalities:
    """The inequalities of one choice of demands, while they are collected.

    A variable is the number of items of one kind between two cuts, or the number of different values of a column in a
    stretch of places: 0 or 1 for each value that conditions name, and the number of other values.
    """

    def __init__(self, model: Model, chosen: Mapping[int, QuotaBounds]) -> None:
        self.model, self.chosen = model, chosen
        self.cuts = sorted({0, model.slate, *(demand.length for demand in chosen.values())})
        self.out: list[Owned] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._counted: dict[tuple[policy.Column, range], None] = {}  # where different values are counted

    def build(self) -> list[Owned]:
        """Returns all inequalities, each with the demand behind it."""
        for start, stop in pairwise(self.cuts):
            self._at_most(self._where(range(start, stop), lambda _: True), stop - start)
        for i, demand in self.chosen.items():
            for stretch, low, high in demand.pieces(self.cuts):
                self._demand(demand, stretch, low, high, i)
        for column, stretch in self._counted:
            self._facts(column, stretch)
            self._from_others(column, stretch)
        return self.out

    def _demand(self, demand: QuotaBounds, stretch: range, low: int | None, high: int | None, owner: int) -> None:
        counted: list[Row]
        if not isinstance(demand.counted, policy.Column):
            counted = [self._items(demand.counted, stretch)]
        elif demand.per:
            counted = [self._items(value, stretch) for value in self._values(demand.counted)]
        else:
            self._counted[demand.counted, stretch] = None
            values = [self._shown(value, stretch) for value in self._values(demand.counted)]
            counted = [_sum([*values, self._shown(demand.counted, stretch)])]
        for row in counted:
            if low is not None and low > 0:
                self._at_least(row, low, owner)
            if high is not None:
                self._at_most(row, high, owner)

    # ---- different values

    def _facts(self, column: policy.Column, stretch: range) -> None:
        """Each value counts at most once; it is shown if and only if an item has it. The same for the other values."""
        pairs = self._pairs(column, stretch)
        for named in self._values(column):
            self._at_most(self._shown(named, stretch), 1)
        for shown, items in pairs:
            self._at_most(_less(shown, items), 0)
            self._at_most(_less(items, _times(shown, len(stretch))), 0)
        every: list[Part | policy.Column] = [column, *self._values(column)]
        for value in every:
            for other, wider in self._counted:
                if other == column and wider != stretch and _within(stretch, wider):
                    self._at_most(_less(self._shown(value, stretch), self._shown(value, wider)), 0)

    def _from_others(self, column: policy.Column, stretch: range) -> None:
        """What other demands imply for the values shown: a cap per value needs more of them, an at-least needs one."""
        pairs = self._pairs(column, stretch)
        for i, demand in self.chosen.items():
            for over, low, high in demand.pieces(self.cuts):
                if demand.per and demand.counted == column and high is not None and _within(stretch, over):
                    for shown, items in pairs:
                        self._at_most(_less(items, _times(shown, high)), 0, i)
                elif not isinstance(demand.counted, policy.Column) and low and _within(over, stretch):
                    needed = [k for k in self.model.kinds if k[self.model.formulas[demand.counted]]]
                    for row in self._needed(column, stretch, needed):
                        self._at_least(row, 1, i)

    def _needed(self, column: policy.Column, stretch: range, needed: Sequence[tuple[bool, ...]]) -> list[Row]:
        """Numbers of values, each at least 1 if an item of one of the kinds is shown."""
        at = {value: self.model.formulas[value] for value in self._values(column)}
        if column.type is Type.LIST:
            return [self._shown(value, stretch) for value, i in at.items() if all(kind[i] for kind in needed)]
        shown = [self._shown(value, stretch) for value, i in at.items() if any(kind[i] for kind in needed)]
        if any(not any(kind[i] for i in at.values()) for kind in needed):
            shown.append(self._shown(column, stretch))
        return [_sum(shown)]

    def _pairs(self, column: policy.Column, stretch: range) -> list[tuple[Row, Row]]:
        """For each value, and for all values that no condition names: whether it is shown, and the number of items."""
        pairs = [(self._shown(value, stretch), self._items(value, stretch)) for value in self._values(column)]
        if column.type is not Type.LIST:
            pairs.append((self._shown(column, stretch), self._others(column, stretch)))
        return pairs

    def _shown(self, value: Part | policy.Column, stretch: range) -> Row:
        """Whether a value is shown in a stretch; for a column, the number of values that no condition names."""
        return {self._number("shown", value, stretch): 1}

    # ---- rows

    def _values(self, column: policy.Column) -> list[Part]:
        return values_of(column, self.model.formulas)

    def _items(self, node: Formula, stretch: range) -> Row:
        """The number of items in a stretch of which a formula is true."""
        at = self.model.formulas[node]
        return self._where(stretch, lambda kind: kind[at])

    def _others(self, column: policy.Column, stretch: range) -> Row:
        """The number of items in a stretch that have none of the values that conditions name."""
        named = [self.model.formulas[value] for value in self._values(column)]
        return self._where(stretch, lambda kind: not any(kind[at] for at in named))

    def _where(self, stretch: range, true: Callable[[tuple[bool, ...]], bool]) -> Row:
        starts = [start for start in self.cuts if start in stretch]
        return {self._number(n, s): 1 for n, kind in enumerate(self.model.kinds) if true(kind) for s in starts}

    def _number(self, *name: object) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def _at_most(self, row: Row, bound: int, owner: int | None = None) -> None:
        self.out.append(((row, bound), owner))

    def _at_least(self, row: Row, bound: int, owner: int | None = None) -> None:
        self._at_most(_times(row, -1), -bound, owner)


def _within(stretch: range, other: range) -> bool:
    return other.start <= stretch.start and stretch.stop <= other.stop


def _times(row: Row, factor: int) -> Row:
    return {variable: factor * coefficient for variable, coefficient in row.items()}


def _less(row: Row, other: Row) -> Row:
    return _sum([row, _times(other, -1)])


def _sum(rows: Iterable[Row]) -> Row:
    out: Row = {}
    for row in rows:
        for variable, coefficient in row.items():
            out[variable] = out.get(variable, 0) + coefficient
    return out
