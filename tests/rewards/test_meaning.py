"""Checks compiled rules against plain Python definitions, on random policies, worlds and slates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, CompiledRule, compile
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.compiler.spread import DistanceMeasure, DistinctMeasure, EntropyMeasure
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import Missing, Policy, Population, Quota, Reward
from tests.rewards.reference import Reference, Slate, population
from tests.rewards.strategies import policies
from tests.rewards.world import World, world

WORLDS = st.integers(0, 7).map(world)


@st.composite
def slates(draw: st.DrawFn, world: World, k: int) -> list[Slate]:
    """One slate a user, with holes anywhere and sometimes nothing at all."""
    out: list[Slate] = []
    for _ in world.users:
        items: list[int] = draw(st.lists(st.integers(0, len(world.items) - 1), min_size=k, max_size=k, unique=True))
        holes = draw(st.lists(st.booleans(), min_size=k, max_size=k)) if draw(st.booleans()) else [False] * k
        out.append([None if hole else i for i, hole in zip(items, holes, strict=True)])
    return out


def arrays(slates: list[Slate]) -> Slates:
    """As the compiler takes them."""
    return Slates(np.array([[-1 if i is None else i for i in slate] for slate in slates], np.int32))


def typical(compiled: CompiledPolicy) -> dict[str, float]:
    """What each measure takes an item without a value to be worth; see test_typical for whether it is right."""
    rules = {rule.name: rule for rule in compiled.rules}
    rules |= {t.target.name: t.metric for t in compiled.targets if isinstance(t.metric, CompiledRule)}
    measures = {name: getattr(rule.measure, "measure", rule.measure) for name, rule in rules.items()}
    return {
        n: p.typical
        for n, p in measures.items()
        if isinstance(p, DistanceMeasure | DistinctMeasure | EntropyMeasure | SerendipityMeasure)
    }


def references(world: World, policy: Policy, compiled: CompiledPolicy) -> list[Reference]:
    return [Reference(world, policy, user, typical(compiled)) for user in range(len(world.users))]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_rules_equal_reference_at_every_rank(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    shown = data.draw(slates(world, policy.slate))
    progress = data.draw(st.sampled_from([1.0, 0.1]))
    marginals = compiled.marginals(world.rows, arrays(shown))
    total = compiled.total(world.rows, arrays(shown), progress)
    values, satisfied = compiled.values(world.rows, arrays(shown)), compiled.satisfied(world.rows, arrays(shown))
    weights = compiled.weights(world.rows, progress)
    for user, reference in enumerate(references(world, policy, compiled)):
        for i, rule in enumerate(policy.rules):
            expected = reference.marginals(rule, shown[user])
            np.testing.assert_allclose(marginals[rule.name][user], expected, atol=1e-9, rtol=0)
            np.testing.assert_allclose(values[rule.name][user], sum(expected), atol=1e-9, rtol=0)
            np.testing.assert_allclose(weights[user, i], reference.weight(rule, progress), atol=1e-12)
            if isinstance(rule, Quota):
                assert satisfied[rule.name][user] == reference.satisfied(rule, shown[user])
        np.testing.assert_allclose(total[user], reference.total(shown[user], progress), atol=1e-9, rtol=0)
    per_rank = compiled.total_marginals(world.rows, arrays(shown), progress)
    np.testing.assert_allclose(per_rank.sum(1), total, atol=1e-12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_targets_equal_reference(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    shown = data.draw(slates(world, policy.slate))
    marginals = compiled.target_marginals(world.rows, arrays(shown))
    values = compiled.target_values(world.rows, arrays(shown))
    together = compiled.population(world.rows, arrays(shown))
    for target in policy.targets:
        if isinstance(target.metric, Population):
            expected = population(target.metric, world, shown)
            np.testing.assert_allclose(together[target.name], expected, atol=1e-9, rtol=0)
            assert 0 <= together[target.name] <= 1 + 1e-12
    for user, reference in enumerate(references(world, policy, compiled)):
        for target in policy.targets:
            if not isinstance(target.metric, Population):
                ranks = reference.target(target, shown[user])
                np.testing.assert_allclose(marginals[target.name][user], ranks, atol=1e-9, rtol=0)
                np.testing.assert_allclose(values[target.name][user], sum(ranks), atol=1e-9, rtol=0)
    assert {*values, *together} == {target.name for target in policy.targets}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_blocks_match_in_slates_and_catalog(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    shown = data.draw(slates(world, policy.slate))
    blocked, legal = compiled.blocked(world.rows, arrays(shown)), compiled.legal(world.rows)
    for user, reference in enumerate(references(world, policy, compiled)):
        assert blocked[user] == any(reference.blocked_item(i) for i in shown[user])
        assert legal[user].tolist() == [not reference.blocked_item(i) for i in range(len(world.items))]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies(blocks=False))
def test_values_lie_in_0_to_1_and_empty_slate_is_worth_0(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    shown = arrays(data.draw(slates(world, policy.slate)))
    nothing = Slates(np.full_like(shown.items, -1))
    empty = compiled.values(world.rows, nothing)
    for name, values in compiled.values(world.rows, shown).items():
        known = values[~np.isnan(values)]
        assert (known >= -1e-12).all() and (known <= 1 + 1e-12).all()
        assert (empty[name][~np.isnan(empty[name])] == 0).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies(blocks=False))
def test_shorter_slate_never_scores_higher(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    whole = arrays(data.draw(slates(world, policy.slate)))
    cut = Slates(np.where(np.arange(policy.slate) < policy.slate - 1, whole.items, np.int32(-1)))
    before, after = compiled.values(world.rows, cut), compiled.values(world.rows, whole)
    for rule in policy.rules:
        fail_on_missing = isinstance(rule, Reward) and getattr(rule.measure, "missing", None) is Missing.FAIL
        if not fail_on_missing:  # `on missing fail` is asked to take the value back
            known = ~np.isnan(before[rule.name])
            assert (before[rule.name][known] <= after[rule.name][known] + 1e-12).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_rows_are_independent(data: st.DataObject, world: World, policy: Policy) -> None:
    compiled = compile(policy, world.dataset)
    shown = arrays(data.draw(slates(world, policy.slate)))
    at = np.array(data.draw(st.lists(st.integers(0, len(world.users) - 1), max_size=8)), np.int64)
    together = compiled.marginals(world.rows, shown)
    alone = compiled.marginals(world.rows.take(at), Slates(shown.items[at]))
    for name, marginals in together.items():
        np.testing.assert_allclose(alone[name], marginals[at], atol=1e-12)
