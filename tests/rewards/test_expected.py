"""Checks measures with expected labels: against real labels, naive enumeration and growing slates."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.measures import stepwise_marginals
from recpolicy.compiler.relevance import RelevanceMeasure
from recpolicy.compiler.serendipity import SerendipityMeasure
from recpolicy.dataset.columns import Codes, Floats, Ragged
from recpolicy.dataset.rows import LabelProbabilities, Rows, Slates
from recpolicy.language.policy import Missing, Policy, Relevance, Reward, Rule, Serendipity, Target, Where
from recpolicy.span import NOWHERE
from tests.rewards.make import compiled, items, places, quota, reward, rows, slates
from tests.rewards.strategies import item, policies
from tests.rewards.test_meaning import WORLDS, arrays
from tests.rewards.test_meaning import slates as drawn
from tests.rewards.world import World, world

Metric = Literal["ndcg", "hit", "recall", "precision", "mrr", "lcs"]
METRICS: tuple[Metric, ...] = ("ndcg", "hit", "recall", "precision", "mrr", "lcs")
SLATE = st.integers(1, 6)
SEED = st.integers(0, 999)
CLOSE = 1e-6
"""Chances have the precision of float32."""


def judge_of(world: World, k: int, metrics: tuple[Metric, ...] = METRICS) -> CompiledPolicy:
    """One rule a metric, and serendipity over each kind of column with each meaning of a missing value."""
    rules: list[Rule] = [reward(Relevance(NOWHERE, metric), metric) for metric in metrics]
    for column in ("genres", "creator", "price"):
        for missing in Missing:
            rules.append(reward(Serendipity(NOWHERE, item(column), missing), f"{column} {missing.name}"))
    return compiled(world.dataset, k, *rules)


def padded(lists: list[list[int]]) -> Codes:
    """[lists, longest], -2 past an end."""
    longest = max(1, *map(len, lists))
    return np.array([[*own, *[-2] * (longest - len(own))] for own in lists], np.int32)


def certain(world: World) -> Rows:
    """The world's rows with label probabilities of 0 and 1, and their next items as the only draw."""
    table = np.zeros((len(world.users), len(world.items)), np.float32)
    for user, future in enumerate(world.future):
        table[user, future] = 1
    count = np.array([len(set(future)) for future in world.future])
    return replace(
        world.rows,
        label_probabilities=LabelProbabilities(table, np.arange(len(table)), count, padded(world.future)[None]),
    )


def guessed(world: World, seed: int) -> Rows:
    """The world's rows with label probabilities of any size, some certain; some rows expect nothing."""
    rng = np.random.default_rng(seed)
    table = rng.random((len(world.users), len(world.items))).astype(np.float32)
    table[rng.random(table.shape) < 0.2] = 0
    table[rng.random(table.shape) < 0.1] = 1
    at = rng.permutation(len(table))
    return replace(world.rows, label_probabilities=LabelProbabilities(table, at, rng.integers(0, 6, len(table))))


def without_order(policy: Policy) -> Policy:
    """The policy with `ndcg` in the place of `lcs`, which no slate that grows has exactly."""
    lcs, ndcg = Relevance(NOWHERE, "lcs"), Relevance(NOWHERE, "ndcg")

    def plain(rule: Rule) -> Rule:
        ordered = isinstance(rule, Reward) and rule.measure == lcs
        return Reward(NOWHERE, rule.name, rule.weight, ndcg) if ordered else rule

    def aimed(target: Target) -> Target:
        return replace(target, metric=ndcg) if target.metric == lcs else target

    return replace(policy, rules=tuple(map(plain, policy.rules)), targets=tuple(map(aimed, policy.targets)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), WORLDS, SLATE)
def test_chances_of_0_and_1_equal_real_labels(data: st.DataObject, world: World, k: int) -> None:
    judge, shown = judge_of(world, k), arrays(data.draw(drawn(world, k)))
    real, expected = (judge.marginals(of, shown) for of in (world.rows, certain(world)))
    for name, marginals in real.items():
        np.testing.assert_allclose(expected[name], marginals, atol=1e-12, rtol=0, err_msg=name)
    np.testing.assert_array_equal(judge.weights(certain(world)), judge.weights(world.rows))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(WORLDS, SLATE, SEED)
def test_repeated_rows_equal_rows_alone(world: World, k: int, seed: int) -> None:
    judge, rng = judge_of(world, k, ("ndcg", "hit", "recall")), np.random.default_rng(seed)
    of = guessed(world, seed)
    at = rng.integers(0, len(of), 12)
    made = np.array([rng.permutation(len(world.items))[:k] for _ in at], np.int32).reshape(12, -1)
    made = np.pad(made, ((0, 0), (0, k - made.shape[1])), constant_values=-1)
    together = judge.marginals(of.take(at), Slates(made))
    for i, row in enumerate(at):
        alone = judge.marginals(of.take(np.array([row])), Slates(made[[i]]))
        for name, marginals in alone.items():
            np.testing.assert_allclose(together[name][[i]], marginals, atol=1e-12, rtol=0, err_msg=name)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, SLATE, SEED)
def test_expected_value_is_mean_over_drawn_labels(data: st.DataObject, world: World, k: int, seed: int) -> None:
    rng, draws = np.random.default_rng(seed), 8
    metrics: tuple[Metric, ...] = ("ndcg", "recall", "precision", "lcs")  # linear in hits, and the mean over draws
    judge, shown = judge_of(world, k, metrics), arrays(data.draw(drawn(world, k)))
    count = rng.integers(1, 6, len(world.users))
    futures = [[rng.permutation(len(world.items))[:n].tolist() for n in count] for _ in range(draws)]
    table = np.zeros((len(world.users), len(world.items)), np.float32)
    for lists in futures:
        for user, future in enumerate(lists):
            table[user, future] += 1 / draws
    as_long = np.array([padded([*lists, [0] * 5])[:-1] for lists in futures])  # [draws, B, 5]
    probabilities = LabelProbabilities(table, np.arange(len(table)), count, as_long)
    expected = judge.marginals(replace(world.rows, label_probabilities=probabilities), shown)
    real = [judge.marginals(replace(world.rows, next_items=Ragged.of(lists)), shown) for lists in futures]
    for name, marginals in expected.items():
        np.testing.assert_allclose(marginals, np.mean([r[name] for r in real], 0), atol=1e-12, err_msg=name)


def first_hit(metric: str, probabilities: list[float]) -> float:
    """Sum over all patterns of hits of their probability times what they are worth."""
    out = 0.0
    for pattern in product([False, True], repeat=len(probabilities)):
        probability = math.prod(p if hit else 1 - p for p, hit in zip(probabilities, pattern, strict=True))
        if any(pattern):
            out += probability * (1.0 if metric == "hit" else 1 / (pattern.index(True) + 1))
    return out


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), WORLDS, SLATE, SEED)
def test_expected_first_hit_sums_all_hit_patterns(data: st.DataObject, world: World, k: int, seed: int) -> None:
    judge, of = judge_of(world, k, ("hit", "mrr")), guessed(world, seed)
    shown = data.draw(drawn(world, k))
    values = judge.values(of, arrays(shown))
    assert of.label_probabilities is not None
    for user, slate in enumerate(shown):
        line = of.label_probabilities.at[user]
        probabilities = [0.0 if i is None else float(of.label_probabilities.table[line, i]) for i in slate]
        for metric in ("hit", "mrr"):
            expected = first_hit(metric, probabilities) if of.label_probabilities.count[line] else math.nan
            assert values[metric][user] == pytest.approx(expected, abs=CLOSE, nan_ok=True)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data(), WORLDS, SLATE, SEED)
def test_whole_slate_value_equals_growing_slate_value(data: st.DataObject, world: World, k: int, seed: int) -> None:
    judge, of = judge_of(world, k), guessed(world, seed)
    shown = np.asfortranarray(arrays(data.draw(drawn(world, k))).items)
    for rule in judge.rules:
        batch = CandidateBatch(judge.catalog, of, shown)
        assert isinstance(rule.measure, RelevanceMeasure | SerendipityMeasure)
        at, grown = rule.applicable(batch), stepwise_marginals(rule.measure.start(batch), batch)
        if rule.name == "lcs":  # as if the order did not matter: hits over what there may be
            assert of.label_probabilities is not None
            ideal = np.clip(of.label_probabilities.count[of.label_probabilities.at], 1, k)[:, None]
            marginals: Floats = of.label_probabilities.of(shown) / ideal
        else:
            marginals = rule.measure.marginals(batch)
        np.testing.assert_allclose(grown[at], marginals[at], atol=CLOSE, rtol=0, err_msg=rule.name)


def grown(
    judge: CompiledPolicy, of: Rows, seed: int, multipliers: dict[str, float], everybody: Slates
) -> tuple[Slates, Floats, Floats]:
    """Slates of open candidates at random, and what `expected` with `gains`, and `pulls`, gave at each place."""
    rng, k = np.random.default_rng(seed), judge.policy.slate
    candidates = np.array([[*rng.permutation(judge.catalog.items), -1] for _ in range(len(of))], np.int32)
    partial_slates = judge.partial_slates(of, candidates, multipliers, everybody)
    made, every = np.full((len(of), k), -1, np.int32), np.arange(len(of))
    added, pulled = np.zeros(made.shape), np.zeros(made.shape)
    for r in range(k):
        open_ = partial_slates.open
        at = np.array([rng.choice(np.flatnonzero(row)) if row.any() else len(row) - 1 for row in open_])
        made[:, r] = candidates[every, at]
        added[:, r] = (partial_slates.expected_gains() + partial_slates.gains())[every, at]
        pulled[:, r] = partial_slates.target_gains()[every, at]
        partial_slates.take(at)
    return Slates(made), added, pulled


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies().map(without_order), SEED)
def test_gains_of_growing_slate_sum_to_total(data: st.DataObject, world: World, policy: Policy, seed: int) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    everybody = arrays(data.draw(drawn(world, policy.slate)))
    multipliers = {t.name: data.draw(st.sampled_from([0.0, 0.5, 3.0])) for t in policy.targets}
    made, added, pulled = grown(judge, of, seed, multipliers, everybody)
    np.testing.assert_allclose(added, judge.total_marginals(of, made), atol=CLOSE, rtol=0)
    np.testing.assert_allclose(added.sum(1), judge.total(of, made), atol=CLOSE, rtol=0)
    pulls = np.zeros_like(pulled)
    for target in judge.targets:
        marginals = judge.target_marginals(of, made, everybody)[target.target.name]
        pulls += multipliers[target.target.name] * target.sign * np.nan_to_num(marginals)
    np.testing.assert_allclose(pulled, pulls, atol=3 * CLOSE, rtol=0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies(), SEED)
def test_label_rules_are_ignored_without_chances(data: st.DataObject, world: World, policy: Policy, seed: int) -> None:
    everybody = arrays(data.draw(drawn(world, policy.slate)))
    whole = compile(policy, world.dataset)
    plain = tuple(rule for rule, own in zip(policy.rules, whole.rules, strict=True) if not own.needs_labels)
    blind = compile(replace(policy, rules=plain, targets=()), world.dataset)
    candidates = np.tile(np.arange(len(world.items), dtype=np.int32), (len(world.users), 1))
    for at in range(policy.slate):
        partial_slates, other = (
            whole.partial_slates(world.rows, candidates, {}, everybody),
            blind.partial_slates(world.rows, candidates),
        )
        for place in range(at):
            partial_slates.take(np.full(len(world.users), place))
            other.take(np.full(len(world.users), place))
        assert not partial_slates.expected_gains().any()
        np.testing.assert_allclose(partial_slates.gains(), other.gains(), atol=1e-12)


def test_expected_labels_replace_real_labels() -> None:
    data = items({"genres": ["art"], "creator": "ann", "price": 1.0}, {"genres": ["art"]})
    rules = (reward(Relevance(NOWHERE, "ndcg"), "ndcg"), reward(Serendipity(NOWHERE, item("genres")), "serendipity"))
    judge, table, at = compiled(data, 1, *rules), np.ones((1, 2), np.float32), np.zeros(2, np.int64)
    for future in ([], [1]):
        of = rows(2, history=[0], future=future)
        some, none = (
            replace(of, label_probabilities=LabelProbabilities(table, at, np.array([count]))) for count in (2, 0)
        )
        assert (judge.weights(some) == 1).all() and not judge.weights(none).any()
        shown = slates([1], [-1])
        assert all(np.isnan(value).all() for value in judge.values(none, shown).values())
        assert not any(np.isnan(value).any() for value in judge.values(some, shown).values())


def test_label_rules_share_weight_only_with_expected_labels() -> None:
    ads = quota(Where(NOWHERE, item("is_ad")), at_least=places(1))
    judge = compiled(items({"is_ad": True}, {}), 1, reward(Relevance(NOWHERE, "hit"), "hit"), ads)
    plain, candidates = rows(2), np.array([[0, 1]] * 2, np.int32)
    probabilities = LabelProbabilities(np.array([[0.25, 0.5]], np.float32), np.zeros(2, np.int64), np.array([1]))
    partial_slates = judge.partial_slates(replace(plain, label_probabilities=probabilities), candidates)
    np.testing.assert_allclose(partial_slates.expected_gains(), [[0.125, 0.25]] * 2)
    np.testing.assert_allclose(partial_slates.gains(), [[0.5, 0.0]] * 2)
    nothing = LabelProbabilities(probabilities.table, probabilities.at, np.array([0]))
    for of in (plain, replace(plain, label_probabilities=nothing)):
        partial_slates = judge.partial_slates(of, candidates)
        assert not partial_slates.expected_gains().any()
        np.testing.assert_allclose(partial_slates.gains(), [[1.0, 0.0]] * 2)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), WORLDS, policies().map(without_order), SEED)
def test_row_selection_keeps_chances(data: st.DataObject, world: World, policy: Policy, seed: int) -> None:
    judge, of = compile(policy, world.dataset), guessed(world, seed)
    shown = arrays(data.draw(drawn(world, policy.slate)))
    at = np.array(data.draw(st.lists(st.integers(0, len(world.users) - 1), max_size=8)), np.int64)
    together, some = judge.marginals(of, shown), of.take(at)
    assert of.label_probabilities is not None and some.label_probabilities is not None
    np.testing.assert_array_equal(some.label_probabilities.of(None), of.label_probabilities.of(None)[at])
    np.testing.assert_array_equal(
        some.label_probabilities.of(shown.items[at]), of.label_probabilities.of(shown.items)[at]
    )
    for name, marginals in judge.marginals(some, Slates(shown.items[at])).items():
        np.testing.assert_allclose(marginals, together[name][at], atol=1e-12)


def test_batched_rows_equal_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    small = world(3)
    judge, of = judge_of(small, 3), certain(small)
    shown = Slates(np.array([np.random.default_rng(u).permutation(14)[:3] for u in range(6)], np.int32))
    at_once = judge.marginals(of, shown)
    monkeypatch.setattr("recpolicy.compiler.compiled.BATCH", 4)
    for name, marginals in judge.marginals(of, shown).items():
        np.testing.assert_array_equal(marginals, at_once[name])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), WORLDS, SLATE, SEED)
def test_holes_are_worth_zero(data: st.DataObject, world: World, k: int, seed: int) -> None:
    metrics: tuple[Metric, ...] = ("ndcg", "hit", "recall", "precision", "mrr")
    judge, of, shown = judge_of(world, k, metrics), guessed(world, seed), arrays(data.draw(drawn(world, k)))
    assert of.label_probabilities is not None
    held = shown.items >= 0
    assert not of.label_probabilities.of(shown.items)[~held].any()
    for marginals in judge.marginals(of, shown).values():
        assert not np.nan_to_num(marginals)[~held].any()
    nothing = judge.values(of, Slates(np.full_like(shown.items, -1)))
    assert all((value[~np.isnan(value)] == 0).all() for value in nothing.values())


def test_first_hit_stops_at_certain_item() -> None:
    metrics: tuple[Metric, ...] = ("hit", "mrr", "ndcg", "recall", "precision", "lcs")
    judge = compiled(items({}, {}, {}), 3, *(reward(Relevance(NOWHERE, metric), metric) for metric in metrics))
    draws = np.array([[[1, 2]], [[1, 0]]], np.int32)  # 1 is next for sure, then 0 or 2
    probabilities = LabelProbabilities(
        np.array([[0.5, 1.0, 0.5]], np.float32), np.zeros(1, np.int64), np.array([2]), draws
    )
    found = judge.marginals(replace(rows(), label_probabilities=probabilities), slates([0, 1, 2]))
    w = [1 / math.log2(r + 1) for r in (1, 2, 3)]
    np.testing.assert_allclose(found["hit"], [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(found["mrr"], [[0.5, 0.25, 0.0]])
    np.testing.assert_allclose(found["ndcg"], [np.array([0.5, 1.0, 0.5]) * w / (w[0] + w[1])])
    np.testing.assert_allclose(found["recall"], [[0.25, 0.5, 0.25]])
    np.testing.assert_allclose(found["precision"], [[0.5 / 3, 1 / 3, 0.5 / 3]])
    np.testing.assert_allclose(found["lcs"], [[0.25, 0.25, 0.25]])  # 1, 2 of the first draw; 0 or 1 of the second
