"""Finds the smallest sets of demands that no slate can meet together, and what would make each set possible.

If a policy is too large to check as a whole, only its strictest demands are checked. A contradiction of other demands
may then be missed, but every contradiction that is reported is a real one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, islice, product, zip_longest
from typing import Literal

from recpolicy.language import policy
from recpolicy.language.checker.conflicts.kinds import Formula, Part, parts
from recpolicy.language.checker.conflicts.linear import refute
from recpolicy.language.checker.conflicts.model import Model, QuotaBounds, model, values_of
from recpolicy.language.checker.expressions.branches import disjuncts, exclude
from recpolicy.types import Type

MOST_KINDS = 192
"""Kinds of item times stretches of places in one model."""
MOST_TOGETHER = 12
"""Demands checked together."""
MOST_SEEDS = 12
"""Demands of a larger group that are each checked with those nearest to them."""
MOST_SEGMENTS = 12
"""Conditions of `when` that are checked, the first in the policy."""
MOST_SETS = 30
"""Sets searched for in one group."""
MOST_GIVEN = 20
"""Sets returned."""


@dataclass(frozen=True)
class Change:
    """One bound of one demand, and the nearest number of places that makes the set possible."""

    demand: QuotaBounds
    bound: Literal["at least", "at most"]
    places: int

    def size(self) -> int:
        """Returns by how many places the bound moves."""
        before = self.demand.low if self.bound == "at least" else self.demand.high
        return abs(self.places - (before or 0))


@dataclass(frozen=True)
class Contradiction:
    """Demands that no slate meets together, though some slate may if one of them is left out. Any way out is enough."""

    demands: tuple[QuotaBounds, ...]
    ways_out: tuple[Change, ...]


def contradictions(demands: Sequence[QuotaBounds], slate: int) -> list[Contradiction]:
    """Finds the smallest sets of demands in conflict, pairs first.

    Of several sets of three or more that share a demand only one is returned: mending it may mend the others.
    """
    sets: dict[frozenset[int], tuple[Model, tuple[int, ...]]] = {}
    seen: set[frozenset[int]] = set()
    for together in _segments(demands):
        for group in _groups(together, slate):
            key = frozenset(map(id, group.demands))
            if key not in seen:
                seen.add(key)
                for chosen in _smallest_sets(group):
                    sets.setdefault(frozenset(id(group.demands[i].rule) for i in chosen), (group, chosen))
    covered: set[int] = set()
    out: list[Contradiction] = []
    for rules, (group, chosen) in sorted(sets.items(), key=lambda item: len(item[0])):
        if len(rules) <= 2 or rules.isdisjoint(covered):
            covered |= rules if len(rules) > 2 else set()
            out.append(Contradiction(tuple(group.demands[i] for i in chosen), _ways_out(group, chosen)))
        if len(out) == MOST_GIVEN:
            break
    return out


# ---- what is checked together ---------------------------------------------------------------------------------------


def _segments(demands: Sequence[QuotaBounds]) -> Iterator[list[QuotaBounds]]:
    """Largest sets of demands that may be for the same user: their conditions do not exclude each other."""
    conditions = list({demand.when: None for demand in demands if demand.when is not None})
    if not conditions:
        yield list(demands)
        return
    users = [disjuncts(condition) for condition in conditions[:MOST_SEGMENTS]]
    numbers = range(len(users))
    excluding = {(i, j) for i, j in product(numbers, repeat=2) if i != j and exclude(users[i], users[j])}
    seen: set[frozenset[int]] = set()
    for first, second in combinations_with_replacement(numbers, 2):
        if (first, second) not in excluding:
            chosen = {first, second}
            for other in numbers:
                if not any((other, one) in excluding for one in chosen):
                    chosen.add(other)
            if frozenset(chosen) not in seen:
                seen.add(frozenset(chosen))
                met = {None, *(conditions[i] for i in chosen)}
                yield [demand for demand in demands if demand.when in met]


def _groups(demands: Sequence[QuotaBounds], slate: int) -> Iterator[Model]:
    """Models of demands that can come into conflict: about the same items, or competing for the same places."""
    models: list[Model] = []
    for component in _components(demands):
        if len(component) > 1 or not isinstance(component[0].counted, Part):
            models += _models(component, slate)
    yield from models
    for tight in (one for one in models if not _has_room(one)):
        for other in demands:
            if other.low is not None and not any(other is demand for demand in tight.demands):
                joined = model([*tight.demands, other], slate, MOST_KINDS)
                if joined is not None:
                    yield joined


def _models(component: Sequence[QuotaBounds], slate: int) -> Iterator[Model]:
    """One model of all demands; if they are too many, one model for each demand with those nearest to it."""
    some = [QuotaBounds(None, True, 1, None, slate)] if any(demand.high == 0 for demand in component) else []
    whole = model([*component, *some], slate, MOST_KINDS) if len(component) <= MOST_TOGETHER else None
    if whole is not None:
        yield whole
        return
    columns = _limited_columns(component)
    links = {id(demand): _links(demand, columns) for demand in component}
    requiring = sorted((demand for demand in component if demand.low), key=_strictness)
    limiting = sorted((demand for demand in component if demand.high is not None), key=_strictness)
    for demand in requiring[:MOST_SEEDS]:
        others = (other for pair in zip_longest(limiting, requiring) for other in pair if other is not None)
        near = [o for o in others if o is not demand and not links[id(o)].isdisjoint(links[id(demand)])]
        sizes = (MOST_TOGETHER - 1, MOST_TOGETHER // 2, MOST_TOGETHER // 4, 1)
        models = (model([demand, *near[:size]], slate, MOST_KINDS) for size in sizes)
        yield from islice((part for part in models if part is not None), 1)


def _strictness(demand: QuotaBounds) -> float:
    """Lower is stricter."""
    return -(demand.low or 0) / demand.length if demand.high is None else demand.high / demand.length


def _components(demands: Sequence[QuotaBounds]) -> list[list[QuotaBounds]]:
    """Groups of demands, joined if they count the same values."""
    columns = _limited_columns(demands)
    leader: dict[object, object] = {}

    def find(key: object) -> object:
        while leader.setdefault(key, key) != key:
            leader[key] = key = leader[leader[key]]
        return key

    for demand in demands:
        for link in _links(demand, columns):
            leader[find(link)] = find(id(demand))
    out: dict[object, list[QuotaBounds]] = {}
    for demand in demands:
        out.setdefault(find(id(demand)), []).append(demand)
    return list(out.values())


def _links(demand: QuotaBounds, columns: Collection[policy.Column]) -> set[object]:
    """What is counted: the variables of the condition, and the `columns` in which it looks for a word."""
    if isinstance(demand.counted, policy.Column):
        return {demand.counted}
    variables = {part.variable for part in parts(demand.counted)}
    return variables | {v.column for v in variables if isinstance(v, policy.Contains) and v.column in columns}


def _limited_columns(demands: Iterable[QuotaBounds]) -> set[policy.Column]:
    """Columns with a limit on how many of their values may be shown."""
    return {d.counted for d in demands if isinstance(d.counted, policy.Column) and d.high is not None}


def _has_room(model: Model) -> bool:
    """True if some kind of item counts against no demand, so that the demands never keep a place empty."""
    limited: list[Formula] = []
    for demand in model.demands:
        if demand.high is None:
            continue
        if not isinstance(demand.counted, policy.Column):
            limited.append(demand.counted)
        elif demand.per or demand.counted.type is Type.LIST:
            limited += values_of(demand.counted, model.formulas)
        else:
            return False  # of one-word columns every item has some value
    return any(not any(kind[model.formulas[node]] for node in limited) for kind in model.kinds)


# ---- the sets -------------------------------------------------------------------------------------------------------


def _smallest_sets(model: Model) -> list[tuple[int, ...]]:
    """Sets of demands in conflict, none of which contains a smaller one (hitting-set tree; Reiter 1987).

    A set of three or more is removed as a whole: sets that share demands with it are searched for once it is mended.
    """
    sets: list[tuple[int, ...]] = []
    todo = [frozenset[int]()]
    for removed in todo:
        known = next((chosen for chosen in sets if removed.isdisjoint(chosen)), None)
        if known is None and len(sets) < MOST_SETS:
            known = _smallest_set(model, [i for i in range(len(model.demands)) if i not in removed])
            sets += [known] if known is not None else []
        if known is not None and len(todo) < MOST_SETS:
            left = [(i,) for i in known] if len(known) <= 2 else [known]
            todo += [removed.union(out) for out in left]
    return sets


def _smallest_set(model: Model, chosen: Iterable[int]) -> tuple[int, ...] | None:
    """Chosen demands in conflict, each of which is needed for the conflict; None if there is no conflict."""
    smallest = _in_conflict(model, chosen)
    if smallest is None:
        return None
    for demand in sorted(smallest):
        if demand in smallest and (smaller := _in_conflict(model, smallest - {demand})) is not None:
            smallest = smaller
    return tuple(sorted(smallest))


def _in_conflict(model: Model, chosen: Iterable[int]) -> set[int] | None:
    """Some of the demands that no slate meets together, or None."""
    owned = model.inequalities(chosen)
    rows = refute([inequality for inequality, _ in owned])
    return None if rows is None else {owner for _, owner in (owned[row] for row in rows) if owner is not None}


def _ways_out(model: Model, chosen: Sequence[int]) -> tuple[Change, ...]:
    """The changes of a single bound that make the set possible, the smallest first.

    A bound that would require nothing is no way out.
    """
    changes: list[Change] = []
    for i in chosen:
        demand = model.demands[i]
        if not isinstance(demand.rule, policy.Quota):
            continue
        if demand.low is not None:
            lower = [replace(demand, low=n) for n in range(demand.low - 1, 0, -1)]
            changes += [Change(demand, "at least", to.low or 0) for to in _nearest(model, chosen, i, lower)]
        if demand.high is not None:
            higher = [replace(demand, high=n) for n in range(demand.high + 1, demand.length)]
            changes += [Change(demand, "at most", to.high or 0) for to in _nearest(model, chosen, i, higher)]
    return tuple(sorted(changes, key=Change.size))


def _nearest(model: Model, chosen: Sequence[int], at: int, weaker: Sequence[QuotaBounds]) -> Sequence[QuotaBounds]:
    """The first of ever weaker demands with which the set is possible, or no demand."""
    place = bisect_left(weaker, True, key=lambda demand: _possible(model, chosen, at, demand))
    return weaker[place : place + 1]


def _possible(model: Model, chosen: Iterable[int], at: int, instead: QuotaBounds) -> bool:
    demands = [instead if i == at else demand for i, demand in enumerate(model.demands)]
    return _in_conflict(replace(model, demands=demands), chosen) is None
