"""What a run reports in, a live table in the terminal (plain lines elsewhere) and the final tables out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recpolicy.evaluation.targets import Score, TargetProgress
from recpolicy.language.policy import Policy

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
    "prior": "SFT with prior",
    "grpo": "GRPO",
    "grpo_guided": "GRPO, guided",
    "rerank": "re-rank control",
    "ease_rerank": "classic control",
    "user_model": "user model",
    "popularity": "popularity",
    "itemknn": "ItemKNN",
    "ease": "EASE",
    "ease_recency": "EASE (recency)",
}

SHORT = {"sft": "SFT", "prior": "with prior", "grpo": "GRPO", "grpo_guided": "guided", "rerank": "control"}
"""Systems whose rules are shown."""

_WORDS = {"SHIP": "bold green", "DO NOT SHIP": "bold red", "UNDECIDED": "bold yellow"}


class Screen:
    """The terminal of one run, as a `pipeline.Progress`."""

    def __init__(self, policy: Policy, console: Console | None = None) -> None:
        self.console = console or Console()
        self.rules = [rule.name for rule in policy.rules]
        self.live: Live | None = None
        self.recent: dict[str, deque[float]] = {}
        self.first: dict[str, float] = {}
        self.scores: list[tuple[int, str]] = []
        self.targets: Sequence[TargetProgress] = ()
        self.began = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def stage(self, name: str, note: str) -> None:
        """A stage begins: one line."""
        self._stop()
        self.console.print(Text.assemble((f"{name:<8}", "bold"), note, (f"  {self._clock()}", "dim")), soft_wrap=True)

    def validated(self, stage: str, step: int, steps: int, score: Score) -> None:
        """A measurement on validation users: one line, or a line of the live table during GRPO."""
        shown = f"{score.value:.4f}" + (f" (targets missed by {score.violation:.1%})" if score.violation else "")
        if stage == "grpo":
            self.scores.append((step, shown))
        if self.live is None:
            what = "log-likelihood" if stage == "sft" else "reward"
            line = f"{'':<8}step {step:>4}/{steps}  validation {what} {shown}"
            self.console.print(Text.assemble(line, (f"  {self._clock()}", "dim")), soft_wrap=True)

    def targets_measured(self, step: int, targets: Sequence[TargetProgress]) -> None:
        """Targets were measured: the live table shows them, or they are part of the next line."""
        self.targets = targets

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """One GRPO step: the table is drawn anew, or every tenth step a line is printed."""
        shown = {name: values[f"rules/{name}"] for name in self.rules if f"rules/{name}" in values}
        shown |= {key: values[key] for key in ("reward", "entropy", "frac_groups_zero_std") if key in values}
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
            for t in self.targets:
                line = f"{t.name} {t.value:.3f} for {t.op} {t.bound:.3f}, multiplier {t.multiplier:.2f}"
                self.console.print(f"{'':<8}{'':>14}target {line}", soft_wrap=True, highlight=False)

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
        dead = f"groups without signal {self._mean('frac_groups_zero_std'):.0%}"
        scores = "  ".join(f"{at}: {score}" for at, score in self.scores[-4:])
        return Group(
            Text(f"{'':<8}step {step}/{steps}  {entropy}  {dead}  {self._clock()}", "dim"),
            table,
            *([self._of_targets()] if self.targets else []),
            Text(f"validation reward at step  {scores}", "dim"),
        )

    def _of_targets(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("targets, greedy slates", width=24)
        for title in ("value", "bound", "aim", "multiplier", "price of .01"):
            table.add_column(title, justify="right")
        for t in self.targets:
            reached = t.value >= t.aim if t.op == ">=" else t.value <= t.aim
            shadow_price = "-" if t.shadow_price is None else f"{t.shadow_price / 100:.4f} NDCG"
            table.add_row(
                t.name,
                Text(f"{t.value:.3f}", "green" if reached else "yellow"),
                f"{t.op} {t.bound:.3f}",
                f"{t.aim:.3f}",
                f"{t.multiplier:.2f}",
                shadow_price,
            )
        return table

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
    ranked = "the whole catalog ranked"
    if found["pool"]:
        ranked = f"pools of {found['pool']:,} items ranked (popularity to EASE: {ranked})"
    console.print(
        Text.assemble("\n", (found["verdict"], _WORDS[found["verdict"]]), f": {found['reason']}"), soft_wrap=True
    )
    console.print(_in_words(systems), highlight=False, soft_wrap=True)
    about = f"\n{found['users']:,} users, held-out events, {ranked}, {k} places"
    console.print(about, highlight=False, soft_wrap=True)
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
    for title in SHORT.values():
        rules.add_column(title, justify="right")
    for rule in policy.rules:
        cells = []
        for name in SHORT:
            value = systems[name]["rules"][rule.name]["mean"]
            met = systems[name]["satisfied"].get(rule.name)
            cells.append(("-" if value is None else f"{value:.3f}") + (f" {met['mean']:>4.0%}" if met else ""))
        rules.add_row(rule.name, *cells)
    console.print(rules)
    if found["targets"]:
        console.print(_targets(found))
    if found["thinking"]:
        _show_thinking(found["thinking"], console)
    if found["stopped"]:
        console.print(f"GRPO was stopped: {found['stopped']}\n", highlight=False, soft_wrap=True)
    console.print("GRPO less the system named, paired over users, with 95 % bootstrap intervals")
    for other, by_metric in found["grpo_minus"].items():
        cells = [
            f"{title} {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
            for title, d in (("NDCG", by_metric["ndcg"]), ("reward", by_metric["reward"]))
        ]
        console.print(f"  {TITLES[other]:<15}  {'   '.join(cells)}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"\nEverything of this run: {out}/", highlight=False)


def _in_words(systems: Mapping[str, Any]) -> str:
    """What training brought, and what there is without it."""

    def of(name: str) -> str:
        metrics = systems[name]["metrics"]
        return f"{metrics['reward']['mean']:.3f} (NDCG {metrics['ndcg']['mean']:.3f})"

    return (
        f"The whole reward before GRPO was {of('prior')}, after it {of('grpo')}, and {of('grpo_guided')} where the "
        f"policy also guides what is shown. Re-ranking without training has {of('rerank')}."
    )


def _show_thinking(found: Mapping[str, Any], console: Console) -> None:
    """What the model's reasoning was worth, and how it reasoned before and after GRPO."""
    console.print("what thinking brings: NDCG after the model's own reasoning, less that after another")
    for name, title in (("none", "no reasoning"), ("another_user", "that of another user")):
        d = found["own_minus"][name]["ndcg"]
        line = f"  {title:<20}  {d['mean']:+.4f} [{d['low']:+.4f}, {d['high']:+.4f}]"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    changed = f"{found['changed']:.0%} of the users are reasoned about otherwise than before GRPO. The first of all:"
    console.print(f"  {changed}", highlight=False, soft_wrap=True)
    for sample in found["samples"]:
        for title, text in (("before", sample["sft"]), ("after", sample["grpo"])):
            console.print(f"    {title:<6}  {' '.join(text.split())}", highlight=False, markup=False, soft_wrap=True)
    console.print()


_VERDICTS = {"met": "bold green", "not met": "bold red", "undecided": "yellow"}


def _targets(found: Mapping[str, Any]) -> Table:
    """Each target: what the systems have, what it asks for, and whether GRPO keeps it."""
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title="targets on the held-out events (guard: relevance is to stay where it was)",
        title_justify="left",
    )
    for title in ("", "before", "control", "GRPO", "95 % interval", "asked", "verdict"):
        table.add_column(title, justify="left" if title in ("", "verdict") else "right", no_wrap=True)
    for target in found["targets"]:
        others = [found["systems"][name]["targets"][target["name"]]["mean"] for name in ("prior", "rerank")]
        known = target["value"] is not None
        table.add_row(
            target["name"],
            *("-" if value is None else f"{value:.3f}" for value in others),
            f"{target['value']:.3f}" if known else "-",
            f"{target['low']:.3f} to {target['high']:.3f}" if known else "-",
            f"{target['op']} {target['bound']:.3f}" if target["bound"] is not None else "-",
            _verdict(target),
        )
    return table


def _verdict(target: Mapping[str, Any]) -> Text:
    """Whether a target is met; a guardrail is kept by what is not significantly worse."""
    if not target["guardrail"]:
        return Text(target["verdict"], _VERDICTS[target["verdict"]])
    return Text("worse", "bold red") if target["verdict"] == "not met" else Text("kept", "bold green")
