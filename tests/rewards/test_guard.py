"""Checks that slates filled under the guard keep hard quotas, whichever open items are chosen."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.candidate_batch import EVERY_ITEM
from recpolicy.dataset.columns import Codes
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.language.policy import Block, Compare, Different, Per, Policy, Quota, Weight, Where
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, in_a_row, items, places, policy, quota, rows, slates, top
from tests.rewards.reference import Reference, Slate
from tests.rewards.strategies import conditions, item, number, policies, quotas, user
from tests.rewards.world import World, world

ADS = Where(NOWHERE, item("is_ad"))
SMALL = st.integers(0, 5).map(lambda seed: world(seed, items=6))


def filled(judge: CompiledPolicy, rows: Rows, candidates: Codes | None, seed: int) -> Codes:
    """Slates [B, K] of open candidates chosen at random; a hole where none is open."""
    rng, guard = random.Random(seed), judge.guard(rows, candidates)
    out = np.full((len(rows), judge.policy.slate), -1, np.int32)
    for r in range(judge.policy.slate):
        at = np.array([rng.choice(np.flatnonzero(row).tolist() or [-1]) for row in guard.open])
        chosen = np.flatnonzero(at >= 0)
        out[chosen, r] = at[chosen] if candidates is None else candidates[chosen, at[chosen]]
        guard.take(at)
    return out


@st.composite
def hard_policies(draw: st.DrawFn) -> Policy:
    """One hard quota of one bound, perhaps for some users only, perhaps beside a block."""
    k = draw(st.integers(1, 4))
    weight = Weight(NOWHERE, 0.0, draw(st.none() | conditions(items=False, depth=0)))
    rule = replace(draw(quotas("rule", k, weight)), hard=True, weight=weight)
    if rule.at_least is not None and rule.at_most is not None:
        rule = replace(rule, at_least=None) if draw(st.booleans()) else replace(rule, at_most=None)
    blocks = draw(st.lists(conditions(items=True, depth=0), max_size=1))
    return policy(k, rule, blocks=tuple(Block(NOWHERE, "block", where) for where in blocks))


def is_promised(rule: Quota) -> bool:
    """Whether the guard meets an at-least wherever it can be met; those of the other kinds as well as it can."""
    if not isinstance(rule.counted, Different):
        return True
    return rule.counted.column.name != "genres" and not (rule.window is not None and rule.window.sliding)


def can_be_met(reference: Reference, rule: Quota, candidates: list[int]) -> bool:
    """Whether some slate, as long as the candidates that are not blocked allow, satisfies the quota."""
    legal = [c for c in candidates if not reference.blocked_item(c)]
    size = min(reference.k, len(legal))
    holes: Slate = [None] * (reference.k - size)
    return any(reference.satisfied(rule, [*p, *holes]) for p in permutations(legal, size))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SMALL, hard_policies(), st.integers(0, 99))
def test_hard_quota_is_met_if_feasible(world: World, policy: Policy, seed: int) -> None:
    judge, rule = compile(policy, world.dataset), policy.rules[0]
    assert isinstance(rule, Quota)
    shown = Slates(filled(judge, world.rows, EVERY_ITEM, seed))
    satisfied, values = judge.satisfied(world.rows, shown)["rule"], judge.values(world.rows, shown)["rule"]
    for row in np.flatnonzero(~np.isnan(values) & ~satisfied).tolist():
        assert rule.at_most is None, "an at-most is never broken: a hole stands there instead"
        if is_promised(rule):
            assert not can_be_met(Reference(world, policy, row, {}), rule, list(range(len(world.items))))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(SMALL, policies(), st.integers(0, 99))
def test_catalog_and_equal_candidates_open_same_items(world: World, policy: Policy, seed: int) -> None:
    judge, users = compile(policy, world.dataset), len(world.users)
    everything = np.tile(np.arange(len(world.items), dtype=np.int32), (users, 1))
    shown = filled(judge, world.rows, EVERY_ITEM, seed)
    np.testing.assert_array_equal(filled(judge, world.rows, everything, seed), shown)
    assert not judge.blocked(world.rows, Slates(shown)).any()
    for rule in policy.rules:
        if isinstance(rule, Quota) and rule.hard:  # several at once: at-mosts hold in any case
            capped = replace(rule, at_least=None)
            if capped.at_most is not None:
                alone = compile(replace(policy, rules=(capped,), targets=()), world.dataset)
                kept = alone.satisfied(world.rows, Slates(shown))[rule.name]
                assert (kept | np.isnan(alone.values(world.rows, Slates(shown))[rule.name])).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SMALL, policies(), st.integers(0, 99))
def test_rows_can_advance_in_any_order(world: World, policy: Policy, seed: int) -> None:
    judge = compile(policy, world.dataset)
    rng, users = random.Random(seed), len(world.users)
    shown = filled(judge, world.rows, EVERY_ITEM, seed)
    together, apart = judge.guard(world.rows, EVERY_ITEM), judge.guard(world.rows, EVERY_ITEM)
    opened = []
    for r in range(policy.slate):
        opened.append(together.open)
        together.take(shown[:, r].astype(np.int64))
    turns = [row for row in range(users) for _ in range(policy.slate)]
    rng.shuffle(turns)
    rank = [0] * users
    for row in turns:
        np.testing.assert_array_equal(apart.open[row], opened[rank[row]][row])
        apart.take(shown[[row], rank[row]].astype(np.int64), np.array([row]))
        rank[row] += 1


SHOP = items(*({"is_ad": i < 3, "creator": "ann" if i % 2 else f"c{i}"} for i in range(8)))  # three ads; ann has four


def opened(judge: CompiledPolicy, *taken: int, allowed: list[int] | None = None) -> list[int]:
    """Items open after these were taken."""
    only = None if allowed is None else np.isin(np.arange(8), allowed)[None]
    guard = judge.guard(rows(), EVERY_ITEM, only)
    for at in taken:
        guard.take(np.array([at]))
    return np.flatnonzero(guard.open[0]).tolist()


def test_at_most_closes_violating_items() -> None:
    judge = compiled(SHOP, 4, quota(Per(NOWHERE, item("creator")), at_most=places(1), hard=True))
    assert opened(judge) == list(range(8))
    assert opened(judge, 1) == [0, 2, 4, 6]
    row = compiled(SHOP, 4, quota(ADS, at_most=places(1), window=in_a_row(3), hard=True))
    assert opened(row, 0) == [3, 4, 5, 6, 7]
    assert opened(row, 0, 3, 4) == [1, 2, 5, 6, 7]  # the first ad has left the window
    assert opened(row, 0, -1, -1) == [1, 2, 3, 4, 5, 6, 7]  # holes are places
    first = compiled(SHOP, 4, quota(ADS, at_most=places(0), window=top(2), hard=True))
    assert opened(first, 3) == [4, 5, 6, 7]
    assert opened(first, 3, 4) == [0, 1, 2, 5, 6, 7]


def test_at_least_is_forced_when_places_run_out() -> None:
    judge = compiled(SHOP, 4, quota(ADS, at_least=places(2), hard=True))
    assert opened(judge, 3) == [0, 1, 2, 4, 5, 6, 7]  # 3 places for 2 ads
    assert opened(judge, 3, 4) == [0, 1, 2]
    assert opened(judge, 3, 0) == [1, 2, 4, 5, 6, 7]
    assert opened(judge, 3, 0, 4) == [1, 2]
    assert opened(judge, 3, 4, allowed=[3, 4, 5, 6]) == [5, 6]  # no ad is there: the rest stays open
    assert opened(judge, 3, 4, allowed=[3, 4, 5, 2]) == [2]
    early = compiled(SHOP, 4, quota(ADS, at_least=places(1), window=top(2), hard=True))
    assert opened(early, 3) == [0, 1, 2]
    assert opened(early, 3, 0) == [1, 2, 4, 5, 6, 7]


def test_matching_items_are_saved_for_later_windows() -> None:
    judge = compiled(SHOP, 7, quota(ADS, at_least=places(1), window=in_a_row(2), hard=True))
    assert opened(judge) == [3, 4, 5, 6, 7]  # of seven places the second, fourth and sixth need the three ads
    assert opened(judge, 3) == [0, 1, 2]
    shorter = compiled(SHOP, 5, quota(ADS, at_least=places(1), window=in_a_row(2), hard=True))
    assert opened(shorter) == list(range(8))  # five places need two; one is to spare
    assert opened(shorter, 0) == list(range(1, 8))
    assert opened(shorter, 0, 1) == [3, 4, 5, 6, 7]


def test_two_at_least_quotas_share_remaining_places() -> None:
    dear = Where(NOWHERE, Compare(NOWHERE, ">=", item("price"), number(1.0)))
    rules = (
        quota(ADS, "ads", at_least=places(2), hard=True),
        quota(dear, "dear", at_least=places(1), hard=True),
    )
    data = items({"is_ad": True}, {"is_ad": True}, {"price": 2.0}, {}, {"is_ad": True, "price": 2.0})
    judge = compiled(data, 3, *rules)
    guard = judge.guard(rows(), EVERY_ITEM)
    assert np.flatnonzero(guard.open[0]).tolist() == [0, 1, 2, 4]  # 2 + 1 lacking, 3 places: item 3 is of no use
    guard.take(np.array([2]))
    assert np.flatnonzero(guard.open[0]).tolist() == [0, 1, 4]


def test_at_least_yields_to_at_most_and_leaves_holes() -> None:
    rules = (
        quota(ADS, "least", at_least=places(3), hard=True),
        quota(Per(NOWHERE, item("creator")), "most", at_most=places(1), hard=True),
    )
    data = items(*({"is_ad": True, "creator": c} for c in "aab"))
    judge = compiled(data, 3, *rules)
    guard = judge.guard(rows(), EVERY_ITEM)
    for at in (0, 2):
        assert guard.open[0, at]
        guard.take(np.array([at]))
    assert not guard.open.any()


def test_hard_quota_applies_only_to_its_segment() -> None:
    small = world(0)
    member = Compare(NOWHERE, ">", user("age"), number(30.0))
    judge = compiled(small.dataset, 2, quota(ADS, at_most=places(0), hard=True, only=member))
    open_ = judge.guard(small.rows, EVERY_ITEM).open
    ads = np.array([r["is_ad"] is not False for r in small.items])
    for row, person in zip(open_, small.users, strict=True):
        old = person["age"] is not None and person["age"] > 30
        assert row.tolist() == [not (old and ad) for ad in ads]


@pytest.mark.parametrize("hard", [True, False])
def test_hard_quota_adds_no_reward(hard: bool) -> None:
    judge = compiled(SHOP, 2, quota(ADS, at_least=places(1), hard=hard))
    assert judge.total(rows(), slates([0, 3])).tolist() == [0.0 if hard else 1.0]
    assert judge.values(rows(), slates([0, 3]))["rule"].tolist() == [1.0]
    assert judge.satisfied(rows(2), slates([0, 3], [3, 4]))["rule"].tolist() == [True, False]
