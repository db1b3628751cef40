"""Checks the final decision to ship, on cases by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recpolicy.evaluation.decision import decide
from recpolicy.evaluation.guardrail import SUFFIX
from recpolicy.evaluation.metrics import Interval
from recpolicy.evaluation.targets import Outcome

BETTER = Interval(0.02, 0.01, 0.03)
ALIKE = Interval(0.001, -0.01, 0.012)
WORSE = Interval(-0.02, -0.03, -0.01)

MET = Outcome("variety", ">=", 0.8, 0.85, 0.82, 0.88)
LESS = Outcome("less", "<=", 0.2, 0.15, 0.12, 0.18)
OPEN = Outcome("calm", "<=", 0.2, 0.19, 0.17, 0.21)
MISSED = Outcome("calm", "<=", 0.2, 0.25, 0.22, 0.28)
KEPT = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.11, 0.1, 0.12)
DIPPED = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.095, 0.085, 0.105)
BROKEN = Outcome(f"relevance{SUFFIX}", ">=", 0.1, 0.08, 0.07, 0.09)
BEFORE = [replace(MET, value=0.7, low=0.67, high=0.73), replace(MISSED, name="calm"), replace(MISSED, name="less")]
"""No target is met by the model before the policy."""


@pytest.mark.parametrize(
    ("outcomes", "reward", "reason"),
    [
        ([], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([MET], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300], the target met"),
        ([MET, MET, KEPT], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300], all 2 targets met"),
        ([KEPT], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([DIPPED], BETTER, "the whole reward changed by +0.0200 [+0.0100, +0.0300]"),
        ([MET, DIPPED], ALIKE, "`variety` is met now; the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
        ([MET, LESS], ALIKE, "`variety`, `less` are met now; the whole reward changed by +0.0010 [-0.0100, +0.0120]"),
        ([MET, KEPT], WORSE, "`variety` is met now; the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
    ],
)
def test_model_that_meets_targets_ships(outcomes: list[Outcome], reward: Interval, reason: str) -> None:
    found = decide(outcomes, BEFORE, reward, BETTER)
    assert (found.word, found.reason) == ("SHIP", reason)


@pytest.mark.parametrize(
    ("outcomes", "reward", "reason"),
    [
        ([], WORSE, "the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
        ([KEPT], WORSE, "the whole reward changed by -0.0200 [-0.0300, -0.0100]"),
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
def test_model_that_breaks_target_or_loses_reward_does_not_ship(
    outcomes: list[Outcome], reward: Interval, reason: str
) -> None:
    found = decide(outcomes, BEFORE, reward, BETTER)
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
def test_inconclusive_intervals_are_undecided(outcomes: list[Outcome], reward: Interval, reason: str) -> None:
    found = decide(outcomes, BEFORE, reward, BETTER)
    assert (found.word, found.reason) == ("UNDECIDED", reason)


@pytest.mark.parametrize("baseline", [WORSE, Interval(0.0, 0.0, 0.0), Interval(-0.001, -0.01, 0.01)])
@pytest.mark.parametrize("outcomes", [[MET], [MISSED, BROKEN]], ids=["all met", "all broken"])
@pytest.mark.parametrize("reward", [BETTER, WORSE], ids=["better", "worse"])
def test_baseline_not_above_popularity_is_undecided(
    outcomes: list[Outcome], reward: Interval, baseline: Interval
) -> None:
    found = decide(outcomes, BEFORE, reward, baseline)
    assert found.word == "UNDECIDED"
    assert found.reason == (
        f"the model before the policy is no better than the most popular items ({baseline.mean:+.4f} NDCG), "
        "so it is no baseline"
    )


def test_baseline_slightly_above_popularity_counts() -> None:
    assert decide([MET], BEFORE, BETTER, Interval(0.001, -0.01, 0.012)).word == "SHIP"


@pytest.mark.parametrize(("reward", "word"), [(BETTER, "SHIP"), (ALIKE, "UNDECIDED"), (WORSE, "DO NOT SHIP")])
def test_target_already_met_is_no_gain(reward: Interval, word: str) -> None:
    found = decide([MET, KEPT], [MET, KEPT], reward, BETTER)
    assert found.word == word
    if word == "UNDECIDED":
        assert found.reason.endswith(", and what the targets ask was met before")
