"""Checks training with a split by time: later events are ignored, and all commands use the split of the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from recpolicy import cli, data
from recpolicy.dataset.rows import Dataset, Split
from recpolicy.errors import UsageError
from recpolicy.trainer import config
from recpolicy.trainer.prompting.contexts import endings
from tests.trainer import platform, short

POLICY = """
policy "timed" { language = 1  data = "simulator"  slate = 4 }
reward relevance weight 0.5 = ndcg(next_items)
reward surprise  weight 0.2 = novelty(item.popularity)
boost  fresh     weight 0.2 = item.published within the last 30 days
bury   newcomers weight 0.1 = now - item.creator_since < 60 days
target unknown = novelty(item.popularity) >= 10%
"""


@dataclass(frozen=True)
class Runs:
    """Two runs on data that are the same before the cut, in the folders `before` and `other`."""

    home: Path
    by: str

    def file(self, name: str, *parts: str) -> Path:
        return self.home.joinpath(name, "run", *parts)

    def read(self, name: str, *parts: str) -> Any:
        return json.loads(self.file(name, *parts).read_text("utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("home")
    platform.write(home / "data")
    events = [json.loads(line) for line in (home / "data" / "interactions.jsonl").read_text("utf-8").splitlines()]
    latest = sorted(event["timestamp"] for event in events)[-len(events) // 10]
    by = datetime.fromtimestamp(latest, UTC).isoformat()
    with short.in_short(home / "cache"):
        for name, own in (("before", events), ("other", changed(events, latest))):
            (home / name).mkdir()
            lines = "".join(json.dumps(event) + "\n" for event in own)
            (home / "data" / "interactions.jsonl").write_text(lines, "utf-8")
            (home / "timed.policy").write_text(POLICY)
            settings = f'split = "{by}"\nholdout = 3\n' + short.SETTINGS.replace("[prompt]", "[prompt]\npool = 100")
            (home / "settings.toml").write_text(settings)
            assert train(home, name) == 0
        yield Runs(home, by)


def train(home: Path, name: str, *more: str) -> int:
    words = ["train", str(home / "timed.policy"), "--data", str(home / "data"), "--out", str(home / name / "run")]
    return cli.main([*words, "--config", str(home / "settings.toml"), *more])


def changed(events: list[dict[str, Any]], cut: int) -> list[dict[str, Any]]:
    """The events with as many others from the cut on: other users, of those known before, other items and times."""
    rng = np.random.default_rng(1)
    known = sorted({event["user_id"] for event in events if event["timestamp"] < cut})
    other = dict(zip(known, rng.permutation(known).tolist(), strict=True))
    items = sorted({event["item_id"] for event in events})
    taken = {(event["user_id"], event["item_id"]) for event in events if event["timestamp"] < cut}
    out = []
    for event in events:
        if event["timestamp"] >= cut:
            user = other.get(event["user_id"], event["user_id"])
            item = next(item for item in rng.permutation(items).tolist() if (user, item) not in taken)
            taken.add((user, item))  # what is taken again would not count
            event = {"user_id": user, "item_id": item, "timestamp": cut + int(rng.integers(90 * 86_400))}
        out.append(event)
    return out


@pytest.mark.slow
def test_events_after_cut_do_not_change_training(runs: Runs) -> None:
    for parts in (("sft", "model.safetensors"), ("model", "model.safetensors"), ("user_model.safetensors",)):
        before, other = (load_file(str(runs.file(name, *parts))) for name in ("before", "other"))
        assert before.keys() == other.keys()
        for key, weights in before.items():
            np.testing.assert_array_equal(weights, other[key], err_msg=f"{parts}: {key}")
    assert runs.read("before", "items.json") == runs.read("other", "items.json")
    logs = [measured(runs.file(name, "metrics.jsonl")) for name in ("before", "other")]
    assert logs[0] == logs[1] and any("targets/unknown/multiplier" in line for line in logs[0])
    digests = {runs.read(name, "run.json")["identity"]["data"] for name in ("before", "other")}
    assert len(digests) == 2, "the data did differ"
    judged = [runs.read(name, "eval.json")["user_model"]["log_likelihood"]["test"] for name in ("before", "other")]
    assert judged[0] != judged[1], "and so did what the test users took"


def measured(log: Path) -> list[dict[str, Any]]:
    """The lines of a log without the seconds that things took."""
    lines = map(json.loads, log.read_text("utf-8").splitlines())
    return [{key: line[key] for key in line if "time" not in key and "per_second" not in key} for line in lines]


@pytest.mark.slow
def test_run_reports_its_split(runs: Runs) -> None:
    found = runs.read("before", "eval.json")["split"]
    assert (found["by"], found["holdout"]) == (runs.by, 3)
    assert found["validation_from"] < found["test_from"] == datetime.fromisoformat(runs.by).timestamp()
    assert found["notes"][0].startswith("Test: the 1,1")
    assert runs.read("before", "run.json")["identity"]["config"]["split"] == runs.by


@pytest.mark.slow
def test_resume_refuses_other_split(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(runs.home, "other", "--resume") == 0
    assert "is complete" in capsys.readouterr().out
    settings = runs.home / "settings.toml"
    own = settings.read_text()
    settings.write_text(own.replace(runs.by, "last 20%"))
    assert train(runs.home, "other", "--resume") == 2
    assert f"split is '{runs.by}', now 'last 20%'" in " ".join(capsys.readouterr().err.split())
    settings.write_text(own)


@pytest.mark.slow
def test_recommend_and_profile_use_split_of_run(
    runs: Runs, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, own = list[str](), data.split

    def split(dataset: Dataset, by: str, *, holdout: int) -> Split:
        asked.append(by)
        return own(dataset, by, holdout=holdout)

    monkeypatch.setattr(data, "split", split)
    folder = str(runs.file("other"))
    assert cli.main(["recommend", "--run", folder, "--user", "u0001", "u0002", "--format", "json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["profile", str(runs.home / "timed.policy"), "--run", folder, "--format", "json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["users"] > 10
    assert asked == [runs.by] * 2


def test_end_of_training_rows_use_time_of_cut() -> None:
    dataset = data.open("simulator")
    split = data.split(dataset, "last 10%", holdout=3)
    rows = endings(dataset, split)
    assert (rows.now == split.validation_from).all() and (dataset.time[split.train_end[rows.user] - 1] < rows.now).all()


# ---- the setting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "read"),
    [
        ("leave-one-out", "leave-one-out"),
        ("last 10%", "last 10%"),
        ("2024-05-01T12:30:00Z", "2024-05-01T12:30:00Z"),
        (date(2024, 5, 1), "2024-05-01"),  # as TOML has it without quotes
    ],
)
def test_split_setting_accepts_four_forms(by: object, read: str) -> None:
    assert config.load(None, {"split": by}).split == read


@pytest.mark.parametrize("by", ["users", "10%", "last 70%", "2024-13-01", 0.1])
def test_invalid_split_setting_is_refused(by: object) -> None:
    with pytest.raises(UsageError, match=f"setting `split`: .*write .* it is {by!r}"):
        config.load(None, {"split": by})
