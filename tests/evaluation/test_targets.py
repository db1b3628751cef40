"""Checks target outcomes: met, not met or undecided, by intervals paired with the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import compiler, data
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.evaluation.targets import Outcome, outcomes
from recpolicy.language import checker

HEAD = 'policy "t" { language = 1  data = "simulator"  slate = 5 }\nreward relevance weight 1 = ndcg(next_items)\n'


@pytest.fixture(scope="module")
def platform() -> Dataset:
    return data.simulate(users=300, items=120, creators=12).dataset


def _compiled(targets: str, dataset: Dataset, folder: Path) -> tuple[CompiledPolicy, Rows]:
    path = folder / "t.policy"
    path.write_text(HEAD + targets)
    split = data.split(dataset, holdout=5)
    return compiler.compile(checker.load(str(path)), data.training_view(dataset, split)), split.test


def _slates(rows: Rows, seed: int) -> Slates:
    rng = np.random.default_rng(seed)
    return Slates(np.array([rng.permutation(120)[:5] for _ in range(len(rows))], np.int32))


@pytest.mark.parametrize(
    ("op", "bound", "verdict"),
    [
        (">=", 0.3, "met"),
        (">=", 0.4, "met"),
        (">=", 0.5, "undecided"),
        (">=", 0.7, "not met"),
        ("<=", 0.7, "met"),
        ("<=", 0.6, "met"),
        ("<=", 0.5, "undecided"),
        ("<=", 0.3, "not met"),
    ],
)
def test_outcome_needs_whole_interval_on_one_side(op: str, bound: float, verdict: str) -> None:
    assert Outcome("t", op, bound, 0.5, 0.4, 0.6).verdict == verdict  # type: ignore[arg-type]


def test_target_without_users_is_undecided() -> None:
    nan = float("nan")
    assert Outcome("t", ">=", 0.5, nan, nan, nan).verdict == "undecided"


def test_baseline_relative_bound_is_paired_per_user(platform: Dataset, tmp_path: Path) -> None:
    compiled, rows = _compiled("target keep = relevance >= 97% of baseline", platform, tmp_path)
    slates = _slates(rows, 0)
    (same,) = outcomes(compiled, rows, slates, slates, seed=0)
    assert same.value == pytest.approx(float(np.nanmean(compiled.values(rows, slates)["relevance"])))
    assert same.bound == pytest.approx(0.97 * same.value)
    # against itself the difference is 3 % of each user's own value: far narrower than the spread over users
    assert same.verdict == "met" and same.high - same.low < 0.2 * same.value
    (worse,) = outcomes(compiled, rows, Slates(np.full_like(slates.items, -1)), slates, seed=0)
    assert worse.value == 0.0 and worse.verdict == "not met"


def test_segment_and_population_targets_have_own_outcomes(platform: Dataset, tmp_path: Path) -> None:
    targets = (
        "target calm = share(item.is_ad) <= 90%\n"
        "target wide = coverage(item.creator) >= 50%\n"
        "target star = largest_share(item.creator) <= 1%\n"
        "when user.age < 0 { target none = share(item.is_ad) <= 90% }\n"
    )
    compiled, rows = _compiled(targets, platform, tmp_path)
    slates = _slates(rows, 1)
    found = {o.name: o for o in outcomes(compiled, rows, slates, slates, seed=0)}
    assert list(found) == ["calm", "wide", "star", "none"]
    assert [o.verdict for o in found.values()] == ["met", "met", "not met", "undecided"]
    assert found["wide"].value == compiled.population(rows, slates)["wide"]
    assert found["star"].low < found["star"].value < found["star"].high


def test_population_interval_covers_true_value(platform: Dataset, tmp_path: Path) -> None:
    compiled, rows = _compiled("target star = largest_share(item.creator) <= 50%", platform, tmp_path)
    held = 0
    truth = float(np.mean([compiled.population(rows, _slates(rows, s))["star"] for s in range(100, 140)]))
    for seed in range(40):
        slates = _slates(rows, seed)
        (found,) = outcomes(compiled, rows, slates, slates, seed=0)
        held += found.low <= truth <= found.high
    assert held >= 34  # 95 % of 40 are 38
