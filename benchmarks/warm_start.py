"""Nothing in, the section "Warm start" of BENCHMARKS.md out: what `train --from` brings, beside training anew.

`python -m benchmarks.warm_start` trains `tiny` on ML-100K as it was before the last tenth of its events by time,
without the films that nobody had taken then. With all data it goes on from that run, and trains anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks import page
from recpolicy import data

DATA, POLICY, SPLIT = "ml-100k", "balanced", "last 10%"
QUALITY, TIME = 0.98, 0.30
"""The bars: the least of what training anew has, and the most of the time that it takes."""


@dataclass(frozen=True)
class Trained:
    """A run, with the seconds that the processor worked on it."""

    evaluation: dict[str, Any]
    training: float
    """Until the evaluation began."""
    whole: float

    def mean(self, metric: str, system: str = "grpo") -> float:
        """The mean of a metric over the test users."""
        return float(self.evaluation["systems"][system]["metrics"][metric]["mean"])

    def interval(self, metric: str, system: str = "grpo") -> str:
        """It with its 95 % interval, for a table."""
        of = self.evaluation["systems"][system]["metrics"][metric]
        return f"{of['mean']:.4f} ({of['low']:.4f} to {of['high']:.4f})"


def states(folder: Path) -> tuple[Path, Path]:
    """The data before the cut, without films that nobody had taken, and all data; both as RecBole folders."""
    source, dataset = data.get(DATA), data.open(DATA)
    cut = data.split(dataset, SPLIT).test_from
    assert cut is not None, "the split is one by time"
    events, items = (source / f"{DATA}{ending}" for ending in (".inter", ".item"))
    [head, *log], [first, *films] = (path.read_text("utf-8").splitlines() for path in (events, items))
    at = head.split("\t").index("timestamp:float")
    earlier = [event for event in log if float(event.split("\t")[at]) < cut]
    taken = {event.split("\t")[1] for event in earlier}
    known = [film for film in films if film.split("\t")[0] in taken]
    before, now = folder / "before", folder / "now"
    for there, own, catalog in ((before, earlier, known), (now, log, films)):
        shutil.copytree(source, there, dirs_exist_ok=True)
        shutil.copy(Path(data.__file__).parent / f"{DATA}.toml", there / "schema.toml")
        (there / items.name).write_text("\n".join([first, *catalog, ""]), "utf-8")
        (there / events.name).write_text("\n".join([head, *own, ""]), "utf-8")
    return before, now


def trained(folder: Path, name: str, source: Path, seed: int, *more: str) -> Trained:
    """A run by the program, with a cache of its own, so that it finds nothing done."""
    run, settings = folder / name, folder / "settings.toml"
    settings.write_text(f'split = "{SPLIT}"\n')
    command = ["train", POLICY, "--data", str(source), "--config", str(settings), "--seed", str(seed)]
    environment = {"RECPOLICY_CACHE": str((folder / f"cache-{name}").resolve()), "PYTHONUNBUFFERED": "1"}
    training, spent = 0.0, 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "recpolicy", *command, "--out", str(run), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    ) as program:
        assert program.stdout is not None
        clock, lines = psutil.Process(program.pid), []
        for line in program.stdout:
            lines.append(line)
            spent = sum(clock.cpu_times()[:2])
            if line.startswith("eval "):
                training = spent
    if program.returncode:
        sys.exit("".join(lines[-20:]))
    return Trained(json.loads((run / "eval.json").read_text("utf-8")), training, spent)


def measured(folder: Path, seed: int) -> tuple[Trained, Trained]:
    """What training anew and going on brought; the first run and training anew work side by side."""
    before, now = states(folder)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(trained, folder, "first", before, seed)
        anew = pool.submit(trained, folder, "anew", now, seed)
        first.result()
        warm = trained(folder, "warm", now, seed, "--from", str(folder / "first"))
        return anew.result(), warm


def section(anew: Trained, warm: Trained) -> str:
    """The table."""
    start = warm.evaluation["warm_start"]
    users, steps = warm.evaluation["users"], start["steps"]

    def row(title: str, old: float, new: float, asked: str, *, holds: bool | None = None) -> list[str]:
        return [
            title,
            f"{old:,.0f}",
            f"{new:,.0f}",
            f"{new / old:.0%}",
            asked,
            "" if holds is None else page.holds(holds),
        ]

    quality = [
        [
            f"{title} of the test users",
            anew.interval(metric),
            warm.interval(metric),
            f"{warm.mean(metric) / anew.mean(metric):.1%}",
            f">= {QUALITY:.0%}",
            page.holds(warm.mean(metric) >= QUALITY * anew.mean(metric)),
        ]
        for metric, title in (("ndcg", "NDCG@10"), ("reward", "reward"))
    ]
    rows = [
        *quality,
        row(
            "seconds of the processor, training",
            anew.training,
            warm.training,
            f"<= {TIME:.0%}",
            holds=warm.training <= TIME * anew.training,
        ),
        row("evaluation included", anew.whole, warm.whole, ""),
    ]
    return f"""
ML-100K, policy `{POLICY}`, `tiny`, `split = "{SPLIT}"`: the first run has the data before the last tenth of the events
by time, without the films that nobody had taken then. With all data it is gone on from (`train --from`), and trained
anew. {start["new_events"]:.1%} of the training events and {start["new_items"]} films are new to the first run, so there
are at most {steps["sft"]:,} steps of SFT and {steps["grpo"]:,} of GRPO. One seed, {users} test users: intervals are
wide. Seconds are those that the processor worked, as the first run and training anew ran side by side. The evaluation
at the end is as long in both.

{page.table(["", "anew", "warm start", "of anew", "asked", "holds"], rows)}
| NDCG@10 / reward | anew | warm start |
| --- | --- | --- |
| the first run's model, on the same test users | | {_both(warm, "before")} |
| SFT with its prior | {_both(anew, "prior")} | {_both(warm, "prior")} |

SFT by a warm start has the new events alone as next items, and training anew those of all times.

{page.machine()}
"""


def _both(run: Trained, system: str) -> str:
    return f"{run.mean('ndcg', system):.4f} / {run.mean('reward', system):.4f}"


def main() -> None:
    """Train, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    seed = parser.parse_args().seed
    with TemporaryDirectory() as folder:
        page.write("Warm start", section(*measured(Path(folder), seed)))


if __name__ == "__main__":
    main()
