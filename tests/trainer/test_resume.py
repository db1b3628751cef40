"""Checks `recpolicy train --resume`: a run that is killed and resumed ends the same."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from types import SimpleNamespace
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from peft import PeftModel

from recpolicy.dataset.columns import Ragged
from recpolicy.errors import UsageError
from recpolicy.evaluation.guardrail import SUFFIX
from recpolicy.evaluation.targets import Score, TargetProgress
from recpolicy.language import checker
from recpolicy.runs import finished
from recpolicy.trainer import config, pipeline
from recpolicy.trainer.config import Sft
from recpolicy.trainer.decoding.prefix_sharing import unwrapped
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages import checkpoints, sft
from recpolicy.trainer.stages.checkpoints import Checkpoints
from recpolicy.trainer.stages.monitor import TrainingMonitor
from recpolicy.trainer.stages.multipliers import Controller
from tests.command import environment, recpolicy
from tests.trainer.quiet import quiet
from tests.trainer.small import SHARING, lora

SETTINGS = """
holdout = 3
validation_users = 40
test_users = 10
[prompt]
history = 20
think = 4
[tiny]
width = 16
layers = 1
[sft]
steps = 6
batch = 8
ema_decay = 0.5
learning_rate = 0.01
evaluate_every = 2
[grpo]
steps = 6
prompts_per_step = 4
generations = 4
ema_decay = 0.5
learning_rate = 0.1
steer_every = 1
evaluate_every = 2
"""

POLICY = """
policy "steered" { language = 1  data = "simulator"  slate = 4 }
reward relevance weight 0.6 = ndcg(next_items)
reward variety   weight ramp 0.1 to 0.4 over 50% of training = distance(item.genres)
quota  voices    hard = at most 1 per item.creator
target ads  = share(item.is_ad) >= 20%
target many = coverage(item.creator) >= 10%
"""


class Killed(Exception):
    """Raised to end a run at a chosen moment."""


@dataclass
class Witness:
    """Records the notes of a run and kills it at a moment: a stage, `stage step` or `stage validation step`."""

    until: str = ""
    heard: list[str] = field(default_factory=list)

    def stage(self, name: str, note: str) -> None:
        self.heard.append(f"{name}: {note}")
        self._kill(name)

    def validated(self, stage: str, step: int, steps: int, score: Score) -> None:
        self._kill(f"{stage} validation {step}")

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        self._kill(f"grpo step {step}")

    def targets_measured(self, step: int, targets: Sequence[TargetProgress]) -> None:
        pass

    def _kill(self, moment: str) -> None:
        if moment == self.until:
            raise Killed


@dataclass(frozen=True)
class Home:
    """A folder with the policy, settings, and a cache that starts empty."""

    folder: Path

    @staticmethod
    def made(folder: Path) -> Home:
        folder.mkdir(exist_ok=True)
        (folder / "steered.policy").write_text(POLICY)
        (folder / "settings.toml").write_text(SETTINGS)
        return Home(folder)

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def train(self, witness: Witness, *, resume: bool) -> None:
        """Train in this process."""
        with pytest.MonkeyPatch.context() as around:
            around.setenv("RECPOLICY_CACHE", str(self.folder / "cache"))
            loaded = checker.read(str(self.folder / "steered.policy"))
            settings = config.load(self.folder / "settings.toml", {})
            pipeline.train(loaded, "simulator", "tiny", settings, self.run, witness, resume=resume)

    def killed(self, moment: str, *, resume: bool = True) -> Witness:
        """Train until then."""
        witness = Witness(moment)
        with pytest.raises(Killed):
            self.train(witness, resume=resume)
        return witness

    @property
    def command(self) -> tuple[str, ...]:
        """The same by the program, in a process of its own."""
        return ("train", "steered.policy", "--data", "simulator", "--config", "settings.toml", "--out", "run")


def lines(run: Path) -> list[dict[str, Any]]:
    """The log of a run without its times."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "step_time" and not k.startswith("time/")} for line in found]


def alike(one: Path, other: Path) -> None:
    """Assert that two run folders hold the same."""
    files = [sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()) for run in (one, other)]
    assert files[0] == files[1]
    assert lines(one) == lines(other)
    for file in files[0]:
        if file != "metrics.jsonl":
            assert (one / file).read_bytes() == (other / file).read_bytes(), file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came between."""
    home = Home.made(tmp_path_factory.mktemp("whole"))
    home.train(Witness(), resume=False)
    return home.run


def test_resume_continues_every_stage(whole: Path, tmp_path: Path) -> None:
    home = Home.made(tmp_path)
    first = home.killed("sft validation 4")
    assert f"data: {home.run} holds no run to go on with: it begins" in first.heard
    with pytest.raises(UsageError) as error:
        home.train(Witness(), resume=False)
    assert "unfinished run" in error.value.message and "--resume" in error.value.help
    second = home.killed("users")
    assert any("going on after step 2" in note for note in second.heard if note.startswith("sft"))
    third = home.killed("grpo step 3")
    assert {"sft: done before", "users: user model fitted before"} <= set(third.heard)
    torn = home.run / "checkpoints" / "grpo" / "checkpoint-4"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"\0\0")
    with (home.run / "metrics.jsonl").open("a") as log:
        log.write('{"stage": "grpo", "st')
    fourth = home.killed("eval")
    assert {"sft: done before", "users: user model fitted before"} <= set(fourth.heard)
    assert any("going on after step 2" in note for note in fourth.heard if note.startswith("grpo"))
    home.train(Witness(), resume=True)
    alike(home.run, whole)
    again = Witness()
    home.train(again, resume=True)
    assert "nothing to do" in again.heard[-1]


def test_reference_run_changes_in_every_stage(whole: Path) -> None:
    log = lines(whole)
    multipliers = [line["targets/ads/multiplier"] for line in log if "targets/ads/multiplier" in line]
    assert len(multipliers) == 7 and len(set(multipliers)) > 3
    assert sum(f"targets/relevance{SUFFIX}/multiplier" in line for line in log) == 7
    measured = [
        (line["validation_violation"], line["validation_reward"]) for line in log if "validation_violation" in line
    ]
    assert len(measured) == 4 and measured[0][0] > measured[3][0] and len(set(measured)) > 2
    likelihoods = [line["validation_log_likelihood"] for line in log if line["stage"] == "sft"]
    assert len(set(likelihoods)) == 3


def test_stage_without_checkpoint_restarts(whole: Path, tmp_path: Path) -> None:
    home = Home.made(tmp_path)
    home.killed("sft validation 2")
    home.killed("grpo validation 0")
    home.train(Witness(), resume=True)
    alike(home.run, whole)


def test_latest_complete_checkpoint_is_kept(tmp_path: Path) -> None:
    assert Checkpoints.found(tmp_path / "nothing").last is None
    for step in (8, 10, 9, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 100:
            checkpoints.save(tmp_path / f"checkpoint-{step}" / checkpoints.STATE, {"weights": torch.arange(3)})
    found = Checkpoints.found(tmp_path)
    assert found.last == tmp_path / "checkpoint-10" and found.step == 10
    assert list(tmp_path.iterdir()) == [found.last]
    kept = checkpoints.load(found.last / checkpoints.STATE, torch.device("cpu"))
    assert kept["weights"].tolist() == [0, 1, 2]


def test_concurrent_writers_leave_one_folder(tmp_path: Path) -> None:
    with finished(tmp_path / "stage") as mine:
        (mine / "model").write_text("mine")
        with finished(tmp_path / "stage") as theirs:
            (theirs / "model").write_text("theirs")
    assert (tmp_path / "stage" / "model").read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [tmp_path / "stage"]


def test_early_stopped_stage_is_not_trained_further(recommender: Recommender, tmp_path: Path) -> None:
    told, said = ["history <item_1> recommend"] * 4, ["<answer> <item_2> </answer>"] * 4
    settings = Sft(steps=9, batch=2, learning_rate=0.01, evaluate_every=1, patience=2)
    weights, steps = [], list[int]()
    for _ in range(2):
        own = replace(recommender, model=deepcopy(recommender.model))
        best = sft.train(
            own,
            sft.token_rows(own, told, said, Ragged.of([[1]] * 4)),
            settings,
            quiet(tmp_path),
            lambda: Score(0.0, 1.0 / (1 + len(steps))),
            lambda step, score: steps.append(step),
        )
        assert best.value == 1.0
        weights.append(torch.cat([p.flatten() for p in own.model.parameters()]))
    assert steps == [1, 2, 3] and torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("adapted", [False, True])
def test_sft_resumes_with_and_without_adapters(recommender: Recommender, tmp_path: Path, adapted: bool) -> None:
    whole = fine_tuned(fresh(recommender, adapted), tmp_path / "whole")
    for moment in (4, 6):
        with pytest.raises(Killed):
            fine_tuned(fresh(recommender, adapted), tmp_path / "killed", until=moment)
    assert torch.equal(fine_tuned(fresh(recommender, adapted), tmp_path / "killed"), whole)
    assert (whole - weights(fresh(recommender, adapted))).abs().max() > 0.01


def fresh(recommender: Recommender, adapted: bool) -> Recommender:
    """A copy to train, or a model with adapters in its place."""
    if not adapted:
        return replace(recommender, model=deepcopy(recommender.model))
    base = recommender.form.item_base
    model = lora(SHARING["rope"], trainable_token_indices=[base, base + 2], lora_dropout=0.5)
    assert isinstance(model, PeftModel)
    return replace(recommender, model=unwrapped(model), adapters=model)


def fine_tuned(own: Recommender, folder: Path, until: int = 0) -> torch.Tensor:
    """The weights after fine-tuning, of which those count as best that have come farthest; killed at a step."""
    settings, begun = Sft(steps=6, batch=2, learning_rate=0.01, warmup=0, evaluate_every=2), weights(own)
    told, said = [f"history <item_{i}> recommend" for i in range(12)], ["<answer> <item_2> </answer>"] * 12

    def score() -> Score:
        return Score(0.0, float((weights(own) - begun).abs().sum()))

    def report(step: int, score: Score) -> None:
        if step == until:
            raise Killed

    examples = sft.token_rows(own, told, said, Ragged.of([[i] for i in range(12)]))
    sft.train(own, examples, settings, quiet(folder), score, report)
    return weights(own)


def weights(own: Recommender) -> torch.Tensor:
    """All of them, in one row."""
    return torch.cat([weight.detach().flatten() for weight in own.trained.parameters()])


def test_collapse_monitor_state_is_restored(tmp_path: Path) -> None:
    monitor = TrainingMonitor(Controller({}, 1.0), lambda step, logs: None)
    control = SimpleNamespace(should_training_stop=False)
    for step in range(1, 31):
        if step in (10, 25):
            checkpoints.save(tmp_path / "alarms.pt", monitor.state_dict())
            monitor = TrainingMonitor(Controller({}, 1.0), lambda step, logs: None)
            monitor.load_state_dict(checkpoints.load(tmp_path / "alarms.pt", torch.device("cpu")))
        logs = {"reward": 1.0, "frac_groups_zero_std": 0.0, "entropy": 1.0 if step <= 5 else 0.01}
        monitor.on_log(None, SimpleNamespace(global_step=step), control, logs=logs)
        assert control.should_training_stop == (step >= 25)
    assert "collapsed" in str(monitor.stopped)


@pytest.mark.long
def test_run_killed_at_random_moments_ends_the_same(whole: Path, tmp_path: Path) -> None:
    """Moments are drawn over the work of a whole run; a run that is over before ten were is followed by another."""
    rng, kills, runs = random.Random(6), 0, 0
    before = getrusage(RUSAGE_CHILDREN)
    assert lived(Home.made(tmp_path / "reference")) == 0
    after = getrusage(RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    alike(tmp_path / "reference" / "run", whole)
    while kills < 10:
        home, runs = Home.made(tmp_path / f"killed-{runs}"), runs + 1
        while code := lived(home, rng.uniform(0.3, 1.0) * work if kills < 10 else math.inf):
            assert code == -signal.SIGKILL
            kills += 1
        alike(home.run, whole)


def begun(home: Home) -> subprocess.Popen[bytes]:
    """The program at work on the run."""
    command = [sys.executable, "-m", "recpolicy", *home.command, "--resume"]
    return subprocess.Popen(command, env=environment(home.folder), cwd=home.folder, stdout=subprocess.DEVNULL)


def lived(home: Home, work: float = math.inf) -> int:
    """Go on with the run until the program has used so many seconds of a core, then kill it; its exit code."""
    program = begun(home)
    spent = psutil.Process(program.pid).cpu_times
    while program.poll() is None and sum(spent()[:2]) < work:
        time.sleep(0.005)
    program.kill()
    return program.wait()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [pytest.param("sft", marks=pytest.mark.long), "grpo"])
def test_run_killed_during_checkpoint_write_ends_the_same(whole: Path, tmp_path: Path, stage: str) -> None:
    home = Home.made(tmp_path)
    program = begun(home)
    torn = home.run / "checkpoints" / stage / "checkpoint-4"
    while not torn.is_dir():
        assert program.poll() is None
        time.sleep(0.001)
    program.kill()
    program.wait()
    assert not (torn / checkpoints.STATE).is_file()
    assert recpolicy(home.folder, *home.command).returncode == 2
    assert lived(home) == 0
    alike(home.run, whole)
