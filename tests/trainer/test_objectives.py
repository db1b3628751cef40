"""The advantage: rules by weight and targets by multiplier, in deviations, each place with what follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recpolicy import checker, compiler, data
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Rows
from recpolicy.profile import FLOOR
from recpolicy.rewards import Judge, Verdict
from recpolicy.table import Floats
from recpolicy.trainer.objectives import Objectives, Returns, returns

POLICY = """
policy "aims" { language = 1  data = "simulator"  slate = 3 }
reward variety   weight 0.6 = distance(item.genres)
bury   ads       weight 0.2 = item.is_ad limit 2
quota  one_voice weight ramp 0 to 0.4 over 50% of training = at most 1 per item.creator
target calm = share(item.is_ad) <= 20%
when user.country is "de" {
  reward surprise weight 0.5 = novelty(item.popularity)
}
"""
COPIES = 4


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[CompiledPolicy, Rows, Judge]:
    path: Path = tmp_path_factory.mktemp("aims") / "aims.policy"
    dataset = data.simulate(users=40, items=120, creators=12).dataset
    country = dataset.schema.user["country"]
    words = dataset.users.columns[country.name].words  # type: ignore[union-attr]
    path.write_text(POLICY.replace('"de"', f'"{words[0]}"'))
    split = data.split(dataset, holdout=5)
    view = data.training_view(dataset, split)
    compiled = compiler.compile(checker.load(str(path)), view)
    return compiled, split.test, Judge(compiled, split.test, dataset.items.rows)


def _verdict(judge: Judge, progress: float = 1.0) -> Verdict:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(10), COPIES)
    slates = np.array([rng.permutation(judge.items)[:3] for _ in rows], np.int32)
    return judge.verdict(slates, rows.tolist(), progress)


def _naive(compiled: CompiledPolicy, verdict: Verdict, rows: Rows, sigma: Floats, lam: float, by_rank: bool) -> Floats:
    """The formula, one number at a time."""
    out = np.zeros(verdict.slates.shape)
    targets = compiled.target_marginals(rows, verdict.valid)
    objectives = [(r.sign, verdict.marginals[r.name], verdict.weights[:, i]) for i, r in enumerate(compiled.rules)]
    objectives.append((-1.0, targets["calm"], np.full(len(out), lam)))
    for b in range(len(out)):
        group = range(b // COPIES * COPIES, b // COPIES * COPIES + COPIES)
        total = sum(weights[b] for _, found, weights in objectives if not np.isnan(found[b]).any())
        for place in range(3):
            first = place if by_rank else 0
            for (sign, found, weights), deviation in zip(objectives, sigma, strict=True):
                if np.isnan(found[b]).any():
                    continue
                to_go = [sign * found[other, first:].sum() for other in group]
                centred = sign * found[b, first:].sum() - np.mean(to_go)
                out[b, place] += weights[b] / total * centred / max(deviation, FLOOR)
    return out


@pytest.mark.parametrize("by_rank", [True, False])
def test_the_advantage_is_the_formula(judged: tuple[CompiledPolicy, Rows, Judge], by_rank: bool) -> None:
    compiled, rows, judge = judged
    verdict = _verdict(judge)
    of = rows.take(verdict.row)
    sigma = np.array([0.2, 0.01, 0.1, 0.3, 0.07])
    objectives = Objectives(compiled, sigma, by_rank, {"calm": 0.8})
    found = objectives.advantages(objectives.returns(of, verdict), COPIES)
    assert np.allclose(found, _naive(compiled, verdict, of, sigma, 0.8, by_rank), atol=1e-12)
    assert np.ptp(found, axis=1).max() > 0.01 if by_rank else np.ptp(found, axis=1).max() == 0.0


def test_ramps_follow_training_and_a_target_without_multiplier_counts_nothing(
    judged: tuple[CompiledPolicy, Rows, Judge],
) -> None:
    compiled, rows, judge = judged
    for progress, weight in ((0.0, 0.0), (0.25, 0.2), (0.5, 0.4), (1.0, 0.4)):
        verdict = _verdict(judge, progress)
        found = returns(compiled, rows.take(verdict.row), verdict, {}, None)
        assert np.allclose(found.weights[2], weight) and not found.weights[4].any()


def test_the_report_names_who_moves_the_advantage_and_who_is_silent(
    judged: tuple[CompiledPolicy, Rows, Judge],
) -> None:
    compiled, rows, judge = judged
    verdict = _verdict(judge)
    objectives = Objectives(compiled, np.full(5, 0.1), True, {"calm": 0.5})
    found = objectives.returns(rows.take(verdict.row), verdict)
    told = objectives.report(found, COPIES)
    assert sum(told[f"effective/{name}"] for name in objectives.names) == pytest.approx(1.0)
    assert told["silent/variety"] == 0.0 and 0.0 <= told["silent/calm"] <= 1.0
    still = Returns(np.zeros_like(found.marginals), found.weights)
    assert objectives.report(still, COPIES)["silent_prompts"] == 1.0


def test_the_price_of_a_target_is_told_in_relevance(tmp_path: Path) -> None:
    path = tmp_path / "priced.policy"
    path.write_text(
        'policy "priced" { language = 1  data = "simulator"  slate = 3 }\n'
        "reward relevance weight 0.5 = ndcg(next_items)\ntarget calm = share(item.is_ad) <= 20%\n"
    )
    dataset = data.simulate(users=40, items=120, creators=12).dataset
    compiled = compiler.compile(checker.load(str(path)), dataset)
    objectives = Objectives(compiled, np.array([0.2, 0.1]), True, {"calm": 0.3})
    assert objectives.price("calm") == pytest.approx((0.3 / 0.1) / (0.5 / 0.2))
