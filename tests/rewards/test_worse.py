"""Checks that a slate made worse at one place never gains value (for a bury, never loses value).

What worse means:

- boost, share, exposure, at least: a hole or an item that does not match, for one that matches.
- bury: an item that matches or may match, for one that does not or for a hole.
- at most: an item that matches or may match, for one that does not; a hole, for any item.
- at most per a column of single values: a hole; or an item whose value stands in the slate, for the only item of its
  value. Of lists neither is worse: an item with two values can keep two others out, which then come in.
- at most distinct, of single values and of all places: an item whose value stands nowhere in the slate, for any. A hole
  is not worse: it can make room for a value that more items have.
- at least distinct: a hole or an item without a value, for any; without a window also an item all of whose values stand
  in the slate already.
- between: a hole, for any item; matches help one side of it and harm the other.
- relevance, serendipity: a hole or an item the user did not take next, for one the user took.
- novelty, mean, discounted: a hole or an item of a lower value, for any.
- distance, distinct, entropy, calibration: a hole, for any. Which of two items is better depends on all the others.

Under `on missing fail` an item without a value takes the value back, so that only slates of known items are made worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recpolicy.compiler import compile
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import (
    Average,
    Boost,
    Different,
    Expr,
    Measure,
    Missing,
    Novelty,
    Per,
    Portion,
    Quota,
    Relevance,
    Reward,
    Rule,
    Serendipity,
    Spread,
    Where,
)
from tests.rewards.make import policy
from tests.rewards.reference import Slate
from tests.rewards.reference.expressions import Expressions
from tests.rewards.strategies import rules
from tests.rewards.test_meaning import arrays
from tests.rewards.world import World, world

Swap = Callable[[int | None, int | None], bool]
"""Whether the second, an item or a hole, is worse than the first in its place."""


def worse(rule: Rule, of: Expressions, slate: Slate) -> Iterator[Slate]:
    """Every slate that is worse at one place."""
    for r, old in enumerate(slate):
        others = [*slate[:r], *slate[r + 1 :]]
        swap = worse_than(rule, of, [i for i in others if i is not None])
        for new in [None, *range(len(of.world.items))]:
            if new != old and (new is None or new not in others) and swap(old, new):
                yield [*slate[:r], new, *slate[r + 1 :]]


def worse_than(rule: Rule, of: Expressions, others: list[int]) -> Swap:
    """What may take whose place among `others`."""
    match rule:
        case Boost(where=where, bury=True):
            return lambda old, new: not match(of, where, old, True) and match(of, where, new, True)
        case Boost(where=where):
            return lambda old, new: match(of, where, old, False) and not match(of, where, new, False)
        case Reward(measure=measure):
            return worse_measured(measure, of, others)
        case Quota(at_least=least, at_most=most) if least is not None and most is not None:
            plain = isinstance(rule.counted, Where)
            return lambda old, new: plain and new is None
        case Quota(counted=Where(predicate=where), at_most=None):
            return lambda old, new: match(of, where, old, False) and not match(of, where, new, False)
        case Quota(counted=Where(predicate=where)):
            return lambda old, new: (
                new is None or (old is not None and not match(of, where, old, True) and match(of, where, new, True))
            )
        case Quota(counted=Per() | Different()):
            return worse_values(rule, of, others)
    raise AssertionError(rule)


def match(of: Expressions, where: Expr, item: int | None, unknown: bool) -> bool:
    return item is not None and of.counts(where, item, unknown)


def worse_values(rule: Quota, of: Expressions, others: list[int]) -> Swap:
    assert not isinstance(rule.counted, Where)
    column, anywhere = rule.counted.column.name, rule.window is None

    def values(item: int | None) -> set[object]:
        return set() if item is None else {*([item] if (v := of.values_of(item, column)) is None else v)}

    present = {v for i in others for v in (of.values_of(i, column) or ())}
    if rule.at_most is None:

        def adds_nothing(new: int | None) -> bool:
            return new is None or of.values_of(new, column) is None or (anywhere and values(new) <= present)

        return lambda old, new: old is not None and adds_nothing(new)
    if column == "genres":
        return lambda old, new: False
    if isinstance(rule.counted, Different):
        return lambda old, new: anywhere and None not in (old, new) and not values(new) & present
    unknown = any(of.values_of(i, column) is None for i in others)  # one value to `per`

    def stands(item: int) -> bool:
        return unknown if of.values_of(item, column) is None else bool(values(item) & present)

    return lambda old, new: new is None or (anywhere and old is not None and not stands(old) and stands(new))


def worse_measured(measure: Measure, of: Expressions, others: list[int]) -> Swap:
    items, taken = of.world.items, of.world.future[of.user]

    def known(value: Callable[[int], object], old: int | None) -> bool:
        """No item without a value takes a value back, before or after."""
        fails = getattr(measure, "missing", None) is Missing.FAIL
        return not fails or all(value(i) is not None for i in [*others, *([] if old is None else [old])])

    match measure:
        case Relevance():
            return lambda old, new: old in taken and new not in taken
        case Serendipity(column=column):
            return lambda old, new: old in taken and new not in taken and known(lambda i: items[i][column.name], old)
        case Portion(where=where):
            return lambda old, new: match(of, where, old, False) and not match(of, where, new, False)
        case Novelty():
            return lambda old, new: (
                old is not None and (new is None or items[new]["popularity"] > items[old]["popularity"])
            )
        case Average(operand=operand):

            def clipped(item: int) -> float | None:
                value = of.evaluate(operand, item)
                return None if value is None else min(1.0, max(0.0, value))

            def lower(old: int | None, new: int | None) -> bool:
                if old is None or not known(clipped, old):
                    return False
                before, after = clipped(old), None if new is None else clipped(new)
                return new is None or (before is not None and after is not None and after < before)

            return lower
        case Spread(column=column):
            return lambda old, new: new is None and known(lambda i: items[i][column.name], old)
    raise AssertionError(measure)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 7).map(world), st.integers(1, 6))
def test_worse_slate_has_no_higher_value(data: st.DataObject, world: World, k: int) -> None:
    rule, user = data.draw(rules("rule", k)), data.draw(st.integers(0, len(world.users) - 1))
    items = st.lists(st.none() | st.integers(0, len(world.items) - 1), min_size=k, max_size=k)
    slate: Slate = data.draw(items)
    assume(len({i for i in slate if i is not None}) == sum(i is not None for i in slate))
    shown = [slate, *worse(rule, Expressions(world, user, k), slate)]
    rows = world.rows.take(np.full(len(shown), user))
    values = compile(policy(k, rule), world.dataset).values(rows, Slates(arrays(shown).items))["rule"]
    if isinstance(rule, Boost) and rule.bury:
        values = -values
    assert not (values[1:] > values[0] + 1e-12).any(), shown[int(np.nanargmax(values))]
