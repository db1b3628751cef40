"""Checks rules and targets for few or no users: training continues and reports the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.short import in_short, train

HEAD = 'policy "few" { language = 1  data = "simulator"  slate = 5 }\nreward relevance weight 1 = ndcg(next_items)\n'
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


@pytest.fixture(scope="module", autouse=True)
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of stages that starts empty."""
    with in_short(tmp_path_factory.mktemp("cache")):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("rule", FOR_FEW.values(), ids=FOR_FEW)
def test_step_without_affected_users_omits_metric(rule: str, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    policy = tmp_path / "few.policy"
    policy.write_text(HEAD + rule + "\n")
    run = train(policy, tmp_path, "--report-to", "tensorboard")
    steps = [line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2, 3]
    for line in steps:
        assert all(math.isfinite(value) for value in line.values() if not isinstance(value, str))
        assert ("rules/ads" in line) == ("rewards/ads/mean" in line)
        if rule.startswith("when user.country"):
            assert "rules/ads" not in line
    assert not [w for w in recwarn if "attempting to log" in str(w.message)]
