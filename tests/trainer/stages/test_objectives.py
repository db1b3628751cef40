"""Checks what slates are worth in training: rules by weight and targets by multiplier, in deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import compiler, data
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation.group_stats import FLOOR
from recpolicy.language import checker
from recpolicy.trainer.stages.objectives import Objectives, Returns

POLICY = """
policy "aims" { language = 1  data = "simulator"  slate = 3 }
reward variety   weight 0.6 = distance(item.genres)
bury   ads       weight 0.2 = item.is_ad limit 2
quota  one_voice weight ramp 0 to 0.4 over 50% of training = at most 1 per item.creator
target calm = share(item.is_ad) <= 20%
target wide = coverage(item.creator) >= 50%
when user.country is "de" {
  reward surprise weight 0.5 = novelty(item.popularity)
}
"""
COPIES = 4

Scene = tuple[CompiledPolicy, Rows, Slates]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The policy, ten users with so many copies each, and a slate for each copy."""
    path: Path = tmp_path_factory.mktemp("aims") / "aims.policy"
    dataset = data.simulate(users=40, items=120, creators=12).dataset
    country = dataset.schema.user["country"]
    words = dataset.users.columns[country.name].words  # type: ignore[union-attr]
    path.write_text(POLICY.replace('"de"', f'"{words[0]}"'))
    split = data.split(dataset, holdout=5)
    view = data.training_view(dataset, split)
    compiled = compiler.compile(checker.load(str(path)), view)
    rng = np.random.default_rng(0)
    slates = np.array([rng.permutation(dataset.items.rows)[:3] for _ in range(10 * COPIES)], np.int32)
    slates[1, 2] = slates[6, 0] = -1
    return compiled, split.test.take(np.repeat(np.arange(10), COPIES)), Slates(slates)


def _naive(scene: Scene, sigma: Floats, multipliers: dict[str, float], shown: Slates, progress: float) -> list[float]:
    """The formula, one slate and one number at a time."""
    compiled, rows, slates = scene
    out = []
    for b in range(len(rows)):
        row, slate = rows.take(np.array([b])), Slates(slates.items[b : b + 1])
        values, weights = compiled.values(row, slate), compiled.weights(row, progress)[0]
        found = [(rule.sign * values[rule.name][0], weights[i]) for i, rule in enumerate(compiled.rules)]
        pulls = compiled.target_marginals(row, slate, shown)
        found.append((-pulls["calm"].sum(), multipliers["calm"]))
        found.append((pulls["wide"].sum(), multipliers["wide"]))
        counted = [(value, w, s) for (value, w), s in zip(found, sigma, strict=True) if not np.isnan(value)]
        total = sum(w for _, w, _ in counted)
        out.append(sum(w / total * value / max(s, FLOOR) for value, w, s in counted))
    return out


@pytest.mark.parametrize("progress", [0.1, 1.0])
def test_slate_worth_equals_formula(scene: Scene, progress: float) -> None:
    compiled, rows, slates = scene
    sigma, multipliers = np.array([0.2, 0.01, 0.1, 0.3, 0.07, 0.02]), {"calm": 0.8, "wide": 0.3}
    shown = Slates(np.roll(slates.items, 1, 0))
    objectives = Objectives(compiled, sigma, multipliers, shown)
    earned = objectives.returns(rows, slates, progress)
    assert np.isnan(earned.values[:, 3]).any() and not np.isnan(earned.values[:, 3]).all(), "surprise is for some"
    wanted = _naive(scene, sigma, multipliers, shown, progress)
    found = objectives.worth(earned)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.ptp(found) > 0.1
    some = np.array([7, 0, 31, 7])
    again = objectives.worth(objectives.returns(rows.take(some), Slates(slates.items[some]), progress))
    np.testing.assert_allclose(again, found[some], atol=1e-12, err_msg="a slate is worth the same in any company")


def test_empty_batch_has_empty_worth(scene: Scene) -> None:
    compiled, rows, slates = scene
    nobody = np.zeros(0, np.int64)
    objectives = Objectives(compiled, np.full(6, 0.1), {"calm": 0.8})
    assert objectives.worth(objectives.returns(rows.take(nobody), Slates(slates.items[:0]))).shape == (0,)


def test_ramp_follows_progress_and_zero_multiplier_is_ignored(scene: Scene) -> None:
    compiled, rows, slates = scene
    for progress, weight in ((0.0, 0.0), (0.25, 0.2), (0.5, 0.4), (1.0, 0.4)):
        found = Objectives(compiled, np.ones(6)).returns(rows, slates, progress)
        assert np.allclose(found.weights[:, 2], weight) and not found.weights[:, 4:].any()


def test_population_target_is_zero_before_first_slates(scene: Scene) -> None:
    compiled, rows, slates = scene
    for shown in (None, slates):
        found = Objectives(compiled, np.ones(6), {"wide": 1.0}, shown).returns(rows, slates)
        assert bool(found.values[:, 5].any()) == (shown is not None) and (found.weights[:, 5] == 1.0).all()


def test_diagnostics_report_effective_and_silent_rules(scene: Scene) -> None:
    compiled, rows, slates = scene
    objectives = Objectives(compiled, np.full(6, 0.1), {"calm": 0.5, "wide": 0.1}, slates)
    found = objectives.returns(rows, slates)
    logged = objectives.diagnostics(found, COPIES)
    assert sum(logged[f"effective/{name}"] for name in objectives.names) == pytest.approx(1.0)
    assert logged["silent/variety"] == 0.0 and 0.0 <= logged["silent/calm"] <= 1.0
    still = Returns(np.zeros_like(found.values), found.weights)
    assert objectives.diagnostics(still, COPIES)["frac_groups_zero_std"] == 1.0


def test_shadow_price_is_in_units_of_relevance(tmp_path: Path) -> None:
    path = tmp_path / "priced.policy"
    path.write_text(
        'policy "priced" { language = 1  data = "simulator"  slate = 3 }\n'
        "reward relevance weight 0.5 = ndcg(next_items)\ntarget calm = share(item.is_ad) <= 20%\n"
    )
    dataset = data.simulate(users=40, items=120, creators=12).dataset
    compiled = compiler.compile(checker.load(str(path)), dataset)
    objectives = Objectives(compiled, np.array([0.2, 0.1]), {"calm": 0.3})
    assert objectives.shadow_price("calm") == pytest.approx((0.3 / 0.1) / (0.5 / 0.2))
