"""Checks marginals of whole slates against growing slates, place by place."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.measures import stepwise_marginals
from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language.policy import Column, Different, Missing, Per, Policy, Reward, Rule, Spread
from recpolicy.span import NOWHERE
from tests.rewards.make import W, compiled, in_a_row, items, places, quota, reward, rows, slates, top
from tests.rewards.strategies import item, policies
from tests.rewards.test_meaning import WORLDS, arrays
from tests.rewards.test_meaning import slates as drawn
from tests.rewards.world import Record, World


def check(judge: CompiledPolicy, of: Rows, shown: Slates) -> None:
    """Both ways give the same numbers, for every rule that has both and the rows it is applicable to."""
    for rule in judge.rules:
        if isinstance(rule.measure, RelevanceMeasure | SerendipityMeasure):
            continue
        batch = CandidateBatch(judge.catalog, of, np.asfortranarray(shown.items))
        at = rule.applicable(batch)
        grown = stepwise_marginals(rule.measure.start(batch), batch)
        np.testing.assert_allclose(rule.measure.marginals(batch)[at], grown[at], atol=1e-12, rtol=0)
        if isinstance(rule.measure, CompiledQuota):
            state = rule.measure.start(batch)
            stepwise_marginals(state, batch)
            np.testing.assert_array_equal(rule.measure.met(batch), state.met())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_whole_slate_marginals_equal_growing_slate(data: st.DataObject, world: World, policy: Policy) -> None:
    check(compile(policy, world.dataset), world.rows, arrays(data.draw(drawn(world, policy.slate))))


MEASURES = ("distance", "distinct", "entropy", "calibration")


def counting(column: Column) -> list[Rule]:
    """Every kind of quota that counts values."""
    per, different = Per(NOWHERE, column), Different(NOWHERE, column)
    return [
        quota(per, "per", at_most=places(1)),
        quota(per, "per in a row", at_most=places(2), window=in_a_row(4)),
        quota(different, "few", at_most=places(3)),
        quota(different, "few in a row", at_most=places(2), window=in_a_row(3)),
        quota(different, "many", at_least=places(4), window=top(5)),
        quota(different, "many in a row", at_least=places(3), window=in_a_row(3)),
    ]


def wide(values: int, longest: int) -> Dataset:
    """300 items with up to `longest` of so many genres, and a creator out of as many; some missing, some empty."""
    rng = random.Random(0)
    records: list[Record] = [
        {
            "genres": None
            if rng.random() < 0.1
            else rng.sample([f"g{g}" for g in range(values)], rng.randint(0, longest)),
            "creator": None if rng.random() < 0.1 else f"c{rng.randrange(values)}",
        }
        for _ in range(300)
    ]
    return items(*records)


@pytest.mark.parametrize("column", ["genres", "creator"])
@pytest.mark.parametrize("missing", Missing)
@pytest.mark.parametrize("values", [20, 70, 400])  # one word of bits, two, and too many for a table of the catalog
def test_many_valued_columns_equal_growing_slate(values: int, missing: Missing, column: str) -> None:
    rng = np.random.default_rng(0)
    rules: list[Rule] = [Reward(NOWHERE, name, W, Spread(NOWHERE, name, item(column), missing)) for name in MEASURES]  # type: ignore[arg-type]
    rules += counting(item(column))
    judge = compiled(wide(values, 5), 14, *rules)  # 14 x 5 values do not fit a word
    # Few different items, so that values come again.
    shown = Slates(np.array([rng.permutation(40)[:14] for _ in range(60)], np.int32))
    shown.items[rng.random(shown.items.shape) < 0.1] = -1
    history = Ragged.of([rng.integers(0, 300, 8).tolist() for _ in range(60)])
    check(judge, Rows(np.zeros(60, np.int64), np.zeros(60), history, history), shown)


def test_item_beyond_catalog_is_refused() -> None:
    judge = compiled(items({}, {}), 2, reward(Spread(NOWHERE, "distance", item("genres"))))
    with pytest.raises(ValueError, match="item 2 is beyond the catalog's 2"):
        judge.marginals(rows(), slates([0, 2]))


def test_marginals_are_repeatable_and_do_not_alias_input() -> None:
    rules = [quota(Per(NOWHERE, item("creator")), at_most=places(1))]
    judge, shown = compiled(wide(70, 3), 6, *rules), slates([0, 1, 2, 3, 4, -1], [5, 6, 7, 8, 9, 10])
    before = shown.items.copy()
    first, second = judge.marginals(rows(2), shown), judge.marginals(rows(2), shown)
    first["rule"][:] = 9.0  # what the caller does with them changes nothing
    np.testing.assert_array_equal(second["rule"], judge.marginals(rows(2), shown)["rule"])
    np.testing.assert_array_equal(shown.items, before)
