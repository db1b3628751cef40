"""Checks that a run over several processes equals a run of one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from accelerate.utils import DistributedType  # type: ignore[import-untyped]
from safetensors.torch import load_file

from recpolicy.errors import UsageError
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.stages import checkpoints
from tests.command import environment, recpolicy
from tests.trainer.distributed import sharded
from tests.trainer.distributed.together import SETTINGS, ten_steps
from tests.trainer.test_train import SETTINGS as FEW_STEPS
from tests.trainer.test_train import _write_second

TOP = Path(__file__).parents[3]
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"{TOP}/examples/accelerate/cpu.yaml"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
LEARNING = (
    FEW_STEPS.replace("test_users = 40", "test_users = 20")
    .replace("layers = 1", "layers = 1\ndropout = 0.0")
    .replace("steps = 4", "steps = 40\nlearning_rate = 0.01")
    .replace("evaluate_every = 2\n", "evaluate_every = 20\n")
    .replace("steps = 2\nprompts_per_step = 2", "steps = 12\nlearning_rate = 0.01\nprompts_per_step = 2")
)
SHORTER = LEARNING.replace("steps = 40", "steps = 12").replace("evaluate_every = 20", "evaluate_every = 6")
"""With fewer steps in which differences of rounding grow: one that grows enough changes what is sampled."""
VARIED = """
policy "varied" { language = 1  data = "simulator"  slate = 4 }
reward variety weight 1 = distance(item.genres)
quota  voices hard = at most 1 per item.creator
"""
VARIANTS = {"together": ["plain", "lora", "lora checkpointing"], "sharded": ["plain", "untied checkpointing"]}
TABLE = "model.embed_tokens.weight"
FAILING = """
from recpolicy.trainer.distributed import processes

with processes.process_group():
    if not processes.is_main():
        raise ValueError("the second has no data")
    processes.barrier()
print("finished")
"""


def _run(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=_surroundings(home), capture_output=True, text=True, cwd=home, timeout=600)


def _surroundings(home: Path) -> dict[str, str]:
    found = os.pathsep.join([*environment(home).get("PYTHONPATH", "").split(os.pathsep), str(TOP)])
    return environment(home) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": found}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, as the processes have: with more, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def halves_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The steps of two processes that run the program: a folder for each of its variants. They are started once."""

    @cache
    def run(program: str) -> Path:
        folder = tmp_path_factory.mktemp(program)
        subprocess.run(
            [*TWO, "-m", f"tests.trainer.distributed.{program}", str(folder), *VARIANTS[program]],
            cwd=TOP,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
            timeout=600,
        )
        return folder

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "how"), [(program, how) for program, variants in VARIANTS.items() for how in variants]
)
def test_ten_steps_of_two_processes_equal_one_process(
    program: str, how: str, halves_of: Callable[[str], Path], tmp_path: Path
) -> None:
    halves = [torch.load(halves_of(program) / how / f"{rank}.pt") for rank in range(2)]
    alone = ten_steps(tmp_path / "alone", how.split())
    assert len(alone) == SETTINGS.steps
    for one, *two in zip(alone, *halves, strict=True):
        for half in two:  # both know everybody's rewards and the whole gradient
            for key in one.keys() - {"tokens", "advantages"}:
                torch.testing.assert_close(half[key], one[key], rtol=1e-4, atol=1e-6, equal_nan=True)
        for key in ("tokens", "advantages"):
            at = 0
            for half in two:
                width = half[key].shape[1]
                whole = one[key][at : (at := at + len(half[key]))]
                assert not whole[:, width:].any()
                torch.testing.assert_close(half[key], whole[:, :width], rtol=1e-4, atol=1e-6, equal_nan=True)
            assert at == len(one[key]) == SETTINGS.prompts_per_step * SETTINGS.generations
    assert len({float(step["gradient"]) for step in alone}) == SETTINGS.steps


def _alike(one: Any, two: Any, at: str = "") -> None:
    """The same JSON, numbers to 1e-3: sums of two processes are rounded otherwise, and training makes that larger."""
    match one:
        case dict():
            assert one.keys() == two.keys(), at
            for key in one:
                _alike(one[key], two[key], f"{at}/{key}")
        case list():
            assert len(one) == len(two), at
            for i, pair in enumerate(zip(one, two, strict=True)):
                _alike(*pair, f"{at}/{i}")
        case float():
            assert two == pytest.approx(one, rel=1e-3, abs=1e-6), at
        case _:
            assert one == two, at


@pytest.mark.slow
@pytest.mark.parametrize("stages", [("grpo",), pytest.param(("sft", "grpo"), marks=pytest.mark.long)], ids=" ".join)
def test_fsdp_run_equals_one_process_after_kills(stages: tuple[str, ...], tmp_path: Path) -> None:
    homes = [tmp_path / "alone", tmp_path / "sharded"]
    command = ["train", "varied.policy", "--data", "simulator", "--config", "settings.toml", "--out", "run"]
    for home in homes:
        home.mkdir()
        (home / "varied.policy").write_text(VARIED)
        (home / "settings.toml").write_text(SHORTER.replace("layers = 1", "layers = 2"))
    alone = recpolicy(homes[0], *command)
    assert alone.returncode == 0, alone.stderr
    resumed = [*TWO, "-m", "tests.trainer.distributed.sharded", *command, "--resume"]
    for stage in stages:
        _killed(resumed, homes[1], f"run/checkpoints/{stage}/checkpoint-*/{checkpoints.STATE}")
    done = _run(resumed, homes[1])
    assert done.returncode == 0, done.stderr
    for note in ("done before", "user model fitted before", "going on after step"):
        assert done.stdout.count(note) == 1, note
    one, two = (json.loads((home / "run" / "eval.json").read_text()) for home in homes)
    _alike(one, two)
    assert _files(homes[0] / "run") == _files(homes[1] / "run")
    steps = [_steps(home / "run") for home in homes]
    assert len({step.get("validation_reward") for step in steps[0]}) > 6, "what changes nothing would show nothing"
    _alike(steps[0], steps[1])
    kept = [load_file(home / "run" / "model" / "model.safetensors") for home in homes]
    torch.testing.assert_close(*kept, rtol=1e-3, atol=1e-4)
    assert not torch.equal(*(load_file(part)[TABLE] for part in sorted((homes[1] / "run").glob("*/model.safetensors"))))


def _steps(run: Path) -> list[dict[str, Any]]:
    """What each step of each stage came to."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = ("stage", "step", "grad_norm", "reward", "validation_log_likelihood", "validation_reward")
    return [{key: line[key] for key in told if key in line} for line in found]


def _killed(command: list[str], home: Path, until: str) -> None:
    """Run it, and end all its processes as soon as there is such a file."""
    with subprocess.Popen(command, env=_surroundings(home), cwd=home) as begun:
        while not [*home.glob(until)]:
            assert begun.poll() is None, "it ended before it was to be killed"
            time.sleep(0.05)
        for process in [*psutil.Process(begun.pid).children(recursive=True), begun]:
            process.kill()


def _files(run: Path) -> set[str]:
    return {str(path.relative_to(run)) for path in run.rglob("*")}


@pytest.mark.slow
def test_two_process_train_command_equals_one_process(tmp_path: Path) -> None:
    homes = [tmp_path / "alone", tmp_path / "shared"]
    for home in homes:
        home.mkdir()
        _write_second(home)
        (home / "settings.toml").write_text(LEARNING)
    command = ["train", "second.policy", "--data", "simulator", "--config", "settings.toml", "--out", "run"]
    done = [recpolicy(homes[0], *command), _run([*LAUNCH, "-m", "recpolicy", *command], homes[1])]
    assert [d.returncode for d in done] == [0, 0], done[1].stderr
    assert done[1].stderr == done[0].stderr == ""
    lines = [[line for line in d.stdout.splitlines() if "took" not in line] for d in done]
    assert [re.sub(r"\d+:\d\d", "", line) for line in lines[0]] == [re.sub(r"\d+:\d\d", "", line) for line in lines[1]]
    one, two = (json.loads((home / "run" / "eval.json").read_text()) for home in homes)
    rewards = [one["systems"][name]["metrics"]["reward"]["mean"] for name in ("sft", "grpo")]
    assert abs(rewards[1] - rewards[0]) > 0.001, "training that changes nothing would show nothing"
    _alike(one, two)
    assert _files(homes[0] / "run") == _files(homes[1] / "run")
    logs = [(home / "run" / "metrics.jsonl").read_text().splitlines() for home in homes]
    assert len(logs[0]) == len(logs[1])


@pytest.mark.slow
def test_usage_error_is_printed_once(tmp_path: Path) -> None:
    command = [*LAUNCH, "-m", "recpolicy", "train", "relevance", "--data", "simulator", "--out", "run"]
    (tmp_path / "settings.toml").write_text("[sft]\nbatch = 7\n")
    done = _run([*command, "--config", "settings.toml"], tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("error: 7 rows a step cannot be shared out evenly among 2 processes") == 1
    assert "exitcode  : 2" in done.stderr


@pytest.mark.slow
def test_failing_process_ends_all_processes(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(FAILING)
    done = _run([*LAUNCH, str(script)], tmp_path)
    assert done.returncode != 0 and "finished" not in done.stdout
    assert done.stderr.count("ValueError: the second has no data") == 1 and "Connection closed" not in done.stderr


def test_fsdp_without_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError) as error, processes.process_group():
        pass
    assert "GPUs" in error.value.message and "cpu.yaml" in error.value.help


@pytest.mark.slow
def test_launcher_sets_required_fsdp_settings(tmp_path: Path) -> None:
    script = tmp_path / "told.py"
    script.write_text("import json, os, sys\njson.dump(dict(os.environ), open(sys.argv[1], 'w'))")
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(sharded.EXAMPLE), "--num_processes", "1"]
    done = _run([sys.executable, *launch, str(script), str(tmp_path / "told.json")], tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert {key: told[key.upper()].lower() for key in processes.FSDP} == {
        k: v.lower() for k, v in processes.FSDP.items()
    }
    assert told["ACCELERATE_USE_FSDP"] == "true"


@pytest.mark.parametrize("setting", processes.FSDP)
def test_wrong_fsdp_setting_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes._state(), "distributed_type", DistributedType.MULTI_GPU)
    for key, value in {**sharded.surroundings(), setting.upper(): "other"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError) as error, processes.process_group():
        pass
    assert error.value.message == f"{setting} is other, and has to be {processes.FSDP[setting]}"
    assert "fsdp.yaml" in error.value.help


def test_checkpoint_is_loaded_to_cpu(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "state.pt", {"weights": torch.ones(2)})
    assert checkpoints.load(tmp_path / "state.pt", torch.device("cpu:0"))["weights"].tolist() == [1.0, 1.0]


def test_single_process_is_main() -> None:
    assert processes.is_main() and processes.count() == 1
    assert processes.own_rows(5) == range(5) and processes.batch(7, "sft.batch") == 7
    assert processes.all_gather([1, 2]) == [1, 2] and processes.on_main(lambda: 3) == processes.broadcast(3) == 3
    assert processes.batch_share(4) == 1.0
