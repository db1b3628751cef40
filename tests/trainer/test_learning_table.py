"""What finished runs found becomes the bars and tables of the section on learning."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.learned import Experiment, Finished, bars, ndcg_at, section, sweep

VARIED = Experiment("varied", "b", "varied.policy", "ml-100k", "(b) variety", "variety")
BY_HAND = {w: Experiment("varied", "sweep", "varied_by_weight.policy", "ml-100k", "", "variety", w) for w in (0.1, 0.4)}


def run(
    seed: int, ndcg: float, value: float, verdict: str = "met", minutes: float = 5.0, alone: bool = True
) -> Finished:
    """A run of a targets policy, whose control leaves .18 at .70 and .16 at .90."""
    system: dict[str, Any] = {
        "metrics": {"ndcg": {"mean": ndcg}, "ild": {"mean": value}},
        "rules": {"variety": {"mean": value}},
        "targets": {"variety": {"mean": value}},
    }
    baseline: dict[str, Any] = {
        "metrics": {"ndcg": {"mean": 0.15}, "ild": {"mean": 0.7}},
        "targets": {"variety": {"mean": 0.7}},
    }
    found = {
        "systems": {"grpo": system, "sft": baseline, "sft_first": baseline, "ease_recency": baseline},
        "targets": [{"name": "variety", "op": ">=", "bound": 0.8, "value": value, "verdict": verdict}],
        "rerank_curve": [
            {"mu": 0.0, "metrics": {"ndcg": 0.18}, "targets": {"variety": 0.7}},
            {"mu": 1.0, "metrics": {"ndcg": 0.16}, "targets": {"variety": 0.9}},
        ],
    }
    return Finished(seed, minutes, alone, found, 0.15, {100: 0.12, 200: 0.15, 300: 0.14})


def found(rows: list[list[str]], what: str) -> tuple[str, str]:
    """The found value and whether the bar holds."""
    [row] = [row for row in rows if row[1].startswith(what)]
    return row[3], row[4]


@pytest.mark.parametrize(
    ("least", "ndcg"),
    [
        (0.7, 0.18),  # a point itself
        (0.75, 0.175),  # a quarter of the way
        (0.5, 0.18),  # less than any: the best point has more than enough
        (0.95, None),  # more than any
    ],
)
def test_a_curve_is_read_between_its_points(least: float, ndcg: float | None) -> None:
    assert ndcg_at([(0.7, 0.18), (0.9, 0.16)], least) == (ndcg if ndcg is None else pytest.approx(ndcg))


def test_a_curve_that_turns_back_is_read_at_its_best() -> None:
    assert ndcg_at([(0.7, 0.18), (0.9, 0.14), (0.7, 0.16), (0.9, 0.16)], 0.8) == pytest.approx(0.16)


def test_the_control_is_compared_at_what_the_run_reached() -> None:
    rows = bars(VARIED, [run(0, 0.187, 0.8), run(1, 0.175, 0.85)])
    ratio = (0.187 + 0.175) / (0.17 + 0.165)
    assert found(rows, "NDCG, times the control's") == (f"{ratio:.3f} (1.100, 1.061)", "yes")


def test_a_bar_between_two_means_can_be_missed() -> None:
    assert found(bars(VARIED, [run(0, 0.170, 0.8)]), "NDCG, times the control's") == ("1.000 (1.000)", "no")


def test_seeds_beyond_the_controls_reach_do_not_hide_the_others() -> None:
    rows = bars(VARIED, [run(0, 0.1, 0.95), run(1, 0.16, 0.8)])
    assert found(rows, "NDCG, times the control's") == ("0.941 (0.941), beyond reach with 1 of 2 seeds", "no")


def test_one_seed_that_is_not_met_fails_the_target() -> None:
    rows = bars(VARIED, [run(0, 0.18, 0.83), run(1, 0.18, 0.81, "undecided")])
    assert found(rows, "target `variety`") == ("0.820 (0.830, 0.810): met, undecided", "no")


def test_the_slowest_seed_counts() -> None:
    assert found(bars(VARIED, [run(0, 0.18, 0.8), run(1, 0.18, 0.8, minutes=16)]), "minutes")[1] == "no"


def test_a_run_that_shared_the_machine_can_only_pass() -> None:
    shared = [run(n, 0.18, 0.8, minutes=minutes, alone=False) for n, minutes in enumerate((16.0, 9.0))]
    assert found(bars(VARIED, shared[:1]), "minutes") == ("16.0*", "open")
    assert found(bars(VARIED, shared), "minutes") == ("16.0*, 9.0*", "yes, where known")
    assert found(bars(VARIED, [*shared, run(2, 0.18, 0.8, minutes=15.5)]), "minutes")[1] == "no"


def test_accuracy_alone_is_compared_with_what_it_started_from() -> None:
    relevance = Experiment("relevance", "a", "relevance", "ml-100k", "(a) relevance")
    rows = bars(relevance, [run(0, 0.171, 0.7)])
    assert found(rows, "NDCG, times SFT's") == ("1.140 (1.140)", "no")
    assert found(rows, "NDCG, times that of EASE (recency)") == ("1.140 (1.140)", "yes")
    assert found(rows, "SFT's validation")[0] == "1.000 (1.000), of step 200/300"


def test_the_sweep_ends_with_the_run_that_needed_no_hand() -> None:
    done = {VARIED: [run(0, 0.181, 0.8)], BY_HAND[0.1]: [run(0, 0.18, 0.75)], BY_HAND[0.4]: [run(0, 0.16, 0.85)]}
    rows = sweep(VARIED, done[VARIED], done)
    assert [row[1:] for row in rows] == [
        ["0.1", "0.750 (0.750)", "0.180 (0.180)"],
        ["0.4", "0.850 (0.850)", "0.160 (0.160)"],
        ["interpolated", "0.800 (0.800)", "0.170 (0.170)"],
        ["by targets", "0.800 (0.800)", "0.181 (0.181)"],
    ]
    assert "swept by hand" in section(done)
    assert "swept by hand" not in section({VARIED: done[VARIED]})
