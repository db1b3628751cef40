"""Checks the profile of a policy by hand: effective weights, silent rules and prices."""

from __future__ import annotations

import numpy as np
import pytest

from recpolicy.dataset.columns import Codes, Floats
from recpolicy.evaluation.group_stats import group_std, shares
from recpolicy.profile.report import prices, profile
from tests.profile.make import data, policy, rollouts, rows
from tests.rewards.world import Record

ND = float("nan")

ITEMS: list[Record] = [
    {"is_ad": True, "rate": 0.0, "genres": ["art"]},
    {"is_ad": False, "rate": 0.0, "genres": ["film"]},
    {"is_ad": False, "rate": 0.2, "genres": ["dance"]},
]


def test_deviation_is_pooled_within_groups() -> None:
    values = np.array([[0.0, 1.0, ND], [1.0, 1.0, ND], [0.2, ND, ND], [0.6, ND, ND]])
    # variances with one below: (.5 + .08) / 2 of the first rule, 0 in the only group of the second
    assert group_std(values, 2).tolist() == pytest.approx([np.sqrt(0.29), 0.0, 0.0])


def test_shares_are_covariances_with_sum() -> None:
    apart = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    assert shares(apart).tolist() == pytest.approx([0.2, 0.8])
    against = np.array([[2.0, -1.0], [-2.0, 1.0]])
    assert shares(against).tolist() == pytest.approx([2.0, -1.0])
    assert np.isnan(shares(np.zeros((4, 2)))).all()


@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_effective_weight_is_share_of_reward_variance(factor: float) -> None:
    held = data([item | {"rate": item["rate"] * factor} for item in ITEMS])
    compiled = policy("boost ads weight 1 = item.is_ad\nreward rates weight 1 = mean(item.rate)", held, 1)
    # the first user's lists differ in `ads` by 1, the second's in `rates` by .2 x the factor
    ads, rates = profile(compiled, rollouts(rows([[0], [0]]), [[0], [1], [1], [2]]), seed=0).rules
    assert (ads.deviation, rates.deviation) == pytest.approx((0.5, 0.1 * factor))
    assert (ads.declared, rates.declared) == (0.5, 0.5)
    rated = (0.2 * factor) ** 2 / (1 + (0.2 * factor) ** 2)
    assert (ads.effective, rates.effective) == pytest.approx((1 - rated, rated))
    assert (ads.lively, rates.lively) == (0.5, 0.5)
    assert ads.silence is None and rates.silence is None


def test_declared_weights_are_averaged_over_users() -> None:
    held = data(ITEMS, [{"member": True}, {"member": False}])
    text = "boost ads weight 1 = item.is_ad\nreward rates weight 1 = mean(item.rate)\n"
    text += "when user.member { boost ads weight 3 }"
    found = profile(policy(text, held, 1), rollouts(rows([[0], [0]], user=[0, 1]), [[0], [1], [0], [2]]), seed=0)
    assert [rule.declared for rule in found.rules] == pytest.approx([(0.75 + 0.5) / 2, (0.25 + 0.5) / 2])


@pytest.mark.parametrize(
    ("rule", "sampled", "reason"),
    [
        ("boost rule weight 1 = item.is_ad", [[1, 2], [2, 1]], "never"),
        ("bury rule weight 1 = item.is_ad", [[1, 2], [2, 1]], "never"),
        ("quota rule weight 1 = at least 1 where item.is_ad", [[0, 1], [2, 0]], "always"),
        ("reward rule weight 1 = share(item.is_ad)", [[0, 1], [2, 0]], "always the same"),
        ("boost rule weight 1 = item.price > 2", [[0, 1], [2, 0]], "without data"),
        ("when user.member { boost rule weight 1 = item.is_ad }", [[0, 1], [2, 1]], "for nobody"),
        ("boost rule weight 1 = item.is_ad", [[0, 1], [2, 1]], None),
        ("quota rule hard = at least 1 where item.is_ad", [[0, 1], [2, 0]], None),
    ],
)
def test_silent_rule_is_named_with_reason(rule: str, sampled: list[list[int]], reason: str | None) -> None:
    compiled = policy(f"reward relevance weight 1 = ndcg(next_items)\n{rule}", data(ITEMS), 2)
    found = profile(compiled, rollouts(rows([[0]]), sampled), seed=0)
    assert {r.name: r.silence for r in found.rules}["rule"] == reason
    assert found.dead == tuple(r for r in found.rules if r.silence is not None)
    assert reason is None or not found.clean


def test_rule_constant_per_user_is_silent() -> None:
    compiled = policy("boost rule weight 1 = item.is_ad\nreward other weight 1 = mean(item.rate)", data(ITEMS), 2)
    found = profile(compiled, rollouts(rows([[0], [0]]), [[0, 1], [0, 2], [1, 2], [2, 1]]), seed=0)
    assert found.rules[0].silence == "same for each user"


def test_users_outside_segment_do_not_make_rule_silent() -> None:
    held = data(ITEMS, [{"member": True}, {"member": False}])
    compiled = policy("boost all weight 1 = item.is_ad\nwhen user.member { boost own weight 1 = item.is_ad }", held, 1)
    sampled = [[0], [1]] * 30
    found = profile(compiled, rollouts(rows([[0]] * 30, user=[0] + [1] * 29), sampled), seed=0)
    assert found.rules[1].lively == 1.0 and found.rules[1].silence is None


def one_place() -> tuple[Codes, Floats]:
    return np.array([[1, 0]] * 3, np.int32), np.array([[1.0, 0.0]] * 3)


@pytest.mark.parametrize(("weight", "value", "cost"), [(0.75, 1.0, 1.0), (0.4, 0.0, 0.0)])
def test_rule_price_is_ndcg_lost_by_its_weight(weight: float, value: float, cost: float) -> None:
    rules = f"reward relevance weight {1 - weight} = ndcg(next_items)\nboost ads weight {weight} = item.is_ad"
    # the likelier item 1 is what users take; the advertisement 0 comes first where its weight is above relevance's
    price = prices(policy(rules, data(ITEMS), 1), rows([[1]] * 3), *one_place(), seed=0)["ads"]
    assert (price.without, price.value) == (0.0, value)
    assert (price.cost.mean, price.cost.low, price.cost.high) == (cost, cost, cost)


def test_leaving_out_rule_keeps_other_weights() -> None:
    rules = "reward relevance weight 5 = ndcg(next_items)\nboost ads weight 4 = item.is_ad\nboost rated weight 4 = "
    # alone, `ads` does not outweigh relevance (4 against 5), with or without a rule that looks elsewhere
    found = prices(policy(f"{rules}item.rate > 10%", data(ITEMS), 1), rows([[1]] * 3), *one_place(), seed=0)
    assert found["rated"].cost.mean == 0.0 and found["ads"].value == 0.0


def test_price_uses_ndcg_without_relevance_rule() -> None:
    compiled = policy("boost ads weight 1 = item.is_ad\nboost rated weight 1 = item.rate > 10%", data(ITEMS), 1)
    found = prices(compiled, rows([[1]] * 3), *one_place(), seed=0)
    assert found["ads"].value == 1.0 and found["ads"].cost.mean == 1.0


def test_relevance_has_no_price_but_hard_quota_has() -> None:
    rules = "reward relevance weight 1 = ndcg(next_items)\nquota ads hard = at least 1 where item.is_ad"
    found = prices(policy(rules, data(ITEMS), 1), rows([[1]] * 3), *one_place(), seed=0)
    assert found.keys() == {"ads"} and found["ads"].cost.mean == 1.0
