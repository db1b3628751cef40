"""Checks reports to TensorBoard: every metric once; a missing reporter is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recpolicy.errors import UsageError
from recpolicy.trainer.stages.reporting import refuse_missing
from tests.command import recpolicy
from tests.trainer.short import in_short
from tests.trainer.test_train import SETTINGS, _write_second


def test_missing_reporter_is_refused() -> None:
    refuse_missing(["json"])
    with pytest.raises(UsageError) as error:
        refuse_missing(["json", "no_such_reporter"])
    assert error.value.help == "pip install no_such_reporter"


@pytest.mark.slow
def test_tensorboard_has_every_metric_once(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    _write_second(tmp_path)
    settings = f'report_to = ["tensorboard"]\n{SETTINGS.replace("steps = 4", "steps = 10")}'
    (tmp_path / "settings.toml").write_text(settings)
    run = tmp_path / "shown"
    with in_short(tmp_path / "cache"):
        done = recpolicy(
            tmp_path, "train", "second.policy", "--data", "simulator", "--config", "settings.toml", "--out", str(run)
        )
    assert done.returncode == 0, done.stderr

    def steps(stage: str) -> dict[str, list[int]]:
        found = reader.EventAccumulator(str(run / "tensorboard" / stage))
        found.Reload()
        return {tag.removeprefix("train/"): [s.step for s in found.Scalars(tag)] for tag in found.Tags()["scalars"]}

    sft, grpo = (steps(stage) for stage in ("sft", "grpo"))
    assert sft["validation_log_likelihood"] == list(range(2, 11, 2)) and sft["loss"] == [10]
    for key in ("validation_reward", "targets/wide/multiplier", "targets/keep/shadow_price"):
        assert grpo[key] == [0, 1, 2]
    assert grpo["reward"] == grpo["effective/variety"] == grpo["rules/ads"] == [1, 2]
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for key, at in grpo.items():
        lines = [line["step"] for line in logged if line["stage"] == "grpo" and line.get(key) is not None]
        assert lines == at or key in ("epoch", "total_flos") or key.startswith("train_"), key
    assert "report_to" not in json.loads((run / "run.json").read_text())["identity"]["config"]
