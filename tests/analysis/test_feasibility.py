"""Checks the best values that targets can reach, against brute force over all lists."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import numpy as np
import pytest

from recpolicy.analysis import feasibility
from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.quotas import CompiledQuota
from recpolicy.dataset.columns import Floats, Ragged
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.dataset.slates import unseen
from recpolicy.language.policy import (
    Average,
    Block,
    Compare,
    Contains,
    Measure,
    Missing,
    Not,
    Novelty,
    Per,
    Population,
    Portion,
    Quota,
    Relevance,
    Serendipity,
    Spread,
    Target,
    Where,
)
from recpolicy.search import greedy
from recpolicy.span import NOWHERE
from tests.rewards.make import boost, compiled, items, places, quota
from tests.rewards.make import rows as users
from tests.rewards.strategies import item, number, user, word
from tests.rewards.world import World, world

K = 3
ART = Contains(NOWHERE, word("art"), item("genres"))
VOICE = quota(Per(NOWHERE, item("creator")), "voice", at_most=places(1), hard=True)
ADS = quota(Where(NOWHERE, item("is_ad")), "ads", at_least=places(1), hard=True)


def target(
    metric: Measure | Population | str, op: Literal[">=", "<="] = ">=", bound: float | None = None, name: str = "aim"
) -> Target:
    """Without a bound, as much as there can be."""
    return Target(NOWHERE, name, metric, op, (1.0 if op == ">=" else 0.0) if bound is None else bound)


def best_of_all(judge: CompiledPolicy, of: World) -> Floats:
    """The best value that any list has which keeps blocks, hard quotas and the history; by user, NaN if there is none.

    Short lists only where no list is full.
    """
    [aim], out = judge.targets, []
    hard = [rule.name for rule in judge.rules if isinstance(rule.measure, CompiledQuota) and rule.measure.hard]
    for at in range(len(of.users)):
        row = of.rows.take(np.array([at]))
        free = np.flatnonzero(unseen(row, len(of.items))[0] & judge.legal(row)[0]).tolist()
        every = list(permutations(free, min(K, len(free))))
        lists = Slates(np.array([[*found, *[-1] * (K - len(found))] for found in every], np.int32))
        same = row.take(np.zeros(len(every), np.int64))
        values, met = aim.sign * judge.target_values(same, lists)["aim"], judge.satisfied(same, lists)
        mask = np.all([met[name] for name in hard], axis=0) if hard else np.ones(len(every), np.bool_)
        out.append(aim.sign * values[mask].max() if mask.any() else np.nan)
    return np.array(out)


EXACT: dict[str, Measure | str] = {
    "share": Portion(NOWHERE, "share", ART),
    "exposure": Portion(NOWHERE, "exposure", ART),
    "mean": Average(NOWHERE, "mean", item("rate")),
    "discounted": Average(NOWHERE, "discounted", item("rate"), Missing.ZERO),
    "novelty": Novelty(NOWHERE, item("popularity")),
    "ndcg": Relevance(NOWHERE, "ndcg"),
    "mrr": Relevance(NOWHERE, "mrr"),
    "lcs": Relevance(NOWHERE, "lcs"),
    "rule": "art",
}


@pytest.mark.parametrize("metric", EXACT)
@pytest.mark.parametrize("op", [">=", "<="])
def test_additive_metric_bound_equals_brute_force(metric: str, op: Literal[">=", "<="]) -> None:
    cheap = Block(NOWHERE, "cheap", Compare(NOWHERE, "<", item("price"), number(1.0)))
    for seed in range(4):
        small = world(seed, 11)
        aim = target(EXACT[metric], op)
        judge = compiled(small.dataset, K, boost(ART, "art", limit=2), blocks=(cheap,), targets=(aim,))
        [found] = feasibility.of_targets(judge, small.rows)
        every = best_of_all(judge, small)
        assert found.certain
        assert found.best == pytest.approx(np.nanmean(every))
        assert found.users == (~np.isnan(every)).sum()


SPREAD: list[Measure] = [
    Spread(NOWHERE, measure, item(column), missing)
    for measure in ("distance", "distinct", "entropy", "calibration")
    for column in ("genres", "creator", "price")
    for missing in Missing
]
SINGLE: list[Measure] = [
    Serendipity(NOWHERE, item("genres"), Missing.FAIL),
    Average(NOWHERE, "mean", item("rate"), Missing.FAIL),
    Portion(NOWHERE, "exposure", ART),
    Portion(NOWHERE, "exposure", Not(NOWHERE, ART)),
]


@pytest.mark.parametrize("op", [">=", "<="])
@pytest.mark.parametrize("hard", [(), (VOICE,), (VOICE, ADS)])
def test_non_additive_metric_bound_is_close_to_brute_force(op: Literal[">=", "<="], hard: tuple[Quota, ...]) -> None:
    short = []
    for metric in (*SPREAD, *SINGLE):
        for seed in (0, 3):
            small = world(seed, 9)
            judge = compiled(small.dataset, K, *hard, targets=(target(metric, op),))
            every = best_of_all(judge, small)
            some = small.rows.take(np.flatnonzero(~np.isnan(every)))
            if len(some):
                found = feasibility.of_target(judge, judge.targets[0], some)
                lack = judge.targets[0].sign * (float(np.nanmean(every)) - found.best)
                assert (
                    lack >= -1e-9 or len(hard) == 2
                )  # two hard quotas can leave a hole where some full list keeps both
                assert lack <= max(0.12, found.margin)
                short.append(lack)
    assert len(short) > 20
    assert np.mean(short) < 0.02
    assert np.mean(np.array(short) < feasibility.MARGIN) > 0.9


@pytest.mark.parametrize("measure", ["coverage", "gini", "largest_share"])
@pytest.mark.parametrize("column", ["id", "creator", "genres"])
def test_population_metric_lists_reach_bound(
    measure: Literal["coverage", "gini", "largest_share"], column: str
) -> None:
    small = world(1)
    many = small.rows.take(np.arange(90) % 6)
    op: Literal[">=", "<="] = ">=" if measure == "coverage" else "<="
    diverse = compiled(small.dataset, K, quota(Per(NOWHERE, item(column)), at_most=places(1))).rules[0].measure
    size = diverse.counted.size  # type: ignore[union-attr]
    bar = {"coverage": 1.0, "gini": 0.05, "largest_share": 1.1 / size}[measure]
    judge = compiled(small.dataset, K, targets=(target(Population(NOWHERE, measure, item(column)), op, bar),))
    [found] = feasibility.of_targets(judge, many)
    assert found.best >= bar if op == ">=" else found.best <= bar
    assert found.how == "the best lists found for 90 users, all together"


def test_population_bound_follows_from_counting() -> None:
    data = items(*({"creator": f"c{i}"} for i in range(20)))
    judge = compiled(data, 2, targets=(target(Population(NOWHERE, "coverage", item("creator")), bound=0.7),))
    [found] = feasibility.of_targets(judge, users(3))
    assert (found.best, found.certain, found.within) == (0.3, True, False)
    assert feasibility.finding(found, judge).label == "3 lists of 2 places show 6 of 20 values at the most"
    [found] = feasibility.of_targets(judge, users(7))
    assert (found.best, found.within) == (0.7, True)


def test_greedy_lists_respect_blocks_hard_quotas_and_history() -> None:
    small = world(2)
    aim = target(Spread(NOWHERE, "distance", item("genres")))
    block = Block(NOWHERE, "cheap", Compare(NOWHERE, "<", item("price"), number(2.0)))
    judge = compiled(small.dataset, K, VOICE, blocks=(block,), targets=(aim,))
    first = greedy.lists(judge, small.rows, [(judge.targets[0], 1.0)])
    better = greedy.improved(judge, small.rows, judge.targets[0], first, 0)
    for lists in (first, better):
        assert not judge.blocked(small.rows, lists).any()
        assert judge.satisfied(small.rows, lists)["voice"].all()
        taken = unseen(small.rows, 14)[np.arange(6)[:, None], lists.items]
        assert (taken | (lists.items < 0)).all()
    was, now = (judge.target_values(small.rows, lists)["aim"] for lists in (first, better))
    assert (now >= was).all()


# ---- what is judged -------------------------------------------------------------------------------------------------


FEW = items(*({"is_ad": i == 0, "price": float(i)} for i in range(4)))


def ads(bound: float, *, of_baseline: bool = False) -> Target:
    return Target(NOWHERE, "ads", Portion(NOWHERE, "share", item("is_ad")), ">=", bound, of_baseline)


def test_infeasible_target_reports_bound_and_best_value() -> None:
    judge = compiled(FEW, 2, targets=(ads(0.6),))
    [found] = feasibility.of_targets(judge, users(3))
    assert (found.best, found.met, found.within) == (0.5, False, False)
    finding = feasibility.finding(found, judge)
    assert finding.title == "`ads` is out of reach: it asks for at least 60%, and the most found is 50%"
    assert (finding.label, finding.help) == ("the mean of the best lists found for 3 users", "lower it to 50%")
    [found] = feasibility.of_targets(compiled(FEW, 2, targets=(ads(0.5),)), users(3))
    assert (found.met, found.within) == (True, True)


def test_baseline_relative_target_needs_baseline() -> None:
    judge = compiled(FEW, 2, targets=(ads(1.2, of_baseline=True),))
    [unknown] = feasibility.of_targets(judge, users(3))
    assert unknown.within is None
    [found] = feasibility.of_targets(judge, users(3), {"ads": 0.4})
    assert found.bound == pytest.approx(0.48) and found.within
    [found] = feasibility.of_targets(judge, users(3), {"ads": 0.45})
    assert found.within is False
    title = feasibility.finding(found, judge).title
    assert title.endswith("it asks for at least 120% of baseline, and the most found is 111% of baseline")


def test_target_without_users_is_not_judged() -> None:
    nobody = Target(NOWHERE, "ads", ads(1.0).metric, ">=", 1.0, only=Compare(NOWHERE, ">", user("age"), number(200.0)))
    judge = compiled(FEW, 2, targets=(nobody, target(Relevance(NOWHERE, "ndcg"))))
    found = feasibility.of_targets(judge, users(3))
    assert [one.within for one in found] == [None, None]  # nobody took anything next


def test_target_inside_when_uses_only_its_users() -> None:
    small = world(0)
    old = Compare(NOWHERE, ">", user("age"), number(30.0))
    judge = compiled(small.dataset, K, targets=(Target(NOWHERE, "aim", EXACT["share"], ">=", 1.0, only=old),))
    about = [i for i, u in enumerate(small.users) if u["age"] is not None and u["age"] > 30]
    assert 0 < len(about) < 6
    [found] = feasibility.of_targets(judge, small.rows)
    assert found.users == len(about)


def test_next_items_are_feasible_unless_blocked() -> None:
    aim = target(Relevance(NOWHERE, "ndcg"), bound=0.9)
    some = users(2, future=[3, 1])
    assert feasibility.of_targets(compiled(FEW, 2, targets=(aim,)), some)[0].best == pytest.approx(1)
    dear = Block(NOWHERE, "dear", Compare(NOWHERE, ">", item("price"), number(2.0)))
    [found] = feasibility.of_targets(judge := compiled(FEW, 2, blocks=(dear,), targets=(aim,)), some)
    assert found.within is False
    assert feasibility.finding(found, judge).help.endswith("change the blocks and hard quotas that stand in its way")


def test_users_are_sampled_with_error_margin() -> None:
    fond = np.arange(1000) % 2 == 0  # every other user has had the one ad
    history = Ragged.of([[0] if had else [] for had in fond])
    many = Rows(np.zeros(1000, np.int64), np.zeros(1000), history, Ragged.of([[]] * 1000))
    [found] = feasibility.of_targets(compiled(FEW, 2, targets=(ads(0.25),)), many)
    assert found.users == feasibility.USERS
    assert found.error == pytest.approx(3 * 0.25 / np.sqrt(feasibility.USERS), rel=0.01)
    for seed in range(5):
        [found] = feasibility.of_targets(compiled(FEW, 2, targets=(ads(0.25),)), many, seed=seed)
        assert found.within
        [found] = feasibility.of_targets(compiled(FEW, 2, targets=(ads(0.4),)), many, seed=seed)
        assert not found.within


# ---- two targets ----------------------------------------------------------------------------------------------------


def pair(first: Target, second: Target, of: World) -> list[feasibility.Pair]:
    judge = compiled(of.dataset, K, targets=(first, second))
    return list(feasibility.pairs(judge, of.rows, feasibility.of_targets(judge, of.rows)))


def test_conflicting_target_pair_is_found() -> None:
    few, many = Portion(NOWHERE, "share", ART), Portion(NOWHERE, "share", Not(NOWHERE, ART))
    small = world(5)
    [found] = pair(target(few, bound=0.6, name="art"), target(many, bound=0.6, name="other"), small)
    assert (found.names, found.together) == (("art", "other"), False)
    assert sum(found.found) <= 1 + 1e-9
    assert found.warning.startswith("`art` and `other` are each within reach, but no lists were found that reach both")
    [found] = pair(target(few, bound=0.3, name="art"), target(many, bound=0.6, name="other"), small)
    assert found.together
    assert found.found[0] >= 0.3 and found.found[1] >= 0.6


def test_mixed_lists_satisfy_target_pair() -> None:
    small = world(4)
    rich, varied = Portion(NOWHERE, "share", ART), Spread(NOWHERE, "distance", item("genres"))
    judge = compiled(small.dataset, K, targets=(target(rich, name="rich"), target(varied, name="varied")))
    alone = [
        {name: float(values.mean()) for name, values in judge.target_values(small.rows, lists).items()}
        for lists in (greedy.lists(judge, small.rows, [(aim, 1.0)]) for aim in judge.targets)
    ]
    bounds = {name: (alone[0][name] + 2 * alone[1][name]) / 3 for name in ("rich", "varied")}
    assert alone[0]["varied"] < bounds["varied"] and alone[1]["rich"] < bounds["rich"]
    [found] = pair(
        target(rich, bound=bounds["rich"], name="rich"), target(varied, bound=bounds["varied"], name="varied"), small
    )
    assert found.together


def test_target_pairs_skip_infeasible_and_label_targets() -> None:
    small = world(0)
    labels, too_much = target(Relevance(NOWHERE, "ndcg"), bound=0.1), target(EXACT["share"], bound=1.0, name="all")
    assert pair(labels, too_much, small) == []
