"""Checks the tables and bars of the section on learning, made from finished runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.learned import (
    REAL_LABELS,
    REASONING,
    SYSTEMS,
    Experiment,
    Finished,
    ablation,
    bars,
    best_at,
    calibration,
    last_aims,
    minutes,
    section,
    sources,
)
from benchmarks.learning import EXPERIMENTS, POLICIES, last_events, left_out, source

BALANCED = Experiment("balanced", "balanced", "balanced", "ml-100k", least=0.012)
MIXED = Experiment("mixed-goodbooks", "mixed", "mixed.policy", "goodbooks")
RELEVANCE = Experiment("relevance", "relevance", "relevance", "ml-100k", least=1.08)
SEVEN = Experiment("seven-goodbooks", "seven", "relevance", "seven-goodbooks", least=1)
VARIED = Experiment("varied", "targets", "varied.policy", "ml-100k", least=1.02, target="variety")
RECENT = Experiment("recent", "targets", "recent.policy", "ml-latest-small", target="variety", aimed=True)


def run(
    seed: int = 0,
    ndcg: float = 0.16,
    value: float = 0.8,
    *,
    reward: float = 0.47,
    gain: tuple[float, float, float] = (0.02, 0.01, 0.03),
    verdict: str = "met",
    aim: float = 0.8,
    error: float = 0.005,
    minutes: float = 5.0,
    alone: bool = True,
    **others: float,
) -> Finished:
    """A run whose control leaves NDCG .18 at variety .70 and reward .45, and .16 at .90 and .47; the rest has .15."""

    def system(ndcg: float, value: float, reward: float) -> dict[str, Any]:
        return {
            "metrics": {"ndcg": {"mean": ndcg}, "reward": {"mean": reward}},
            "targets": {"variety": {"mean": value}},
        }

    def difference(mean: float, low: float, high: float) -> dict[str, float]:
        return {"mean": mean, "low": low, "high": high}

    demand = {"op": ">=", "bound": 0.8, "value": value, "verdict": verdict}
    alone_ = {"log_likelihood": -5.9, "ndcg": 0.12}
    found = {
        "schema_version": 2,
        "verdict": "SHIP",
        "systems": {name: system(others.get(name, 0.15), 0.7, 0.44) for name in SYSTEMS}
        | {"grpo": system(ndcg, value, reward), "grpo_guided": system(ndcg, value, reward + 0.01)},
        "grpo_minus": {"prior": {"reward": difference(*gain), "ndcg": difference(0.001, -0.002, 0.004)}},
        "targets": [
            {**demand, "name": "variety", "guardrail": False},
            {**demand, "name": "relevance (guard)", "verdict": "undecided", "guardrail": True},
        ],
        "curves": {
            "rerank": [
                {"strength": 0.0, "metrics": {"ndcg": 0.18, "reward": 0.45}, "targets": {"variety": 0.7}},
                {"strength": 1.0, "metrics": {"ndcg": 0.16, "reward": 0.47}, "targets": {"variety": 0.9}},
            ]
        },
        "user_model": {
            "weights": {"language_model": 0.8, "ease": 0.3},
            "log_likelihood": {"validation": -5.6, "test": -5.5},
            "alone": {"language_model": alone_, "ease": alone_},
            "ndcg": 0.16,
            "reliability": {"error": error, "bins": []},
            "reliability_at_the_top": {"error": 4 * error, "bins": []},
        },
    }
    return Finished(seed, minutes, alone, found, {"variety": (aim, 0.81)})


def found(rows: list[list[str]], what: str) -> tuple[str, str]:
    """The found value and whether the bar holds."""
    [row] = [row for row in rows if row[0].startswith(what)]
    return row[2], row[3]


@pytest.mark.parametrize(
    ("least", "best"),
    [
        (0.7, 0.18),  # a point itself
        (0.75, 0.175),  # a quarter of the way
        (0.5, 0.18),  # less than any: the best point has more than enough
        (0.95, None),  # more than any
    ],
)
def test_curve_is_interpolated(least: float, best: float | None) -> None:
    assert best_at([(0.7, 0.18), (0.9, 0.16)], least) == (best if best is None else pytest.approx(best))


def test_non_monotone_curve_uses_its_best_value() -> None:
    assert best_at([(0.7, 0.18), (0.9, 0.14), (0.7, 0.16), (0.9, 0.16)], 0.8) == pytest.approx(0.16)


def test_gain_needs_every_seed_interval_above_zero() -> None:
    good, small, unsure = ((0.02, 0.01, 0.03), (0.002, 0.001, 0.003), (0.03, -0.01, 0.06))
    rows = bars(BALANCED, [run(0, gain=good), run(1, gain=unsure)])
    assert found(rows, "reward of GRPO, less that of what") == ("+0.0250 (+0.0200, +0.0300)", "yes")
    assert rows[1][2:] == ["[+0.0100, +0.0300], [-0.0100, +0.0600]", "no"]
    rows = bars(BALANCED, [run(0, gain=small)])
    assert (rows[0][3], rows[1][3]) == ("no", "yes")


def test_rewards_are_compared_at_equal_ndcg() -> None:
    rows = bars(BALANCED, [run(0, 0.17, reward=0.455), run(1, 0.19, reward=0.4)])
    missed = "beyond reach with 1 of 2 seeds"
    assert found(rows, "reward of GRPO, less the control's") == (f"-0.0050 (-0.0050), {missed}", "no")
    assert found(rows, "reward of GRPO, guided") == (f"+0.0050 (+0.0050), {missed}", "yes")


def test_control_reward_bar_uses_seed_0() -> None:
    assert found(bars(BALANCED, [run(1), run(0)]), "the control's best reward") == ("0.470 (0.470)", "no")
    assert [row for row in bars(BALANCED, [run(1)]) if row[0].startswith("the control's best")] == []


def test_other_datasets_need_only_positive_gain() -> None:
    rows = bars(MIXED, [run(0, gain=(0.002, 0.001, 0.003))])
    assert [row[1:] for row in rows if row[1]] == [["above 0 each", "[+0.0010, +0.0030]", "yes"]]


def test_relevance_policy_is_compared_with_best_baseline() -> None:
    runs = [run(0, 0.160), run(1, 0.161)]
    rows = bars(RELEVANCE, runs)
    assert found(rows, "NDCG of GRPO, times that of EASE (recency)") == ("1.070 (1.067, 1.073)", "no")
    assert found(rows, "NDCG of GRPO, times that of user model")[1] == "yes"
    rows = bars(replace(RELEVANCE, data="goodbooks", least=1), runs)
    assert [row[3] for row in rows] == ["yes", ""]


def test_few_event_sft_needs_half_of_classic_ndcg() -> None:
    rows = bars(SEVEN, [run(0, 0.14, itemknn=0.13, sft=0.07)])
    assert [row[3] for row in rows] == ["no", "yes", "no", "yes"]
    assert found(rows, "NDCG of SFT, times that of ItemKNN") == ("0.538 (0.538)", "yes")


def test_ratio_to_zero_is_infinite() -> None:
    assert found(bars(SEVEN, [run(0, itemknn=0.0)]), "NDCG of GRPO, times that of ItemKNN") == ("inf (inf)", "yes")


def test_control_is_compared_at_target_value_of_run() -> None:
    rows = bars(VARIED, [run(0, 0.187, 0.8), run(1, 0.175, 0.85)])
    ratio = (0.187 + 0.175) / (0.17 + 0.165)
    for system in ("GRPO", "GRPO, guided"):
        assert found(rows, f"NDCG of {system}, times") == (f"{ratio:.3f} (1.100, 1.061)", "yes")
    assert found(bars(VARIED, [run(0, 0.170)]), "NDCG of GRPO, times") == ("1.000 (1.000)", "no")


def test_seeds_beyond_control_range_are_counted_apart() -> None:
    rows = bars(VARIED, [run(0, 0.1, 0.95), run(1, 0.16, 0.8)])
    assert found(rows, "NDCG of GRPO, times") == ("0.941 (0.941), beyond reach with 1 of 2 seeds", "no")
    assert found(bars(VARIED, [run(0, 0.1, 0.95)]), "NDCG of GRPO, times") == ("beyond reach with 1 of 1 seeds", "yes")


def test_target_fails_if_one_seed_fails_and_guardrail_has_no_bar() -> None:
    rows = bars(VARIED, [run(0, value=0.83), run(1, value=0.81, verdict="undecided")])
    assert found(rows, "target `variety`") == ("0.820 (0.830, 0.810): met, undecided", "no")
    assert found(rows, "relevance (guard)")[1] == ""


def test_moving_target_ends_at_its_last_aim() -> None:
    rows = bars(RECENT, [run(0, value=0.805), run(1, value=0.792)])
    assert found(rows, "variety for test users, less its aim") == ("-0.0015 (+0.0050, -0.0080)", "yes")
    assert found(rows, "variety for test users, less its last value")[1] == ""
    assert found(rows, "NDCG of GRPO, times")[1] == ""  # shown without a bar
    rows = bars(RECENT, [run(0, value=0.8), run(1, value=0.815)])
    assert found(rows, "variety for test users, less its aim")[1] == "no"
    assert found(bars(VARIED, [run(0, value=0.9)]), "variety for test users, less its aim")[1] == ""


def test_last_aim_of_each_target_is_used() -> None:
    lines: list[dict[str, Any]] = [
        {"stage": "sft", "step": 100, "validation_log_likelihood": -6.0},
        {"stage": "grpo", "step": 0, "targets/recent/aim": 0.26, "targets/recent/value": 0.1},
        {"stage": "grpo", "step": 20, "targets/recent/aim": 0.27, "targets/recent/value": 0.2},
        {"stage": "grpo", "step": 20, "targets/keep/aim": 0.1, "targets/keep/value": None},
        {"stage": "grpo", "step": 21, "reward": 0.4},
    ]
    assert last_aims(lines) == {"recent": (0.27, 0.2)}


def test_every_seed_must_be_calibrated() -> None:
    rows = calibration([run(0, error=0.004), run(1, error=0.011)])
    assert found(rows, "expected calibration error") == ("0.0075 (0.0040, 0.0110)", "no")
    assert found(rows, "the same at the top") == ("0.0300 (0.0160, 0.0440)", "")


def test_user_model_rows_are_listed_once_per_dataset() -> None:
    assert sources({BALANCED: [run()], RELEVANCE: [run()]}) == [
        ["ml-100k", "user model", "-5.500 (-5.500)", "0.160 (0.160)", ""],
        ["ml-100k", "language model", "-5.900 (-5.900)", "0.120 (0.120)", "0.80 (0.80)"],
        ["ml-100k", "ease", "-5.900 (-5.900)", "0.120 (0.120)", "0.30 (0.30)"],
    ]


def test_ablation_rows_come_from_their_runs() -> None:
    real = Experiment("balanced-real-labels", "ablation", "balanced", "ml-100k", settings=REAL_LABELS)
    thinks = Experiment("balanced-reasoning", "ablation", "balanced", "ml-100k", settings=REASONING)
    done = {BALANCED: [run(0, 0.16, sft=0.12)], real: [run(0, 0.155)], thinks: [run(0, 0.158)]}
    assert [row[2][:5] for row in ablation(done)] == ["0.120", "0.150", "0.155", "0.160", "0.160", "0.158"]
    assert [row[3][:5] for row in ablation(done)] == ["0.440", "0.440", "0.470", "0.470", "0.480", "0.470"]
    assert len(ablation({BALANCED: done[BALANCED]})) == 4


def test_slowest_seed_sets_run_time() -> None:
    assert minutes(VARIED, [run(0), run(1, minutes=16)])[1:4] == ["<= 15 each", "5.0, 16.0", "no"]
    assert minutes(MIXED, [run(0), run(1, minutes=16)])[1:] == ["<= 20 each", "5.0, 16.0", "yes", "SHIP, SHIP"]


def test_shared_machine_run_time_can_pass_but_not_fail() -> None:
    shared = [run(n, minutes=minutes, alone=False) for n, minutes in enumerate((16.0, 9.0))]
    assert minutes(VARIED, shared[:1])[2:4] == ["16.0*", "open"]
    assert minutes(VARIED, shared)[2:4] == ["16.0*, 9.0*", "yes, where known"]
    assert minutes(VARIED, [*shared, run(2, minutes=15.5)])[3] == "no"


def test_section_has_all_tables_and_lists_left_out_runs(tmp_path: Path) -> None:
    done = {e: [run()] for e in (BALANCED, MIXED, RELEVANCE, SEVEN, VARIED, RECENT)}
    lacks = left_out(MIXED, tmp_path, [], [0, 1])
    assert lacks == "`mixed`, goodbooks (mixed-goodbooks; the data goodbooks are not there)"
    assert left_out(BALANCED, tmp_path, [run()], [0, 1]) == "`balanced`, ml-100k (balanced; 1 of 2 seeds not run)"
    assert left_out(BALANCED, tmp_path, [run()], [0]) is None
    text = section(done, [lacks])
    assert f"Left out: {lacks}." in text
    assert "user model, seven-goodbooks" in text
    assert [line for line in text.splitlines() if line.startswith("#")] == []
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 6
    assert all(len({line.count(" | ") for line in table}) == 1 for table in tables)
    assert section({EXPERIMENTS[-1]: [run()]})


def test_run_with_other_schema_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "complete").write_text("90 alone\n")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"stage": "grpo", "step": 1}\n')
    (tmp_path / "run" / "eval.json").write_text(json.dumps(run().found))
    read = Finished.read(tmp_path, 0)
    assert (read.minutes, read.alone, read.aims) == (1.5, True, {})
    (tmp_path / "run" / "eval.json").write_text('{"schema_version": 1}')
    with pytest.raises(SystemExit, match="remove it"):
        Finished.read(tmp_path, 0)


def test_last_seven_events_per_user_are_kept(tmp_path: Path) -> None:
    given = tmp_path / "given" / "goodbooks"
    given.mkdir(parents=True)
    taken = [("b", 9 - n) for n in range(10)] + [("a", n) for n in range(3)]
    users, orders = zip(*taken, strict=True)
    items = [f"{user}{order}" for user, order in taken]
    pq.write_table(pa.table({"user_id": users, "item_id": items, "order": orders}), given / "interactions.parquet")
    pq.write_table(pa.table({"item_id": sorted(items)}), given / "items.parquet")
    pq.write_table(pa.table({"user_id": ["a", "b"]}), given / "users.parquet")
    made = source("seven-goodbooks", given.parent, tmp_path / "runs")
    assert made == str(tmp_path / "runs" / "data" / "seven-goodbooks")
    log = pq.read_table(Path(made) / "interactions.parquet")
    assert log.column_names == ["user_id", "item_id", "order"]
    assert log["item_id"].to_pylist() == ["b9", "b8", "b7", "b6", "b5", "b4", "b3", "a0", "a1", "a2"]
    assert pq.read_table(Path(made) / "items.parquet").num_rows == 13
    (given / "interactions.parquet").unlink()
    assert str(last_events(given, Path(made))) == made  # it is made once
    assert source("ml-latest-small", given.parent, tmp_path) is None
    assert source("ml-100k", given.parent, tmp_path) == "ml-100k"


def test_experiments_have_unique_folders_and_policies() -> None:
    assert len({e.name for e in EXPERIMENTS}) == len(EXPERIMENTS)
    files = {e.policy for e in EXPERIMENTS if e.policy.endswith(".policy")}
    assert files == {path.name for path in POLICIES.glob("*.policy")}
