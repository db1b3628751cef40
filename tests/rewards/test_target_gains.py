"""Checks what candidates add to targets, against differences and derivatives of their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import Policy, Population, Portion, Relevance, Target
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, items, reward, rows, slates
from tests.rewards.reference import Reference, Slate
from tests.rewards.reference.population import exposures
from tests.rewards.reference.population import slopes as derived
from tests.rewards.strategies import item, policies
from tests.rewards.test_meaning import WORLDS, arrays, references
from tests.rewards.test_meaning import slates as any_slates
from tests.rewards.world import World

CANDIDATES = 8


def naive(
    reference: Reference, judge: CompiledPolicy, target: Target, slate: Slate, slopes: Mapping[Any, float]
) -> float:
    """What the last item of `slate` (the first places of one) adds to the metric of a target."""
    place, k = len(slate) - 1, judge.policy.slate
    if isinstance(target.metric, Population):
        assert slate[-1] is not None
        values = reference.measures.values_of(slate[-1], target.metric.column.name) or []
        weight = 1 / math.log2(place + 2) / sum(1 / math.log2(r + 1) for r in range(1, k + 1))
        return weight * sum(slopes[value] for value in values) / max(len(values), 1)
    if next(t for t in judge.targets if t.target is target).needs_labels:
        return 0.0
    gain = reference.target(target, [*slate, *[None] * (k - len(slate))])[place]
    return 0.0 if math.isnan(gain) else gain


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies(blocks=False), st.integers(0, 99))
def test_pull_equals_marginal_change_of_target(data: st.DataObject, world: World, policy: Policy, seed: int) -> None:
    judge, rng = compile(policy, world.dataset), np.random.default_rng(seed)
    everybody = data.draw(any_slates(world, policy.slate))
    users = len(world.users)
    candidates = np.array([rng.permutation(len(world.items))[:CANDIDATES] for _ in range(users)], np.int32)
    multipliers = {t.name: float(rng.choice([0.0, 0.5, 3.0])) for t in policy.targets}
    slopes = {
        t.name: derived(t.metric, exposures(t.metric, world, everybody))
        for t in policy.targets
        if isinstance(t.metric, Population)
    }
    partial_slates = judge.partial_slates(world.rows, candidates, multipliers, arrays(everybody))
    blind = judge.partial_slates(world.rows, candidates)
    shown: list[Slate] = [[] for _ in range(users)]
    for r in range(policy.slate):
        pulls = partial_slates.target_gains()
        np.testing.assert_array_equal(partial_slates.gains(), blind.gains())
        assert not blind.target_gains().any()
        for user, reference in enumerate(references(world, policy, judge)):
            for c in set(range(CANDIDATES)) - {int(np.flatnonzero(candidates[user] == i)[0]) for i in shown[user]}:
                expected = sum(
                    multipliers[t.name]
                    * (1 if t.op == ">=" else -1)
                    * naive(reference, judge, t, [*shown[user], int(candidates[user, c])], slopes.get(t.name, {}))
                    for t in policy.targets
                )
                np.testing.assert_allclose(pulls[user, c], expected, atol=1e-6)  # central differences, at kinks too
        at = np.full(users, r)
        for user in range(users):
            shown[user].append(int(candidates[user, r]))
        partial_slates.take(at)
        blind.take(at)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies())
def test_places_are_credited_with_their_pull(data: st.DataObject, world: World, policy: Policy) -> None:
    judge = compile(policy, world.dataset)
    own, everybody = (arrays(data.draw(any_slates(world, policy.slate))) for _ in range(2))
    marginals, plain = judge.target_marginals(world.rows, own, everybody), judge.target_marginals(world.rows, own)
    assert plain.keys() == {t.name for t in policy.targets} - judge.population_metrics.keys()
    for name, found in plain.items():
        np.testing.assert_array_equal(marginals[name], found)
    for name in judge.population_metrics:
        assert (np.abs(marginals[name]).sum(1) <= 1 + 1e-12).all()
        sign = next(t.sign for t in judge.targets if t.target.name == name)
        partial_slates = judge.partial_slates(world.rows, own.items, {name: 1.0}, everybody)
        for r in range(policy.slate):
            np.testing.assert_allclose(partial_slates.target_gains()[:, r], sign * marginals[name][:, r], atol=1e-12)
            partial_slates.take(np.full(len(world.rows), r))


MANY = items(*({"creator": f"c{i % 7}"} for i in range(40)))


@pytest.mark.parametrize("measure", ["gini", "largest_share"])
def test_slope_predicts_change_of_population_metric(measure: Literal["gini", "largest_share"]) -> None:
    target = Target(NOWHERE, "aim", Population(NOWHERE, measure, item("creator")), "<=", 0.1)
    judge, rng = compiled(MANY, 4, targets=(target,)), np.random.default_rng(0)
    liked = 0.5 ** (np.arange(40) % 7)
    drawn = [rng.choice(40, 4, replace=False, p=liked / liked.sum()) for _ in range(2000)]
    before = Slates(np.array(drawn, np.int32))
    after = Slates(before.items.copy())
    after.items[:20] = [10, 17, 24, 31]
    everybody = rows(2000)
    change = sum(
        side * judge.target_marginals(everybody, of, before)["aim"].sum(1).mean()
        for side, of in ((1, after), (-1, before))
    )
    was, now = (judge.population(everybody, of)["aim"] for of in (before, after))
    assert now - was == pytest.approx(change * (1 + was if measure == "gini" else 1), rel=0.05)
    assert now != was


def test_equal_exposures_have_equal_slopes() -> None:
    data = items(*({"creator": c} for c in ("ann", "bob", "eve", "joe", None)))
    of: tuple[Literal["coverage", "gini", "largest_share"], ...] = ("coverage", "gini", "largest_share")
    targets = tuple(Target(NOWHERE, m, Population(NOWHERE, m, item("creator")), "<=", 0.5) for m in of)
    population_metrics = compiled(data, 2, targets=targets).population_metrics
    shown = slates([0, 2], [1, 2], [0, 3], [1, 3])  # ann and bob have 2 each, eve and joe 2 / log2(3) each
    w2 = 1 / math.log2(3)
    share = 2 / (4 + 4 * w2)

    def by_name(measure: str) -> list[float]:
        metric = population_metrics[measure]
        slopes = metric.slopes(metric.exposure(shown))
        return [float(slopes[metric.column.codes[i, 0]]) for i in range(4)]

    assert by_name("largest_share") == pytest.approx([0.5 - share] * 2 + [-share] * 2)
    assert by_name("coverage") == pytest.approx([math.exp(-2)] * 2 + [math.exp(-2 * w2)] * 2)
    f = population_metrics["gini"].value(shown)
    assert by_name("gini") == pytest.approx([(2 / 3 - f) / (1 + f)] * 2 + [(-2 / 3 - f) / (1 + f)] * 2)
    for metric in population_metrics.values():
        of_items = metric.of_items(metric.slopes(metric.exposure(shown)))
        assert of_items[-2:].tolist() == [0.0, 0.0]  # without a creator, and a hole


@pytest.mark.parametrize("measure", ["gini", "largest_share"])
def test_slopes_are_zero_without_exposure(measure: Literal["gini", "largest_share"]) -> None:
    target = Target(NOWHERE, "aim", Population(NOWHERE, measure, item("creator")), "<=", 0.1)
    judge = compiled(MANY, 2, targets=(target,))
    metric = judge.population_metrics["aim"]
    assert not metric.slopes(metric.exposure(slates([-1, -1]))).any()


def test_population_target_needs_slates_of_all_users() -> None:
    even = Target(NOWHERE, "even", Population(NOWHERE, "gini", item("creator")), "<=", 0.5)
    targets = (even, Target(NOWHERE, "ads", Portion(NOWHERE, "share", item("is_ad")), "<=", 0.5))
    judge = compiled(MANY, 2, reward(Relevance(NOWHERE, "ndcg")), targets=targets)
    candidates = np.arange(3, dtype=np.int32)[None]
    judge.partial_slates(rows(), candidates, {"ads": 1.0, "even": 0.0})
    with pytest.raises(ValueError, match="`even` is about all slates together"):
        judge.partial_slates(rows(), candidates, {"even": 1.0})
