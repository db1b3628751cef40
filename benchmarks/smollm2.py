"""Nothing in, the section "SmolLM2" of BENCHMARKS.md out: a pretrained model trained on a CPU, from nothing.

`python -m benchmarks.smollm2 --run runs/smollm2` trains by the sample policy `balanced` with the settings of
examples/smollm2.toml and a cache of its own, so that the time includes fetching the model and the data. It then lets
the trained model recommend to everybody and looks at every list without the help of what decoded it, and has the
model of SFT and the trained one sample lists for the same test users. A second run leaves out distillation, so that all
is left to GRPO.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.program import recpolicy
from recpolicy import checker, data, metrics
from recpolicy.cli.progress import TITLES
from recpolicy.metrics import Interval
from recpolicy.runs import Run
from recpolicy.trainer import pipeline
from recpolicy.trainer.config import recorded
from recpolicy.trainer.evaluate import Examiner

POLICY, DATA = "balanced", "ml-100k"
SETTINGS = Path(__file__).parents[1] / "examples" / "smollm2.toml"
MINUTES = 60
STEPS = 30
"""Steps of GRPO that have to fit into the time."""
ENDS = 10
"""Steps at the beginning and at the end of GRPO whose means are shown."""
USERS = 100
"""Test users that lists are sampled for, as many for each as in a step of GRPO."""


def faults(lists: Path, k: int) -> tuple[int, int]:
    """How many lists there are, and how many of them are not K different films of the catalog that are new to the user.

    `balanced` blocks nothing, so that is all a list has to be.
    """
    dataset = data.open(DATA, seed=0)
    films, users = set(dataset.item_ids), {user: row for row, user in enumerate(dataset.user_ids)}
    told = [json.loads(line) for line in lists.read_text("utf-8").splitlines()]
    wrong = 0
    for one in told:
        row = users[one["user_id"]]
        taken = {dataset.item_ids[item] for item in dataset.item[dataset.start[row] : dataset.start[row + 1]]}
        shown = set(one["items"])
        wrong += not (len(one["items"]) == len(shown) == k and shown <= films and not shown & taken)
    return len(told), wrong


def sampled(run: Run) -> tuple[float, float, Interval]:
    """The mean reward of lists sampled by the model of SFT, by the trained model, and the latter less the former.

    The same users are asked, and the same random numbers choose.
    """
    config, about = recorded(run), run.read()
    material = pipeline.prepare(checker.read(POLICY), about["source"], about["identity"]["model"], config)
    copies, temperature, seed = config.grpo.generations, config.grpo.temperature, config.seed
    means = []
    for folder in ("sft", "model"):
        recommender = material.load(run.folder / folder)
        examiner = Examiner.of(recommender, material.prompter, material.compiled, material.tested()).few(USERS)
        slates = examiner.sampled(recommender, copies, temperature, seed)
        rows = examiner.rows.take(np.repeat(np.arange(len(examiner.rows)), copies))
        means.append(material.compiled.total(rows, slates).reshape(-1, copies).mean(1))  # [USERS]
    before, after = means
    return metrics.mean(before), metrics.mean(after), metrics.paired(after, before, seed=seed)


def train(folder: Path, name: str, settings: Path) -> float:
    """Train `folder/name` with these settings; returns the seconds it took."""
    told = ("--data", DATA, "--model", "smollm2", "--config", str(settings), "--out", str(folder / name))
    return recpolicy("train", POLICY, *told, cache=folder / "cache", log=folder / "log.txt")


def undistilled(folder: Path) -> Path:
    """The settings without distillation, in a file."""
    text = SETTINGS.read_text("utf-8")
    with_it, without = (f"[distil]\nsteps = {steps}\n" for steps in (tomllib.loads(text)["distil"]["steps"], 0))
    if with_it not in text:
        raise ValueError(f"{SETTINGS} does not say `{with_it}`")
    settings = folder / "undistilled.toml"
    settings.write_text(text.replace(with_it, without), "utf-8")
    return settings


def section(folder: Path, minutes: float) -> str:
    """The tables."""
    run, without = folder / "run", folder / "undistilled"
    found = json.loads((run / "eval.json").read_text("utf-8"))
    config = json.loads((run / "run.json").read_text("utf-8"))["identity"]["config"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [line for line in lines if "reward" in line]
    first, last = (mean(line["reward"] for line in part) for part in (steps[:ENDS], steps[-ENDS:]))
    measured = [line["validation_reward"] for line in lines if line["stage"] == "grpo" and "validation_reward" in line]
    whole, alone = sampled(Run(run)), sampled(Run(without))
    gained = json.loads((without / "eval.json").read_text("utf-8"))["grpo_minus"]["sft"]
    valid = mean(line["valid_slates"] for line in steps)
    lists, wrong = faults(folder / "lists.jsonl", found["k"])
    rows = [
        ["minutes, from nothing to the tables", f"<= {MINUTES}", f"{minutes:.1f}", page.holds(minutes <= MINUTES)],
        ["steps of GRPO", f">= {STEPS}", str(len(steps)), page.holds(len(steps) >= STEPS)],
        _risen("", whole),
        _risen(", without distillation", alone),
        ["valid slates among those sampled", "all", f"{valid:.2%}", page.holds(valid == 1)],
        [
            "lists by `recpolicy recommend` that are not valid",
            "0",
            f"{wrong} of {lists:,}",
            page.holds(wrong == 0 and lists > 0),
        ],
    ]
    return "\n".join(
        [
            f"SmolLM2-135M-Instruct on ML-100K by the sample policy `{POLICY}`, settings of\n"
            "[examples/smollm2.toml](examples/smollm2.toml). Fetching the model's package and the data is included.\n"
            f"{_said(config)}\n",
            page.table(["", "asked", "found", "holds"], rows),
            "The reward in GRPO behind distillation:\n"
            f"of slates sampled in its first {ENDS} steps {first:.3f}, in its last {last:.3f}, for other users;\n"
            f"of greedy slates for validation users {measured[0]:.4f} before, {max(measured):.4f} at best.\n"
            "Without distillation, greedy slates for test users, GRPO's less SFT's:\n"
            f"reward {_interval(Interval(**gained['reward']))}, NDCG {_interval(Interval(**gained['ndcg']))}.\n",
            page.table(
                ["", "NDCG@10", "reward"], [_system(name, found) for name in TITLES if name in found["systems"]]
            ),
            f"Answers behind no reasoning: NDCG {found['thinking']['none']['ndcg']:.3f}; behind another user's: "
            f"{found['thinking']['another_user']['ndcg']:.3f}.\n",
            page.machine(),
        ]
    )


def _risen(how: str, found: tuple[float, float, Interval]) -> list[str]:
    before, after, risen = found
    what = f"reward of slates sampled for {USERS} test users{how}: after SFT, in the end"
    return [what, "up", f"{before:.3f}, {after:.3f}: {_interval(risen)}", page.holds(risen.low > 0)]


def _interval(of: Interval) -> str:
    return f"{of.mean:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def _said(config: dict[str, Any]) -> str:
    sft, distil, grpo = (config[stage] for stage in ("sft", "distil", "grpo"))
    return (
        f"SFT {sft['steps']} steps of {sft['batch']} rows, distillation {distil['steps']} of {distil['batch']},\n"
        f"GRPO {grpo['steps']} of {grpo['prompts']} prompts x {grpo['generations']}; {config['test_users']} test users."
    )


def _system(name: str, found: dict[str, Any]) -> list[str]:
    metrics = found["systems"][name]["metrics"]
    return [TITLES[name], *(f"{metrics[key]['mean']:.3f}" for key in ("ndcg", "reward"))]


def main() -> None:
    """Train where that is not done, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="where the run is kept")
    folder = parser.parse_args().run
    os.environ["RECPOLICY_CACHE"] = str((folder / "cache").resolve())
    taken, lists = folder / "minutes", folder / "lists.jsonl"
    if not taken.is_file():
        folder.mkdir(parents=True)
        taken.write_text(f"{train(folder, 'run', SETTINGS) / 60:.2f}\n", "utf-8")
    if not lists.is_file():
        told = ("--run", str(folder / "run"), "--out", str(lists))
        recpolicy("recommend", *told, cache=folder / "cache", log=folder / "log.txt")
    if not Run(folder / "undistilled").complete:
        train(folder, "undistilled", undistilled(folder))
    page.write("SmolLM2", section(folder, float(taken.read_text("utf-8"))))


if __name__ == "__main__":
    main()
