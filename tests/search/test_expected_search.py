"""Checks the search for slates of high expected reward: constraints hold, no exchange improves them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.columns import Bools, Codes
from recpolicy.dataset.rows import LabelProbabilities, Rows, Slates
from recpolicy.language.policy import (
    Block,
    Not,
    Policy,
    Population,
    Portion,
    Quota,
    Relevance,
    Rule,
    Spread,
    Target,
    Truth,
    Weight,
    Where,
)
from recpolicy.search import expected
from recpolicy.search.expected import Objective, likeliest
from recpolicy.span import NOWHERE
from tests.rewards.make import boost, compiled, items, places, quota, reward, rows
from tests.rewards.make import slates as lists
from tests.rewards.strategies import conditions, item, policies, quotas
from tests.rewards.test_expected import guessed, without_order
from tests.rewards.test_meaning import arrays
from tests.rewards.test_meaning import slates as drawn
from tests.rewards.world import World, world

SMALL = st.integers(0, 5).map(lambda seed: world(seed, items=9))
POLICIES = policies().map(without_order)
SEED = st.integers(0, 999)
STRENGTH = st.sampled_from([0.0, 0.3, 1.0, 4.0])
SLACK = 1e-7

ADS = Where(NOWHERE, item("is_ad"))
NDCG = reward(Relevance(NOWHERE, "ndcg"), "ndcg")
DISTANCE = reward(Spread(NOWHERE, "distance", item("genres")), "distance")


@st.composite
def guarded(draw: st.DrawFn) -> Policy:
    """Any policy, and a hard quota besides, perhaps for some users only."""
    policy, weight = draw(POLICIES), Weight(NOWHERE, 0.0, draw(st.none() | conditions(items=False, depth=0)))
    hard = replace(draw(quotas("hard", policy.slate, weight)), hard=True, weight=weight)
    return replace(policy, rules=(*policy.rules, hard))


def with_pools(of: Rows, items: int, seed: int) -> Rows:
    """The rows, each with a pool of its own, some of them small."""
    rng = np.random.default_rng(seed)
    pool = np.array([rng.permutation(items) for _ in range(len(of))], np.int32)
    size = rng.integers(2, items + 1, len(of))
    return replace(of, pool=np.where(np.arange(items) < size[:, None], pool, np.int32(-1)))


def with_label_probabilities(of: Rows, *lines: list[float], count: int = 2) -> Rows:
    """The rows with these label probabilities, or the same line for all."""
    table = np.array(lines, np.float32)
    at = np.arange(len(of)) if len(lines) > 1 else np.zeros(len(of), np.int64)
    return replace(of, label_probabilities=LabelProbabilities(table, at, np.full(len(table), count)))


def pulled(draw: st.DataObject, policy: Policy) -> dict[str, float]:
    """A multiplier for each target."""
    return {t.name: draw.draw(st.sampled_from([0.0, 0.5, 3.0])) for t in policy.targets}


def halves(policy: Policy, world: World) -> list[CompiledPolicy]:
    """Every bound of a hard quota by itself, as the only rule of a policy without blocks."""
    hard = [rule for rule in policy.rules if isinstance(rule, Quota) and rule.hard]
    bounds = [half for rule in hard for half in (replace(rule, at_least=None), replace(rule, at_most=None))]
    known = [rule for rule in bounds if rule.at_least is not None or rule.at_most is not None]
    return [compile(replace(policy, rules=(rule,), blocks=(), targets=()), world.dataset) for rule in known]


def may(world: World, judge: CompiledPolicy, of: Rows, before: Codes, after: Codes) -> Bools:
    """Changes that break no block and no bound of a hard quota, [B]; a bound not kept comes no less near."""
    out = ~judge.blocked(of, Slates(after))
    for half in halves(judge.policy, world):
        name = half.rules[0].name
        values = [np.nan_to_num(half.values(of, Slates(made))[name]) for made in (before, after)]
        had, has = (half.satisfied(of, Slates(made))[name] for made in (before, after))
        out &= has | (~had & (values[1] >= values[0] - SLACK))  # where the quota is about nobody both values are 0
    return out


def searched(
    of: Rows,
    legal: Bools,
    objective: Objective,
    passes: int | None = None,
    start: Slates | None = None,
    shown: Slates | None = None,
) -> Slates:
    """The slates found; with so many passes of exchanges if given, none being greedy alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expected, "PASSES", expected.PASSES if passes is None else passes)
        return expected.slates(of, legal, objective, start=start, exposure_slates=shown)


def neighbours(made: Codes, legal: Bools) -> tuple[list[int], Codes]:
    """Every slate that one exchange or one swap away from each row's makes, and whose it is."""
    row, out = [], []
    for b, slate in enumerate(made.tolist()):
        for place, own in enumerate(slate):
            for other in np.flatnonzero(legal[b]).tolist():
                if own >= 0 and other not in slate:
                    row.append(b)
                    out.append([*slate[:place], other, *slate[place + 1 :]])
        for i, j in combinations(range(len(slate)), 2):
            swapped = list(slate)
            swapped[i], swapped[j] = slate[j], slate[i]
            row.append(b)
            out.append(swapped)
    return row, np.array(out, np.int32).reshape(len(out), made.shape[1])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), SMALL, POLICIES, SEED, STRENGTH)
def test_slates_hold_only_servable_items(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of = compile(policy, world.dataset), with_pools(guessed(world, seed), len(world.items), seed)
    objective = Objective(judge, strength, pulled(data, policy))
    shown = arrays(data.draw(drawn(world, policy.slate))) if data.draw(st.booleans()) else None
    made = searched(of, judge.servable(of), objective, shown=shown)
    assert made.items.shape == (len(of), policy.slate)
    for user, slate in enumerate(made.items.tolist()):
        held = [i for i in slate if i >= 0]
        assert of.pool is not None and set(held) <= set(of.pool[user].tolist()) - set(world.history[user])
        assert len(set(held)) == len(held)
    assert not judge.blocked(of, made).any()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), SMALL, guarded(), SEED, STRENGTH)
def test_search_keeps_blocks_and_hard_quotas_of_greedy(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    objective, everything = Objective(judge, strength, pulled(data, policy)), np.ones((6, len(world.items)), np.bool_)
    shown = arrays(data.draw(drawn(world, policy.slate)))
    greedy, made = (searched(of, everything, objective, passes, shown=shown) for passes in (0, None))
    assert not judge.blocked(of, made).any()
    for half in halves(policy, world):
        rule = half.rules[0]
        had, has = (half.satisfied(of, slates)[rule.name] for slates in (greedy, made))
        assert (has | ~had).all()
        if half.policy.rules[0].at_most is not None:  # type: ignore[union-attr]
            assert (has | np.isnan(half.values(of, made)[rule.name])).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.data(), SMALL, guarded(), SEED, STRENGTH)
def test_greedy_takes_best_open_candidate(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of, many = compile(policy, world.dataset), guessed(world, seed), len(world.items)
    objective, legal = Objective(judge, strength, pulled(data, policy)), judge.servable(of)
    shown = arrays(data.draw(drawn(world, policy.slate)))
    made = searched(of, legal, objective, 0, shown=shown).items
    guard = judge.guard(of, np.tile(np.arange(many, dtype=np.int32), (len(of), 1)), legal)
    prefix, repeated = np.full_like(made, -1), of.take(np.repeat(np.arange(len(of)), many))
    for rank in range(policy.slate):
        tried = np.repeat(prefix[:, None], many, 1)
        tried[:, :, rank] = np.arange(many)
        worth = objective.values(repeated, tried.reshape(-1, policy.slate), shown).reshape(len(of), many)
        for user, (chosen, open_) in enumerate(zip(made[:, rank].tolist(), guard.open, strict=True)):
            assert (chosen >= 0) == open_.any()
            if chosen >= 0:
                assert open_[chosen] and worth[user, chosen] >= worth[user, open_].max() - 10 * SLACK
        prefix[:, rank] = made[:, rank]
        guard.take(made[:, rank].astype(np.int64))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), SMALL, guarded(), SEED, STRENGTH)
def test_no_exchange_or_swap_improves_slate(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    objective, legal = Objective(judge, strength, pulled(data, policy)), judge.servable(of)
    shown = arrays(data.draw(drawn(world, policy.slate)))
    greedy, made = (searched(of, legal, objective, passes, shown=shown) for passes in (0, 50))
    worth = objective.values(of, made.items, shown)
    assert (worth >= objective.values(of, greedy.items, shown) - SLACK).all()
    row, tried = neighbours(made.items, legal)
    at = np.array(row, np.int64)
    better = objective.values(of.take(at), tried, shown) > worth[at] + SLACK
    at, tried = at[better], tried[better]
    assert not may(world, judge, of.take(at), made.items[at], tried).any()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), SMALL, guarded(), SEED, STRENGTH)
def test_search_is_no_worse_than_greedy_or_start(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    objective, legal = Objective(judge, strength, pulled(data, policy)), judge.legal(of)
    shown = arrays(data.draw(drawn(world, policy.slate)))
    start = arrays(data.draw(drawn(world, policy.slate)))
    greedy = searched(of, legal, objective, 0, shown=shown)
    made = searched(of, legal, objective, start=start, shown=shown)
    worth, *others = (objective.values(of, slates.items, shown) for slates in (made, greedy, start))
    assert (worth >= others[0] - SLACK).all()
    assert (worth >= others[1] - SLACK)[may(world, judge, of, greedy.items, start.items)].all()
    assert may(world, judge, of, greedy.items, made.items).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), SMALL, POLICIES, SEED, STRENGTH)
def test_objective_equals_its_definition(
    data: st.DataObject, world: World, policy: Policy, seed: int, strength: float
) -> None:
    judge, of, multipliers = compile(policy, world.dataset), guessed(world, seed), pulled(data, policy)
    made, shown = (arrays(data.draw(drawn(world, policy.slate))) for _ in range(2))
    found = Objective(judge, strength, multipliers).values(of, made.items, shown)
    values, weights = judge.values(of, made), judge.weights(of)
    pulls = {name: marginals.sum(1) for name, marginals in judge.target_marginals(of, made, shown).items()}
    for user in range(len(of)):
        out = 0.0
        for rule, weight in zip(judge.rules, weights[user], strict=True):
            if weight:
                factor = 1.0 if rule.needs_labels else strength
                out += factor * weight * rule.sign * values[rule.name][user] / weights[user].sum()
        for target in policy.targets:
            if not np.isnan(pulls[target.name][user]):
                sign = 1 if target.op == ">=" else -1
                out += sign * multipliers[target.name] * pulls[target.name][user]
        assert found[user] == pytest.approx(out, abs=1e-9)
    plain = Objective(judge).values(of, made.items)
    np.testing.assert_allclose(plain, judge.total(of, made), atol=1e-9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SMALL, SEED, st.integers(1, 12))
def test_likeliest_items_are_sorted_by_chance(world: World, seed: int, count: int) -> None:
    of = guessed(world, seed)
    legal = np.random.default_rng(seed).random((len(of), len(world.items))) < 0.6
    found = likeliest(of, legal, count)
    assert found.dtype == np.int32 and found.shape == (len(of), min(count, len(world.items)))
    assert of.label_probabilities is not None
    for row, probabilities, allowed in zip(found.tolist(), of.label_probabilities.of(None), legal, strict=True):
        held = [i for i in row if i >= 0]
        assert row == [*held, *[-1] * (len(row) - len(held))]
        assert len(set(held)) == len(held) == min(len(row), int(allowed.sum())) and allowed[held].all()
        assert probabilities[held].tolist() == sorted(probabilities[allowed].tolist(), reverse=True)[: len(held)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SMALL, SEED, st.integers(1, 12))
def test_search_without_policy_serves_likeliest_items(world: World, seed: int, k: int) -> None:
    of, legal = guessed(world, seed), np.random.default_rng(seed).random((6, len(world.items))) < 0.6
    assert of.label_probabilities is not None
    rules: tuple[Rule, ...] = (NDCG, DISTANCE, boost(item("is_ad")))
    for judge, strength in ((compiled(world.dataset, k, NDCG), 1.0), (compiled(world.dataset, k, *rules), 0.0)):
        made = searched(of, legal, Objective(judge, strength)).items
        for row, probabilities, allowed in zip(made.tolist(), of.label_probabilities.of(None), legal, strict=True):
            held = [i for i in row if i >= 0]
            assert row == [*held, *[-1] * (k - len(held))] and allowed[held].all()
            assert probabilities[held].tolist() == sorted(probabilities[allowed].tolist(), reverse=True)[:k]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SMALL, POLICIES, SEED)
def test_batched_rows_equal_rows_alone(world: World, policy: Policy, seed: int) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    objective, legal = Objective(judge), judge.servable(of)
    together = searched(of, legal, objective).items
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expected, "BATCH", 4)
        patch.setattr(expected, "AT_ONCE", 20)
        np.testing.assert_array_equal(expected.slates(of, legal, objective).items, together)
    at = np.array([3, 0])
    np.testing.assert_array_equal(searched(of.take(at), legal[at], objective).items, together[at])


APART = items(
    {"genres": ["art", "books"], "is_ad": False},
    {"genres": ["art"], "is_ad": True},
    {"genres": ["books"], "is_ad": True},
)


def test_exchange_improves_on_greedy() -> None:
    judge = compiled(APART, 2, NDCG, DISTANCE)
    of, legal = with_label_probabilities(rows(), [0.5, 0.45, 0.4]), np.ones((1, 3), np.bool_)
    assert searched(of, legal, Objective(judge), 0).items.tolist() == [[0, 1]]  # half apart
    assert searched(of, legal, Objective(judge)).items.tolist() == [[1, 2]]  # wholly apart, the likelier first


@pytest.mark.parametrize(("about", "best"), [(True, [0, 1]), (False, [1, 2])])
def test_hard_quota_applies_only_to_its_users(about: bool, best: list[int]) -> None:
    one_ad = quota(ADS, "one ad", at_most=places(1), hard=True, only=Truth(NOWHERE, about))
    judge = compiled(APART, 2, NDCG, DISTANCE, one_ad)
    of, legal = with_label_probabilities(rows(), [0.5, 0.45, 0.4]), np.ones((1, 3), np.bool_)
    assert searched(of, legal, Objective(judge)).items.tolist() == [best]


SHOP = items(*({"is_ad": i < 4, "creator": f"c{i}"} for i in range(7)))
"""Four ads, then three that are none."""


def test_best_candidate_under_hard_quota_is_chosen() -> None:
    genres: list[list[str]]
    genres = [["art"], [], ["books", "chess"], ["art", "books", "chess"], ["art", "books"], ["art", "chess"]]
    shop = items(*({"is_ad": i < 3, "genres": own} for i, own in enumerate(genres)))
    one_ad = quota(ADS, "one ad", at_most=places(1), hard=True)
    judge = compiled(shop, 2, NDCG, DISTANCE, one_ad)
    of, legal = with_label_probabilities(rows(), [0.7, 0.7, 0.1, 0.4, 0.3, 0.6], count=1), np.ones((1, 6), np.bool_)
    every = np.array([[a, b] for a in range(6) for b in range(6) if a != b], np.int32)
    repeated = of.take(np.zeros(len(every), np.int64))
    kept = judge.satisfied(repeated, Slates(every))["one ad"]
    best = np.where(kept, judge.total(repeated, Slates(every)), -1.0).argmax()
    assert searched(of, legal, Objective(judge)).items[0].tolist() == every[best].tolist() == [1, 5]


def test_start_breaking_hard_quota_is_not_kept() -> None:
    judge = compiled(SHOP, 3, NDCG, quota(ADS, "ads", at_most=places(1), hard=True))
    of, legal = with_label_probabilities(rows(2), [0.9] * 4 + [0.1] * 3), np.ones((2, 7), np.bool_)
    start = lists([0, 1, 2], [4, 0, 5])
    found = searched(of, legal, Objective(judge), start=start)
    assert judge.satisfied(of, found)["ads"].all()
    assert (np.sort(found.items, 1)[:, 0] < 4).all()


def test_infeasible_at_least_is_met_as_far_as_possible() -> None:
    judge = compiled(SHOP, 3, NDCG, quota(Where(NOWHERE, item("is_ad")), "ads", at_least=places(3), hard=True))
    of, legal = with_label_probabilities(rows(), [0.1] * 4 + [0.9] * 3), np.ones((1, 7), np.bool_)
    legal[:, 2:4] = False
    found = searched(of, legal, Objective(judge))
    assert set(found.items[0].tolist()) >= {0, 1}
    assert found.items[0, 0] >= 4  # in the order that is worth most


def test_pull_away_from_legal_items_breaks_no_block() -> None:
    fewer = Target(NOWHERE, "fewer", Portion(NOWHERE, "share", Not(NOWHERE, item("is_ad"))), "<=", 0.1)
    judge = compiled(SHOP, 2, NDCG, blocks=(Block(NOWHERE, "ads", item("is_ad")),), targets=(fewer,))
    of, everything = with_label_probabilities(rows(), [0.9] * 4 + [0.3, 0.2, 0.1]), np.ones((1, 7), np.bool_)
    objective = Objective(judge, 1.0, {"fewer": 9.0})
    assert searched(of, everything, objective).items.tolist() == [[4, 5]]
    assert searched(of, everything, objective, start=lists([0, 4])).items.tolist() == [[4, 5]]


@pytest.mark.parametrize("measure", ["coverage", "gini", "largest_share"])
def test_later_users_see_exposure_of_earlier_users(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op = ">=" if measure == "coverage" else "<="
    target = Target(NOWHERE, "spread", Population(NOWHERE, measure, item("creator")), op, 0.5)  # type: ignore[arg-type]
    judge = compiled(SHOP, 1, NDCG, targets=(target,))
    of, legal = with_label_probabilities(rows(7), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]), np.ones((7, 7), np.bool_)
    monkeypatch.setattr(expected, "POPULATION_BATCH", 1)
    assert searched(of, legal, Objective(judge)).items.ravel().tolist() == [0] * 7
    pulled = searched(of, legal, Objective(judge, 1.0, {"spread": 9.0})).items.ravel().tolist()
    assert sorted(pulled) == list(range(7))
    shown = lists(*([0] for _ in range(7)))
    same = searched(of, legal, Objective(judge, 1.0, {"spread": 9.0}), shown=shown).items.ravel().tolist()
    assert same == [1] * 7  # everybody looks at the same slates
