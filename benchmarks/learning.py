"""Measures whether training delivers what a policy demands, and writes the section "Learning" of BENCHMARKS.md.

`python -m benchmarks.learning --runs runs/learning` trains what is missing in that folder, one run after the other, and
writes the section from all that is complete there. Stop it at any time: complete runs stay, a broken one begins anew.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from benchmarks import page
from benchmarks.learned import REAL_LABELS, REASONING, Experiment, Finished, Part, section
from benchmarks.program import recpolicy
from recpolicy import data
from recpolicy.runs import finished as written

POLICIES = Path(__file__).parent / "policies"
DATA = Path("../shared/data")
FILMS, BOOKS, SMALL = "ml-100k", "goodbooks", "ml-latest-small"
SEVEN = "seven-"
"""Begins the names of data sets that hold the last EVENTS of each user."""
EVENTS = 7

EXPERIMENTS = (
    Experiment("balanced", "balanced", "balanced", FILMS, least=0.012),
    Experiment("mixed-goodbooks", "mixed", "mixed.policy", BOOKS),
    Experiment("mixed-ml-latest-small", "mixed", "mixed.policy", SMALL),
    Experiment("relevance", "relevance", "relevance", FILMS, least=1.08),
    Experiment("relevance-goodbooks", "relevance", "relevance", BOOKS, least=1),
    Experiment("relevance-ml-latest-small", "relevance", "relevance", SMALL, least=1),
    Experiment("seven-goodbooks", "seven", "relevance", SEVEN + BOOKS, least=1),
    Experiment("seven-ml-latest-small", "seven", "relevance", SEVEN + SMALL, least=1),
    Experiment("varied", "targets", "varied.policy", FILMS, least=1.02, target="variety"),
    Experiment("newcomers", "targets", "newcomers.policy", BOOKS, least=1.02, target="growth"),
    Experiment("recent", "targets", "recent.policy", SMALL, target="recent", aimed=True),
    Experiment("balanced-real-labels", "ablation", "balanced", FILMS, settings=REAL_LABELS),
    Experiment("balanced-reasoning", "ablation", "balanced", FILMS, settings=REASONING),
)
"""All that is run."""


def last_events(source: Path, folder: Path, count: int = EVENTS) -> Path:
    """Writes a data folder that holds each user's last events of another, if it is not there; returns it.

    Items and users are as they are, also those that do not occur any more.
    """
    if not folder.is_dir():
        log = pq.read_table(source / "interactions.parquet")
        _, user = np.unique(np.asarray(log["user_id"]).astype(str), return_inverse=True)
        latest = np.lexsort((-np.asarray(log["order"]), user))  # by user, the last event first
        place = np.arange(len(user)) - np.searchsorted(user[latest], user[latest])
        with written(folder) as work:
            pq.write_table(log.take(np.sort(latest[place < count])), work / "interactions.parquet")
            for table in ("items.parquet", "users.parquet"):
                shutil.copyfile(source / table, work / table)
    return folder


def source(name: str, given: Path, runs: Path) -> str | None:
    """Returns what `--data` takes for a data set, made beside the runs if need be; None where its folder is absent."""
    if name == FILMS:
        return name
    whole = given / name.removeprefix(SEVEN)
    if not whole.is_dir():
        return None
    return str(last_events(whole, runs / "data" / name) if name.startswith(SEVEN) else whole)


def train(experiment: Experiment, read: str, runs: Path, seed: int, alone: bool) -> None:
    """Completes one run on the data set `read`. Ends the program with what `recpolicy train` said where that fails.

    The folder gets `run/`, `log.txt` and at last `complete`, with the seconds it took and whether alone. The runs of a
    data set and seed share a cache: the first of them trains the fine-tuned model and the others find it there.
    """
    folder = _folder(experiment, runs, seed)
    complete, cache = (folder / "complete").is_file(), runs / "caches" / f"{experiment.data}-{seed}"
    if not complete:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if read == FILMS and not (cache / FILMS).is_dir():
            data.open(FILMS, seed=seed)
            shutil.copytree(data.cache() / FILMS, cache / FILMS)
        if experiment.settings:
            (folder / "settings.toml").write_text(experiment.settings, "utf-8")
    policy = POLICIES / experiment.policy
    command = ["train", str(policy) if policy.is_file() else experiment.policy]
    command += ["--data", read, "--seed", str(seed), "--out", str(folder / "run")]
    if experiment.settings:
        command += ["--config", str(folder / "settings.toml")]
    print(f"{time.strftime('%H:%M')} {folder.name}{' is complete' if complete else ''}", flush=True)
    seconds = recpolicy(*command, cache=cache, log=folder / "log.txt")
    if not complete:
        (folder / "complete").write_text(f"{seconds:.0f} {'alone' if alone else 'beside'}\n", "utf-8")


def finished(experiment: Experiment, runs: Path, seeds: Sequence[int]) -> tuple[Finished, ...]:
    """Returns the complete runs of an experiment."""
    folders = {seed: _folder(experiment, runs, seed) for seed in seeds}
    return tuple(Finished.read(folder, seed) for seed, folder in folders.items() if (folder / "complete").is_file())


def _folder(experiment: Experiment, runs: Path, seed: int) -> Path:
    return runs / f"{experiment.name}-{seed}"


def left_out(experiment: Experiment, given: Path, found: Sequence[Finished], seeds: Sequence[int]) -> str | None:
    """Says which runs of an experiment the section lacks, and why; None where it has all of them."""
    if len(found) == len(seeds):
        return None
    name = experiment.data.removeprefix(SEVEN)
    absent = name != FILMS and not (given / name).is_dir()
    why = f"the data {name} are not there" if absent else f"{len(seeds) - len(found)} of {len(seeds)} seeds not run"
    return f"{experiment.title} ({experiment.name}; {why})"


def main() -> None:
    """Trains what is missing, then writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parts = get_args(Part)
    parser.add_argument(
        "--only",
        nargs="+",
        default=parts,
        choices=parts,
        metavar="PART",
        help=f"what to train: {', '.join(parts)}; default: all",
    )
    parser.add_argument("--beside", action="store_true", help="other work shares the machine, which the table says")
    parser.add_argument("--table-only", action="store_true", help="train nothing")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help=f"of data folders; default: {DATA}")
    arguments = parser.parse_args()
    given, runs, seeds = arguments.data, arguments.runs, arguments.seeds
    planned = [] if arguments.table_only else [e for e in EXPERIMENTS if e.part in arguments.only]
    for experiment in planned:
        if (read := source(experiment.data, given, runs)) is None:
            print(f"{experiment.name} is left out: {given} lacks its data", flush=True)
            continue
        for seed in seeds:
            train(experiment, read, runs, seed, alone=not arguments.beside)
    found = {e: finished(e, runs, seeds) for e in EXPERIMENTS}
    missing = [told for e, complete in found.items() if (told := left_out(e, given, complete, seeds))]
    done = {e: complete for e, complete in found.items() if complete}
    if not done:
        sys.exit(f"{runs} holds no complete run")
    page.write("Learning", section(done, missing))


if __name__ == "__main__":
    main()
