"""Checks the re-rank control against a naive greedy loop over candidates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy.compiler import compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import Block, Compare, Per, Policy, Relevance, Reward, Serendipity, Spread, Where
from recpolicy.search.rerank import rerank
from recpolicy.span import NOWHERE
from tests.rewards.make import boost, compiled, places, quota, reward
from tests.rewards.strategies import item, number, policies
from tests.rewards.world import World, world

CANDIDATES = 9


def unlabelled(policy: Policy) -> Policy:
    rules = tuple(
        r for r in policy.rules if not (isinstance(r, Reward) and isinstance(r.measure, Relevance | Serendipity))
    )
    return Policy(policy.name, 1, None, policy.slate, rules, policy.blocks)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 5).map(world), policies(), st.integers(0, 99), st.sampled_from([0.0, 0.5, 5.0]))
def test_each_place_takes_best_remaining_candidate(world: World, policy: Policy, seed: int, mu: float) -> None:
    rng = np.random.default_rng(seed)
    users, items = len(world.users), len(world.items)
    candidates = np.array([rng.permutation(items)[:CANDIDATES] for _ in range(users)], np.int32)
    scores = rng.normal(size=candidates.shape) * 3
    shown = rerank(candidates, scores, world.rows, compile(policy, world.dataset), mu).items
    judge = compile(unlabelled(policy), world.dataset)
    legal, guard = judge.legal(world.rows), judge.guard(world.rows, candidates)
    opened = []
    for r in range(policy.slate):  # what hard quotas leave open at each place after those chosen before
        opened.append(guard.open)
        found = candidates == shown[:, r, None]
        guard.take(np.where(found.any(1), found.argmax(1), -1))
    for user in range(users):
        row = world.rows.take(np.array([user]))
        open_ = [c for c in candidates[user].tolist() if legal[user, c]]
        known: dict[int, float] = {
            c: s for c, s in zip(candidates[user].tolist(), scores[user].tolist(), strict=True) if c in open_
        }
        low, width = min(known.values(), default=0), float(np.ptp(list(known.values()))) if known else 0.0
        slate: list[int] = []
        for r in range(policy.slate):
            left = candidates[user][opened[r][user]].tolist()
            assert set(left) <= set(open_) - set(slate)
            if not left:
                assert shown[user, r:].tolist() == [-1] * (policy.slate - r)
                break

            def worth(c: int, slate: list[int] = slate) -> float:
                grown = [*slate, c, *[-1] * (policy.slate - len(slate) - 1)]
                value = float(judge.total(row, Slates(np.array([grown], np.int32)))[0])  # noqa: B023
                return (known[c] - low) / (width or 1.0) + mu * value  # noqa: B023

            chosen = int(shown[user, r])
            assert chosen in left
            assert worth(chosen) >= max(worth(c) for c in left) - 1e-9
            slate.append(chosen)


def test_zero_strength_ranks_by_score() -> None:
    small = world(0)
    candidates = np.tile(np.array([3, 5, 7, 9, -1], np.int32), (6, 1))
    scores = np.tile(np.array([0.1, 0.4, -np.inf, 0.3, 9.0]), (6, 1))
    policy = compiled(small.dataset, 4, reward(Spread(NOWHERE, "distance", item("genres"))))
    assert rerank(candidates, scores, small.rows, policy, 0.0).items.tolist() == [[5, 9, 3, -1]] * 6


def test_blocked_candidate_is_never_chosen() -> None:
    small = world(0)
    cheap = Compare(NOWHERE, "<", item("price"), number(2.5))
    policy = compiled(small.dataset, 5, boost(cheap), blocks=(Block(NOWHERE, "cheap", cheap),))
    everything = np.tile(np.arange(14, dtype=np.int32), (6, 1))
    shown = rerank(everything, np.zeros(everything.shape), small.rows, policy, 3.0)
    assert not policy.blocked(small.rows, shown).any()
    allowed = sum(r["price"] is not None and r["price"] >= 2.5 for r in small.items)
    assert ((shown.items >= 0).sum(1) == min(5, allowed)).all()


def test_hard_quotas_hold_for_any_scores() -> None:
    small = world(0)
    ads = Where(NOWHERE, item("is_ad"))
    rules = (
        quota(Per(NOWHERE, item("creator")), "voices", at_most=places(1), hard=True),
        quota(ads, "ads", at_least=places(2), hard=True),
    )
    policy = compiled(small.dataset, 4, *rules)
    everything = np.tile(np.arange(14, dtype=np.int32), (6, 1))
    scores = np.where([r["is_ad"] is True for r in small.items], 0.0, 1.0) * np.ones((6, 1))
    shown = rerank(everything, scores, small.rows, policy, 1.0)
    assert (shown.items >= 0).all()
    assert all(satisfied.all() for satisfied in policy.satisfied(small.rows, shown).values())
    best = scores.argmax(1)
    assert (shown.items[:, 0] == best).all()  # an ad is shown no earlier than it must be
    scores[:, [i for i, r in enumerate(small.items) if r["is_ad"] is True][1:]] = -np.inf
    fewer = rerank(everything, scores, small.rows, policy, 1.0)
    assert (fewer.items >= 0).all()  # one ad is all there is: the quota closes nothing else
    assert not policy.satisfied(small.rows, fewer)["ads"].any()


def test_rerank_ignores_next_items() -> None:
    small = world(0)
    policy = compiled(small.dataset, 3, reward(Relevance(NOWHERE, "ndcg"), "ndcg"), boost(item("is_ad"), "ads"))
    candidates = np.tile(np.arange(14, dtype=np.int32), (6, 1))
    scores = np.random.default_rng(0).normal(size=candidates.shape)
    blind = type(small.rows)(small.rows.user, small.rows.now, small.rows.history, Ragged.of([[]] * 6))
    shown = rerank(candidates, scores, small.rows, policy, 1.0)
    np.testing.assert_array_equal(shown.items, rerank(candidates, scores, blind, policy, 1.0).items)
