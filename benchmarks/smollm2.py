"""Trains a pretrained model on a CPU, from nothing, and writes the section "SmolLM2" of BENCHMARKS.md.

`python -m benchmarks.smollm2 --run runs/smollm2` trains by the sample policy `balanced` with the settings of
examples/smollm2.toml and a cache of its own, so that the time includes fetching the model and the data. It then lets
the trained model recommend to everybody and looks at every list without the help of what decoded it, and has the
model of SFT, without and with the prior of the user model, and the trained one sample lists for the same test users.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.learned import SYSTEMS
from benchmarks.program import recpolicy
from recpolicy import data
from recpolicy.dataset.columns import Floats
from recpolicy.evaluation import metrics
from recpolicy.evaluation.linear import Scores
from recpolicy.evaluation.metrics import Interval
from recpolicy.language import checker
from recpolicy.runs import Run
from recpolicy.trainer import pipeline
from recpolicy.trainer.config import recorded
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import user_model
from recpolicy.trainer.models.recommenders import Recommender

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
    """Counts the lists, and those of them that are not K different films of the catalog that are new to the user.

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


def sampled(run: Run) -> tuple[float, dict[str, tuple[float, Interval]]]:
    """Has models sample lists for the same test users, with the same random numbers.

    Returns the trained model's mean reward; that of each model before it, and how much more the trained one's is.
    """
    config, about = recorded(run), run.read()
    context = pipeline.prepare(checker.read(POLICY), about["source"], about["identity"]["model"], config)
    fine_tuned, trained = (context.load(run.folder / folder) for folder in ("sft", "model"))
    tested = context.tested()
    rows = tested.take(np.arange(min(USERS, len(tested))))
    shares = user_model.load(run.folder, fine_tuned, context.prompter).next_item_log_probs(rows)
    prior = user_model.prior(shares, context.k)
    copies, temperature, seed = config.grpo.generations, config.grpo.temperature, config.seed
    every = rows.take(np.repeat(np.arange(len(rows)), copies))

    def rewards(recommender: Recommender, prior: Scores | None) -> Floats:
        """Returns the mean over each user's lists, [USERS]."""
        evaluator = Evaluator.of(recommender, context.prompter, context.compiled, rows, prior)
        slates = evaluator.sampled(recommender, copies, temperature, seed)
        return np.asarray(context.compiled.total(every, slates).reshape(-1, copies).mean(1))

    after = rewards(trained, prior)
    before = {"SFT": rewards(fine_tuned, None), "SFT with prior": rewards(fine_tuned, prior)}
    return metrics.mean(after), {
        name: (metrics.mean(own), metrics.paired(after, own, seed=seed)) for name, own in before.items()
    }


def train(folder: Path) -> float:
    """Trains `folder/run`; returns the seconds it took."""
    told = ("--data", DATA, "--model", "smollm2", "--config", str(SETTINGS), "--out", str(folder / "run"))
    return recpolicy("train", POLICY, *told, cache=folder / "cache", log=folder / "log.txt")


def section(folder: Path, minutes: float) -> str:
    """Writes the tables."""
    run = folder / "run"
    found = json.loads((run / "eval.json").read_text("utf-8"))
    config = json.loads((run / "run.json").read_text("utf-8"))["identity"]["config"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [line for line in lines if "reward" in line]
    first, last = (mean(line["reward"] for line in part) for part in (steps[:ENDS], steps[-ENDS:]))
    measured = [line["validation_reward"] for line in lines if line["stage"] == "grpo" and "validation_reward" in line]
    (after, before), gained = sampled(Run(run)), found["grpo_minus"]["prior"]
    valid = mean(line["valid_slates"] for line in steps)
    lists, wrong = faults(folder / "lists.jsonl", found["k"])
    rows = [
        ["minutes, from nothing to the tables", f"<= {MINUTES}", f"{minutes:.1f}", page.holds(minutes <= MINUTES)],
        ["steps of GRPO", f">= {STEPS}", str(len(steps)), page.holds(len(steps) >= STEPS)],
        *(_risen(name, own, after, more) for name, (own, more) in before.items()),
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
            "The reward in GRPO:\n"
            f"of slates sampled in its first {ENDS} steps {first:.3f}, in its last {last:.3f}, for other users;\n"
            f"of greedy slates for validation users {measured[0]:.4f} before, {max(measured):.4f} at best.\n"
            "Of greedy slates for test users, GRPO's less those of SFT with prior:\n"
            f"reward {_interval(Interval(**gained['reward']))}, NDCG {_interval(Interval(**gained['ndcg']))}.\n"
            f"Verdict: {found['verdict']}.\n",
            page.table(["", "NDCG@10", "reward"], [_system(name, found) for name in SYSTEMS]),
            f"Answers behind no reasoning: NDCG {found['thinking']['none']['ndcg']:.3f}; behind another user's: "
            f"{found['thinking']['another_user']['ndcg']:.3f}.\n",
            page.machine(),
        ]
    )


def _risen(before: str, was: float, now: float, more: Interval) -> list[str]:
    what = f"reward of slates sampled for {USERS} test users: {before}, GRPO"
    return [what, "up", f"{was:.3f}, {now:.3f}: {_interval(more)}", page.holds(more.low > 0)]


def _interval(of: Interval) -> str:
    return f"{of.mean:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def _said(config: dict[str, Any]) -> str:
    sft, grpo = config["sft"], config["grpo"]
    return (
        f"SFT {sft['steps']} steps of {sft['batch']} rows,\n"
        f"GRPO {grpo['steps']} of {grpo['prompts']} prompts x {grpo['generations']}; {config['test_users']} test users."
    )


def _system(name: str, found: dict[str, Any]) -> list[str]:
    metrics = found["systems"][name]["metrics"]
    return [SYSTEMS[name], *(f"{metrics[key]['mean']:.3f}" for key in ("ndcg", "reward"))]


def main() -> None:
    """Trains where that is not done, then writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="where the run is kept")
    folder = parser.parse_args().run
    os.environ["RECPOLICY_CACHE"] = str((folder / "cache").resolve())
    taken, lists = folder / "minutes", folder / "lists.jsonl"
    if not taken.is_file():
        folder.mkdir(parents=True)
        taken.write_text(f"{train(folder) / 60:.2f}\n", "utf-8")
    if not lists.is_file():
        told = ("--run", str(folder / "run"), "--out", str(lists))
        recpolicy("recommend", *told, cache=folder / "cache", log=folder / "log.txt")
    page.write("SmolLM2", section(folder, float(taken.read_text("utf-8"))))


if __name__ == "__main__":
    main()
