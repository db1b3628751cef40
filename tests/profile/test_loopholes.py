"""Checks the search for a fixed list that ignores the user."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from recpolicy.dataset.rows import Slates
from recpolicy.profile.loopholes import Search, label_free, served
from recpolicy.profile.report import FixedList, profile
from tests.profile.make import data, policy, rollouts, rows
from tests.rewards.world import Record, world

GENRES = ("art", "film", "dance", "chess", "books")
ALIKE: list[Record] = [{"genres": [GENRES[i // 4]], "language": "en" if i % 4 < 2 else "es"} for i in range(20)]
"""Four items of each of five genres."""

NOBODY = np.zeros((0, 3), np.int32)


def found(rules: str, sampled: list[list[int]], following: list[list[int]]) -> FixedList:
    """For two users who speak different languages."""
    compiled = policy(rules, data(ALIKE, [{"language": "en"}, {"language": "es"}]), 3)
    fixed = profile(compiled, rollouts(rows(following, user=[0, 1]), sampled), seed=0).fixed
    assert fixed is not None
    return fixed


RELEVANT = [[0, 1, 2], [4, 5, 6]]
"""What a model shows that knows two users well: their genre and nothing else."""


def test_planted_loophole_is_found() -> None:
    rules = "reward v weight 1 = distance(item.genres)\nreward relevance weight 0.05 = ndcg(next_items)"
    sampled = [*RELEVANT[:1], [0, 1, 3], *RELEVANT[1:], [4, 5, 7]]
    fixed = found(rules, sampled, [[0, 1, 2], [4, 5, 6]])
    assert len({ALIKE[i]["genres"][0] for i in fixed.items}) == 3
    assert (fixed.reward, fixed.own, fixed.best) == (1.0, 0.0, 1.0)
    assert fixed.full == ("v",) and fixed.verdict == "open" and fixed.advantage > 0
    assert fixed.ndcg < fixed.own_ndcg


def test_loophole_is_closed_by_relevance_weight() -> None:
    rules = "reward v weight 0.01 = distance(item.genres)\nreward relevance weight 1 = ndcg(next_items)"
    sampled = [[0, 1, 2], [0, 1, 4], [4, 5, 6], [4, 5, 8]]
    fixed = found(rules, sampled, [[0, 1, 2], [4, 5, 6]])
    assert fixed.reward > fixed.own and fixed.advantage < 0 and fixed.verdict == "closed"


def test_user_specific_rule_has_no_loophole() -> None:
    rules = "boost mine weight 1 = item.language is user.language\nreward relevance weight 1 = ndcg(next_items)"
    fixed = found(rules, [[0, 1, 4], [0, 1, 2], [2, 3, 6], [2, 3, 6]], [[0], [2]])
    assert (fixed.reward, fixed.best) == pytest.approx((0.5, 1.0))
    assert (fixed.verdict, fixed.full) == ("none", ())


def test_relevance_only_policy_has_no_search() -> None:
    compiled = policy("reward relevance weight 1 = ndcg(next_items)", data(ALIKE), 3)
    whole = profile(compiled, rollouts(rows([[0]]), [[0, 1, 2], [3, 4, 5]], popular=[5, 0, 1]), seed=0)
    [relevance] = whole.rules
    assert whole.fixed is None and whole.clean
    assert relevance.value == 0.5 and relevance.popular == pytest.approx(1 / np.log2(3))


def test_rules_fully_met_by_fixed_list_are_marked() -> None:
    rules = """
    reward v weight 1 = distance(item.genres)
    quota two weight 1 = at least 2 where item.language is "en"
    bury films weight 1 = "film" in item.genres
    boost mine weight 1 = item.language is user.language
    """
    compiled = policy(rules, data(ALIKE, [{"language": "en"}, {"language": "es"}]), 3)
    whole = profile(compiled, rollouts(rows([[0], [0]], user=[0, 1]), [[0, 1, 4], [0, 5, 6]] * 2), seed=0)
    assert {rule.name: rule.given_away for rule in whole.rules} == {
        "v": True,
        "two": True,
        "films": True,
        "mine": False,
    }
    assert whole.rules[3].fixed == pytest.approx(0.5)


def test_taken_or_blocked_items_become_holes() -> None:
    compiled = policy(
        'reward v weight 1 = distance(item.genres)\nblock es = user.language is "es" and item.language is "es"',
        data(ALIKE, [{"language": "en"}, {"language": "es"}]),
        3,
    )
    of = rows([[], []], user=[0, 1], history=[[4], []])
    assert served(compiled, of, np.array([0, 4, 2], np.int32)).items.tolist() == [[0, -1, 2], [0, 4, -1]]


def test_fixed_list_avoids_items_taken_by_many_users() -> None:
    compiled = policy("reward v weight 1 = distance(item.genres)", data(ALIKE), 3)
    of = rows([[]] * 4, history=[list(range(i, 20, 4)) for i in (0, 0, 1, 2)])
    search = Search.of(compiled, of, NOBODY, seed=0)
    shown = served(compiled, of, search.fixed(compiled)).items
    assert (shown >= 0).all()
    assert set((shown % 4).ravel().tolist()) == {3}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "rules",
    [
        "reward v weight 1 = distance(item.genres)\nboost cheap weight 1 = item.price < 2",
        "reward rates weight 1 = discounted(item.rate)\nquota ads weight 1 = at least 1 where item.is_ad in top 2",
        "quota own weight 1 = at least 2 where item.language is user.language\nbury ads weight 1 = item.is_ad limit 1",
    ],
)
def test_search_is_near_brute_force_optimum(rules: str, seed: int) -> None:
    small = world(seed)
    compiled = policy(rules, small.dataset, 3)
    search = Search.of(compiled, small.rows, NOBODY, seed=0)
    free, count = label_free(compiled), len(small.rows)
    every = np.array(list(permutations(range(len(small.items)), 3)), np.int32)
    shown = np.concatenate([served(compiled, small.rows, one).items for one in every])
    rewards = free.total(small.rows.take(np.tile(np.arange(count), len(every))), Slates(shown)).reshape(-1, count)
    best = rewards.mean(1).max()
    mine = free.total(small.rows, served(compiled, small.rows, search.fixed(compiled))).mean()
    grown = free.total(small.rows, served(compiled, small.rows, search.grown(compiled))).mean()
    assert grown - 1e-9 <= mine <= best + 1e-9
    assert mine >= best - 0.05 * abs(best)


def test_large_catalog_search_is_limited_to_sample() -> None:
    compiled = policy("reward v weight 1 = distance(item.genres)", data(ALIKE * 150), 3)
    search = Search.of(compiled, rows([[]]), np.array([[2999, 7, -1], [2999, 8, 9]], np.int32), seed=0)
    assert len(search.items) == 2000 and {7, 8, 9, 2999} <= set(search.items.tolist())
    assert Search.of(compiled, rows([[]]), NOBODY, seed=0).items.tolist() != search.items.tolist()


def test_small_catalog_leaves_holes() -> None:
    compiled = policy("reward v weight 1 = distance(item.genres)", data(ALIKE[:2]), 3)
    search = Search.of(compiled, rows([[]]), NOBODY, seed=0)
    assert sorted(search.fixed(compiled).tolist()) == [-1, 0, 1]
