"""What a run reports in, a live table in the terminal (plain lines elsewhere) and the final tables out."""

from __future__ import annotations

import logging
import time
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recpolicy.policy import Policy

WINDOW = 10
"""Steps over which the live table averages."""

METRICS = (
    ("ndcg", "NDCG"),
    ("hit", "HR"),
    ("mrr", "MRR"),
    ("ild", "ILD"),
    ("novelty", "novelty"),
    ("coverage", "coverage"),
)

TITLES = {
    "sft": "SFT",
    "teacher": "teacher",
    "distilled": "distilled",
    "grpo": "GRPO",
    "rerank": "re-rank control",
    "popularity": "popularity",
    "itemknn": "ItemKNN",
    "ease": "EASE",
    "ease_recency": "EASE (recency)",
}


class Screen:
    """The terminal of one run, as a `pipeline.Progress`."""

    def __init__(self, policy: Policy, console: Console | None = None) -> None:
        self.console = console or Console()
        self.rules = [rule.name for rule in policy.rules]
        self.live: Live | None = None
        self.recent: dict[str, deque[float]] = {}
        self.first: dict[str, float] = {}
        self.scores: list[tuple[int, float]] = []
        self.began = time.monotonic()

    def __enter__(self) -> Screen:
        # the libraries' own advice is about options this program sets itself
        warnings.filterwarnings("ignore")
        for library in ("transformers", "trl", "accelerate", "datasets"):
            logging.getLogger(library).setLevel(logging.ERROR)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def stage(self, name: str, note: str) -> None:
        """A stage begins: one line."""
        self._stop()
        self.console.print(Text.assemble((f"{name:<8}", "bold"), note, (f"  {self._clock()}", "dim")), soft_wrap=True)

    def validated(self, stage: str, step: int, steps: int, score: float) -> None:
        """A measurement on validation users: one line, or a line of the live table during GRPO."""
        if stage == "grpo":
            self.scores.append((step, score))
        if self.live is None:
            what = "NDCG" if stage == "sft" else "reward"
            self.console.print(
                Text.assemble(
                    f"{'':<8}step {step:>4}/{steps}  validation {what} {score:.4f}", (f"  {self._clock()}", "dim")
                )
            )

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """One GRPO step: the table is drawn anew, or every tenth step a line is printed."""
        shown = {name: values[f"rules/{name}"] for name in self.rules if f"rules/{name}" in values}
        shown |= {key: values[key] for key in ("reward", "entropy", "frac_reward_zero_std") if key in values}
        for key, value in shown.items():
            self.first.setdefault(key, value)
            self.recent.setdefault(key, deque(maxlen=WINDOW)).append(value)
        if self.console.is_terminal:
            if self.live is None:
                self.live = Live(console=self.console, refresh_per_second=4)
                self.live.start()
            self.live.update(self._table(step, steps))
        elif step % WINDOW == 0:
            means = "  ".join(f"{key} {self._mean(key):.3f}" for key in ("reward", *self.rules) if key in self.recent)
            self.console.print(f"{'':<8}step {step:>4}/{steps}  {means}", soft_wrap=True, highlight=False)

    def _table(self, step: int, steps: int) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("sampled slates", width=24)
        for title in ("first step", f"last {WINDOW}", "change"):
            table.add_column(title, justify="right")
        for key in ("reward", *self.rules):
            if key in self.recent:
                now, then = self._mean(key), self.first[key]
                style = "bold" if key == "reward" else ""
                table.add_row(
                    Text("whole reward" if key == "reward" else key, style),
                    f"{then:.3f}",
                    f"{now:.3f}",
                    f"{now - then:+.3f}",
                )
        entropy = f"entropy {self._mean('entropy'):.2f}" if "entropy" in self.recent else ""
        dead = f"groups without signal {self._mean('frac_reward_zero_std'):.0%}"
        scores = "  ".join(f"{at}: {score:.4f}" for at, score in self.scores[-6:])
        return Group(
            Text(f"{'':<8}step {step}/{steps}  {entropy}  {dead}  {self._clock()}", "dim"),
            table,
            Text(f"validation reward at step  {scores}", "dim"),
        )

    def _mean(self, key: str) -> float:
        values = self.recent.get(key)
        return sum(values) / len(values) if values else float("nan")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.began)
        return f"{seconds // 60}:{seconds % 60:02}"

    def _stop(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


def show(found: Mapping[str, Any], policy: Policy, out: Path, console: Console | None = None) -> None:
    """Print `eval.json` as tables: metrics of every system, rules of every system, and GRPO's paired differences."""
    console = console or Console()
    k, systems = found["k"], found["systems"]
    console.print(f"\n{found['users']:,} users, held-out events, the whole catalog ranked, {k} places", highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    shown = [(key, title) for key, title in METRICS if key in systems["sft"]["metrics"]]
    for _, title in (*shown, ("reward", "reward")):
        table.add_column(title, justify="right")
    for name, title in ((n, t) for n, t in TITLES.items() if n in systems):
        cells = [f"{systems[name]['metrics'][key]['mean']:.3f}" for key, _ in (*shown, ("reward", ""))]
        table.add_row(title, *cells, style="bold" if name == "grpo" else "")
    console.print(table)
    console.print("rules: value, and for quotas the share of slates that satisfy them")
    rules = Table(box=SIMPLE_HEAD, pad_edge=False)
    rules.add_column("", no_wrap=True)
    compared = [name for name in ("sft", "distilled", "grpo", "rerank") if name in systems]
    for name in compared:
        rules.add_column(TITLES[name], justify="right")
    for rule in policy.rules:
        cells = []
        for name in compared:
            value = systems[name]["rules"][rule.name]["mean"]
            met = systems[name]["satisfied"].get(rule.name)
            cells.append(("-" if value is None else f"{value:.3f}") + (f"  {met['mean']:.0%}" if met else ""))
        rules.add_row(rule.name, *cells)
    console.print(rules)
    console.print("GRPO less the system named, paired over users, with 95 % bootstrap intervals")
    for other, by_metric in found["grpo_minus"].items():
        cells = [
            f"{title} {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
            for title, d in (("NDCG", by_metric["ndcg"]), ("reward", by_metric["reward"]))
        ]
        console.print(f"  {TITLES[other]:<15}  {'   '.join(cells)}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"\nEverything of this run: {out}/", highlight=False)
