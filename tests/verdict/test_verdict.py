"""The closing verdict, by hand: what ships, what does not, and what nobody can tell."""

from __future__ import annotations

import pytest

from recpolicy.demands import Outcome
from recpolicy.guardrail import SUFFIX
from recpolicy.metrics import Interval
from recpolicy.verdict import verdict

BETTER = Interval(0.02, 0.01, 0.03)
ALIKE = Interval(0.001, -0.01, 0.012)
WORSE = Interval(-0.02, -0.03, -0.01)

MET = Outcome("variety", ">=", 0.8, 0.85, 0.82, 0.88)
OPEN = Outcome("calm", "<=", 0.2, 0.19, 0.17, 0.21)
MISSED = Outcome("calm", "<=", 0.2, 0.25, 0.22, 0.28)
KEPT = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.11, 0.1, 0.12)
DIPPED = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.095, 0.085, 0.105)
BROKEN = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.08, 0.07, 0.09)


@pytest.mark.parametrize(
    ("outcomes", "reward", "reason"),
    [
        ([], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([MET], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300], the target met"),
        ([MET, MET, KEPT], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300], all 2 targets met"),
        ([KEPT], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([DIPPED], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([MET, DIPPED], ALIKE, "the target is met; the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
        ([MET, MET], ALIKE, "every target is met; the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
    ],
)
def test_a_model_that_keeps_all_that_is_asked_ships(outcomes: list[Outcome], reward: Interval, reason: str) -> None:
    found = verdict(outcomes, reward, BETTER)
    assert (found.word, found.reason) == ("SHIP", reason)


@pytest.mark.parametrize(
    ("outcomes", "reward", "reason"),
    [
        ([], WORSE, "the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
        ([MET, KEPT], WORSE, "the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
        ([MET, MISSED], BETTER, "target `calm` is not met: 0.250 [0.220, 0.280], asked <= 0.200"),
        ([OPEN, BROKEN], BETTER, f"relevance{SUFFIX}: 0.080 [0.070, 0.090] for 0.100 before the policy"),
        (
            [MISSED, BROKEN],
            WORSE,
            "target `calm` is not met: 0.250 [0.220, 0.280], asked <= 0.200; "
            f"relevance{SUFFIX}: 0.080 [0.070, 0.090] for 0.100 before the policy",
        ),
        ([OPEN], WORSE, "the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
    ],
)
def test_a_model_that_breaks_something_or_is_worth_less_does_not_ship(
    outcomes: list[Outcome], reward: Interval, reason: str
) -> None:
    found = verdict(outcomes, reward, BETTER)
    assert (found.word, found.reason) == ("DO NOT SHIP", reason)


@pytest.mark.parametrize(
    ("outcomes", "reward", "reason"),
    [
        ([], ALIKE, "the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
        ([KEPT], ALIKE, "the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
        ([MET, OPEN], BETTER, "too few users to tell whether `calm` is met"),
        ([OPEN, KEPT], ALIKE, "too few users to tell whether `calm` is met"),
        (
            [OPEN, Outcome("guests", ">=", 0.5, float("nan"), float("nan"), float("nan"))],
            BETTER,
            "too few users to tell whether `calm`, `guests` are met",
        ),
    ],
)
def test_where_intervals_tell_nothing_it_is_undecided(outcomes: list[Outcome], reward: Interval, reason: str) -> None:
    found = verdict(outcomes, reward, BETTER)
    assert (found.word, found.reason) == ("UNDECIDED", reason)


@pytest.mark.parametrize("baseline", [WORSE, Interval(0.0, 0.0, 0.0), Interval(-0.001, -0.01, 0.01)])
@pytest.mark.parametrize("outcomes", [[MET], [MISSED, BROKEN]], ids=["all met", "all broken"])
@pytest.mark.parametrize("reward", [BETTER, WORSE], ids=["better", "worse"])
def test_a_baseline_no_better_than_popularity_is_worth_no_comparison(
    outcomes: list[Outcome], reward: Interval, baseline: Interval
) -> None:
    found = verdict(outcomes, reward, baseline)
    assert found.word == "UNDECIDED"
    assert found.reason == (
        f"the model before the policy is no better than the most popular items ({baseline.mean:+.4f} NDCG), "
        "so it is no baseline"
    )


def test_a_baseline_that_is_a_little_better_than_popularity_is_one() -> None:
    assert verdict([MET], BETTER, Interval(0.001, -0.01, 0.012)).word == "SHIP"
