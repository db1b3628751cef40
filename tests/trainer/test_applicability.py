"""Rules and targets that are about few users, or none: training goes on, and reports what it can."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TypeAlias

import pytest

from recpolicy import baselines, cli, data
from recpolicy.baselines import Baseline
from recpolicy.dataset import Dataset, Split
from recpolicy.trainer import control
from tests.examples.test_sandboxes import GOOD, name

Fitted: TypeAlias = dict[tuple[str, int, int], dict[str, Baseline]]

SAMPLES = sorted((Path(__file__).parents[2] / "policies").glob("*.policy"))
FEW_STEPS = """
validation_users = 50
test_users = 10
[prompt]
history = 20
think = 4
[tiny]
width = 16
layers = 1
[sft]
steps = 2
batch = 8
evaluate_every = 2
[grpo]
steps = 3
prompts = 2
generations = 2
steer_every = 1
evaluate_every = 3
"""
FOR_FEW = {
    "a rule for nobody": 'when user.country is "nowhere" { boost ads weight 0.3 = item.is_ad }',
    "a rule without weight but for nobody": (
        'boost ads weight 0 = item.is_ad\nwhen user.country is "nowhere" { boost ads weight 0.3 }'
    ),
    "a rule for few": "when user.age < 14 { boost ads weight 0.3 = item.is_ad }",
    "a target for nobody": 'when user.country is "nowhere" { target ads = share(item.is_ad) >= 5% }',
    "a target for few": "when user.age < 14 { target ads = share(item.is_ad) >= 5% }",
    "a quota for few": "when user.age < 14 { quota ads weight 0.3 = at least 1 where item.is_ad }",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of stages with ML-100K in it."""
    data.open("ml-100k", seed=0)
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(data.cache() / "ml-100k", cache / "ml-100k")
    (cache / "few_steps.toml").write_text(FEW_STEPS)
    return cache


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """Classic recommenders by data set and places of a list: no policy has a part in them."""
    return {}


@pytest.fixture(autouse=True)
def in_short(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classic recommenders are fitted once for all policies, and the control tries few strengths."""
    own = baselines.fit

    def fit(dataset: Dataset, split: Split, k: int) -> dict[str, Baseline]:
        key = dataset.digest, split.holdout, k
        if key not in fitted:
            fitted[key] = own(dataset, split, k)
        return fitted[key]

    monkeypatch.setattr(baselines, "fit", fit)
    monkeypatch.setattr(control, "STRENGTHS", (0.0, 0.8))
    monkeypatch.setattr(control, "STRONGEST", 1.6)


def _train(policy: Path, cache: Path, out: Path, *more: str) -> None:
    settings = str(cache / "few_steps.toml")
    assert cli.main(["train", str(policy), "--config", settings, "--out", str(out), *more]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("policy", [*SAMPLES, *GOOD], ids=lambda path: name(path) if path in GOOD else path.stem)
def test_every_policy_that_comes_along_trains(
    policy: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECPOLICY_CACHE", str(cache))
    if policy.stem == "house_rules":
        pytest.skip("house rules have no slate of their own: other policies use them")
    own_data = ["--data", str(policy.parent)] if policy in GOOD else []
    _train(policy, cache, tmp_path / "run", *own_data, "--as-of", "2024-10-05")
    assert (tmp_path / "run" / "eval.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("rule", FOR_FEW.values(), ids=FOR_FEW)
def test_what_a_step_is_not_about_is_left_out_of_its_report(
    rule: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("RECPOLICY_CACHE", str(cache))
    policy = tmp_path / "few.policy"
    head = (
        'policy "few" { language = 1  data = "simulator"  slate = 5 }\nreward relevance weight 1 = ndcg(next_items)\n'
    )
    policy.write_text(head + rule + "\n")
    _train(policy, cache, tmp_path / "run", "--report-to", "tensorboard")
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    steps = [line for line in map(json.loads, text.splitlines()) if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2, 3]
    for line in steps:
        assert all(math.isfinite(value) for value in line.values() if not isinstance(value, str))
        assert ("rules/ads" in line) == ("rewards/ads/mean" in line)
        if rule.startswith("when user.country"):
            assert "rules/ads" not in line
    assert not [w for w in recwarn if "attempting to log" in str(w.message)]
