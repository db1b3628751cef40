"""Policies and seeds in, the section "Learning" of BENCHMARKS.md out: does training deliver what a policy demands?

`python -m benchmarks.learning --runs runs/learning` trains what is missing in that folder, one run after the other, and
writes the section from all that is complete there. Stop it at any time: complete runs stay, a broken one begins anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page
from benchmarks.learned import Experiment, Finished, section
from benchmarks.program import recpolicy
from recpolicy import data

POLICIES = Path(__file__).parent / "policies"
GOODBOOKS = Path("../shared/data/goodbooks")
WEIGHTS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def experiments(goodbooks: Path) -> tuple[Experiment, ...]:
    """All that is run: the demands of each part, then the same demands by fixed weights."""
    films, books = "ml-100k", str(goodbooks)
    return (
        Experiment("relevance", "a", "relevance", films, "(a) relevance only"),
        Experiment("varied", "b", "varied.policy", films, "(b) variety", "variety"),
        Experiment("newcomers", "c", "newcomers.policy", books, "(c) new creators", "growth"),
        *(Experiment("varied", "sweep", "varied_by_weight.policy", films, "", "variety", w) for w in WEIGHTS),
        *(Experiment("newcomers", "sweep", "newcomers_by_weight.policy", books, "", "growth", w) for w in WEIGHTS),
    )


def train(experiment: Experiment, runs: Path, seed: int, alone: bool) -> None:
    """Complete one run. Ends the program with what `recpolicy train` said where that fails.

    The folder gets `run/`, `cache/`, `log.txt` and at last `complete`, with the seconds it took and whether alone. A
    run has its own cache and so pays for all its stages; only the sweep starts from the SFT model of the run with
    targets, where there is one.
    """
    folder = _folder(experiment, runs, seed)
    complete = (folder / "complete").is_file()
    if not complete:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    cache = runs / f"{experiment.name}-{seed}" / "cache"
    if experiment.source == "ml-100k" and not cache.is_dir():
        data.open("ml-100k", seed=seed)  # fetched once for all runs
        shutil.copytree(data.cache() / "ml-100k", cache / "ml-100k")
    policy = POLICIES / experiment.policy
    command = ["train", str(policy) if policy.is_file() else experiment.policy]
    command += ["--data", experiment.source, "--seed", str(seed), "--out", str(folder / "run")]
    if experiment.weight is not None:
        command += ["--set", f"by_hand={experiment.weight}"]
    print(f"{time.strftime('%H:%M')} {folder.name}{' is complete' if complete else ''}", flush=True)
    seconds = recpolicy(*command, cache=cache, log=folder / "log.txt")
    if not complete:
        (folder / "complete").write_text(f"{seconds:.0f} {'alone' if alone else 'beside'}\n", "utf-8")


def finished(experiment: Experiment, runs: Path, seeds: Sequence[int]) -> tuple[Finished, ...]:
    """The complete runs of an experiment."""
    folders = {seed: _folder(experiment, runs, seed) for seed in seeds}
    return tuple(_read(seed, folder) for seed, folder in folders.items() if (folder / "complete").is_file())


def _folder(experiment: Experiment, runs: Path, seed: int) -> Path:
    weight = "" if experiment.weight is None else f"-by-{experiment.weight:g}"
    return runs / f"{experiment.name}{weight}-{seed}"


def _read(seed: int, folder: Path) -> Finished:
    run = folder / "run"
    seconds, how = (folder / "complete").read_text("utf-8").split()
    lines = map(json.loads, (run / "metrics.jsonl").read_text("utf-8").splitlines())
    return Finished(
        seed=seed,
        minutes=float(seconds) / 60,
        alone=how == "alone",
        found=json.loads((run / "eval.json").read_text("utf-8")),
        kept=json.loads((run / "sft" / "stage.json").read_text("utf-8"))["validation_ndcg"],
        measured={line["step"]: line["validation_ndcg"] for line in lines if line["stage"] == "sft"},
    )


def main() -> None:
    """Train what is missing, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parts = ["a", "b", "c", "sweep"]
    parser.add_argument("--only", nargs="+", default=parts, choices=parts, help="what to train; default: all")
    parser.add_argument("--beside", action="store_true", help="other work shares the machine, which the table says")
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--goodbooks", type=Path, default=GOODBOOKS, metavar="FOLDER", help=f"default: {GOODBOOKS}")
    arguments = parser.parse_args()
    planned = experiments(arguments.goodbooks)
    if not arguments.table_only:
        for experiment in (e for e in planned if e.part in arguments.only):
            for seed in arguments.seeds:
                train(experiment, arguments.runs, seed, alone=not arguments.beside)
    done = {e: runs for e in planned if (runs := finished(e, arguments.runs, arguments.seeds))}
    if not done:
        sys.exit(f"{arguments.runs} holds no complete run")
    page.write("Learning", section(done))


if __name__ == "__main__":
    main()
