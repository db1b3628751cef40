"""Re-ranked slates pulled towards targets, and how hard they must be pulled."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import data, steering
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset import Rows, Slates
from recpolicy.policy import Column, Compare, Population, Portion, Relevance, Spread, Target
from recpolicy.rerank import choices, rerank
from recpolicy.span import NOWHERE
from recpolicy.table import Codes, Floats
from recpolicy.types import Type
from tests.rewards.make import boost, compiled, policy, reward
from tests.rewards.strategies import item, number, user
from tests.rewards.world import World, world

Op = Literal[">=", "<="]

OLD = Compare(NOWHERE, ">", user("age"), number(30.0))
TARGETS = (
    Target(NOWHERE, "varied", Spread(NOWHERE, "distance", item("genres")), ">=", 0.9),
    Target(NOWHERE, "few_ads", Portion(NOWHERE, "exposure", item("is_ad")), "<=", 0.1, only=OLD),
    Target(NOWHERE, "even", Population(NOWHERE, "gini", item("creator")), "<=", 0.2),
    Target(NOWHERE, "hits", Relevance(NOWHERE, "hit"), ">=", 0.5),
)


def drawn(of: World, seed: int) -> tuple[Codes, Floats]:
    """Nine candidates a user, with scores."""
    rng = np.random.default_rng(seed)
    candidates = np.array([rng.permutation(len(of.items))[:9] for _ in of.users], np.int32)
    return candidates, rng.normal(size=candidates.shape)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 5).map(world), st.integers(0, 99), st.sampled_from([0.0, 0.5]), st.sampled_from([0.3, 4.0]))
def test_each_place_goes_to_the_candidate_that_scores_and_pulls_most(
    of: World, seed: int, mu: float, strength: float
) -> None:
    k, users = 4, len(of.users)
    judge = compiled(of.dataset, k, boost(item("is_ad")), targets=TARGETS)
    (candidates, scores), multipliers = drawn(of, seed), dict.fromkeys((t.name for t in TARGETS), strength)
    everybody = Slates(drawn(of, seed + 100)[0][:, :k])
    shown = rerank(candidates, scores, of.rows, judge, mu, multipliers, everybody).items
    scaled = (scores - scores.min(1, keepdims=True)) / np.ptp(scores, axis=1, keepdims=True)
    for at in range(users):
        row, slate = of.rows.take(np.array([at])), list[int]()
        for r in range(k):

            def worth(c: int, at: int = at, row: Rows = row, slate: list[int] = slate) -> float:
                grown = Slates(np.array([[*slate, c, *[-1] * (k - len(slate) - 1)]], np.int32))
                found = judge.target_marginals(row, grown, everybody)
                sums = {name: float(np.nan_to_num(v).sum()) for name, v in found.items() if name != "hits"}
                pulls = sums["varied"] - sums["few_ads"] - sums["even"]
                value = float(judge.total(row, grown)[0])
                own = float(scaled[at, np.flatnonzero(candidates[at] == c)[0]])
                return own + mu * value + strength * pulls

            left = [int(c) for c in candidates[at] if c not in slate]
            chosen = int(shown[at, r])
            assert worth(chosen) >= max(map(worth, left)) - 1e-9
            slate.append(chosen)


def test_without_multipliers_nothing_changes() -> None:
    small = world(3)
    judge, (candidates, scores) = compiled(small.dataset, 4, boost(item("is_ad")), targets=TARGETS), drawn(small, 0)
    plain = choices(candidates, scores, small.rows, judge, 0.7)
    for multipliers in ({}, {"varied": 0.0, "even": 0.0}, {"hits": 9.0}):
        found = choices(candidates, scores, small.rows, judge, 0.7, multipliers)
        np.testing.assert_array_equal(found.scores, plain.scores)
        np.testing.assert_array_equal(
            rerank(candidates, scores, small.rows, judge, 0.7, multipliers).items, plain.slates
        )


# ---- multipliers ----------------------------------------------------------------------------------------------------

SIMULATED = data.simulate().dataset
SPLIT = data.split(SIMULATED)
ROWS = SPLIT.validation


def column(name: str) -> Column:
    return Column(NOWHERE, "item", name, SIMULATED.schema.item[name].type)


WORDS = next(c.name for c in SIMULATED.schema.item.values() if c.type is Type.CATEGORY)
POPULAR = Compare(NOWHERE, ">", column("popularity"), number(20.0))


def aims(*named: tuple[str, Op]) -> CompiledPolicy:
    metrics = {
        "varied": Spread(NOWHERE, "distance", column(WORDS)),
        "unknown": Portion(NOWHERE, "exposure", POPULAR),
        "shown": Population(NOWHERE, "coverage", column("id")),
        "even": Population(NOWHERE, "gini", column("id")),
        "hits": Relevance(NOWHERE, "hit"),
    }
    targets = tuple(Target(NOWHERE, name, metrics[name], op, 0.5) for name, op in named)  # type: ignore[arg-type]
    return compile(policy(6, reward(Relevance(NOWHERE, "ndcg")), targets=targets), data.training_view(SIMULATED, SPLIT))


RNG = np.random.default_rng(0)
CANDIDATES = np.array([RNG.permutation(SIMULATED.items.rows)[:40] for _ in range(len(ROWS))], np.int32)
POPULARITY = np.bincount(SIMULATED.item, minlength=SIMULATED.items.rows)[CANDIDATES]
SCORES = np.log1p(POPULARITY) + RNG.normal(size=CANDIDATES.shape)


def measured(judge: CompiledPolicy, multipliers: dict[str, float]) -> dict[str, float]:
    slates = rerank(CANDIDATES, SCORES, ROWS, judge, 0.0, multipliers)
    means = {name: float(np.nanmean(v)) for name, v in judge.target_values(ROWS, slates).items()}
    return means | judge.population(ROWS, slates)


@pytest.mark.parametrize(
    ("name", "op"), [("varied", ">="), ("varied", "<="), ("unknown", "<="), ("shown", ">="), ("even", "<=")]
)
def test_the_smallest_multiplier_that_reaches_an_aim(name: str, op: Op) -> None:
    judge, sign = aims((name, op)), 1 if op == ">=" else -1
    least, most = measured(judge, {})[name], measured(judge, {name: 20.0})[name]
    assert sign * (most - least) > 0.01
    aim = (least + most) / 2
    found = steering.solve(CANDIDATES, SCORES, ROWS, judge, 0.0, {name: (op, aim)})
    assert 0 < found[name] < 20
    assert sign * (measured(judge, found)[name] - aim) >= 0
    assert sign * (measured(judge, {name: 0.9 * found[name]})[name] - aim) < 0
    assert steering.solve(CANDIDATES, SCORES, ROWS, judge, 0.0, {name: (op, least)}) == {name: 0.0}


def test_several_aims_are_reached_together() -> None:
    judge = aims(("varied", ">="), ("unknown", "<="), ("shown", ">="))
    start = measured(judge, {})
    end = measured(judge, {"varied": 2.0, "unknown": 2.0, "shown": 2.0})
    wanted = {name: 0.5 * (start[name] + end[name]) for name in start}
    given = {t.target.name: (t.target.op, wanted[t.target.name]) for t in judge.targets}
    found = steering.solve(CANDIDATES, SCORES, ROWS, judge, 0.0, given)
    reached = measured(judge, found)
    assert all(t.sign * (reached[t.target.name] - wanted[t.target.name]) >= 0 for t in judge.targets)
    assert all(0 <= multiplier < 5 for multiplier in found.values())


def test_an_aim_beyond_the_candidates_gets_no_more_than_the_cap() -> None:
    judge = aims(("varied", ">="))
    found = steering.solve(CANDIDATES[:, :8], SCORES[:, :8], ROWS, judge, 0.0, {"varied": (">=", 1.0)})
    assert 1 < found["varied"] <= steering.CAP


def test_aims_that_nothing_can_pull_to() -> None:
    judge = aims(("hits", ">="), ("varied", ">="))
    assert steering.solve(CANDIDATES, SCORES, ROWS, judge, 0.0, {"hits": (">=", 1.0)}) == {}
    with pytest.raises(ValueError, match="`varied` asks for >=, its aim for <="):
        steering.solve(CANDIDATES, SCORES, ROWS, judge, 0.0, {"varied": ("<=", 0.1)})


def test_users_who_are_served_in_turn_spread_better_than_all_at_once() -> None:
    judge, pull = aims(("shown", ">=")), {"shown": 10.0}
    before = rerank(CANDIDATES, SCORES, ROWS, judge, 0.0)
    at_once = rerank(CANDIDATES, SCORES, ROWS, judge, 0.0, pull, before)
    in_turn = rerank(CANDIDATES, SCORES, ROWS, judge, 0.0, pull)
    plain, fixed, turn = (judge.population(ROWS, slates)["shown"] for slates in (before, at_once, in_turn))
    assert turn > plain > fixed  # at once, all move to the items that nobody was shown before
    one_by_one = [
        rerank(CANDIDATES[[i]], SCORES[[i]], ROWS.take(np.array([i])), judge, 0.0, pull, before).items for i in range(5)
    ]
    np.testing.assert_array_equal(np.concatenate(one_by_one), at_once.items[:5])
