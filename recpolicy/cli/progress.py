"""Shows a training: a live table in the terminal (plain lines elsewhere), and tables of the result."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recpolicy.evaluation.targets import Score, TargetProgress
from recpolicy.language.policy import Policy
from recpolicy.render.tables import line, table

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
    "before": "earlier run",
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

_STYLES = {
    "SHIP": "bold green",
    "DO NOT SHIP": "bold red",
    "UNDECIDED": "bold yellow",
    "met": "bold green",
    "not met": "bold red",
    "undecided": "yellow",
}
"""Styles of the verdicts on a model and on its targets."""


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
        self.start = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def stage(self, name: str, note: str) -> None:
        """Prints a line at the start of a stage."""
        self._stop()
        line(self.console, (f"{name:<8}", "bold"), note, (f"  {self._clock()}", "dim"))

    def validated(self, stage: str, step: int, steps: int, score: Score) -> None:
        """Shows a measurement on validation users: as a line, or in the live table."""
        shown = f"{score.value:.4f}" + (f" (targets missed by {score.violation:.1%})" if score.violation else "")
        if stage == "grpo":
            self.scores.append((step, shown))
        if self.live is None:
            what = "log-likelihood" if stage == "sft" else "reward"
            text = f"{'':<8}step {step:>4}/{steps}  validation {what} {shown}"
            line(self.console, text, (f"  {self._clock()}", "dim"))

    def targets_measured(self, step: int, targets: Sequence[TargetProgress]) -> None:
        """Shows measured targets: in the live table, or below the next line."""
        self.targets = targets

    def stepped(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """Shows a step of GRPO: draws the live table again, or prints a line every `WINDOW` steps."""
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
            line(self.console, f"{'':<8}step {step:>4}/{steps}  {means}")
            for t in self.targets:
                text = f"{t.name} {t.value:.3f} for {t.op} {t.bound:.3f}, multiplier {t.multiplier:.2f}"
                line(self.console, f"{'':<8}{'':>14}target {text}")

    def _table(self, step: int, steps: int) -> Group:
        rows = []
        for key in filter(self.recent.__contains__, ("reward", *self.rules)):
            now, then = self._mean(key), self.first[key]
            name = Text("whole reward", "bold") if key == "reward" else Text(key)
            rows.append(((name, f"{then:.3f}", f"{now:.3f}", f"{now - then:+.3f}"), ""))
        head = ("sampled slates", "first step", f"last {WINDOW}", "change")
        entropy = f"entropy {self._mean('entropy'):.2f}" if "entropy" in self.recent else ""
        dead = f"groups without signal {self._mean('frac_groups_zero_std'):.0%}"
        scores = "  ".join(f"{at}: {score}" for at, score in self.scores[-4:])
        return Group(
            Text(f"{'':<8}step {step}/{steps}  {entropy}  {dead}  {self._clock()}", "dim"),
            table(head, rows, box=None, width=24),
            *([self._target_table()] if self.targets else []),
            Text(f"validation reward at step  {scores}", "dim"),
        )

    def _target_table(self) -> Table:
        rows = []
        for t in self.targets:
            reached = t.value >= t.aim if t.op == ">=" else t.value <= t.aim
            value = Text(f"{t.value:.3f}", "green" if reached else "yellow")
            shadow_price = "-" if t.shadow_price is None else f"{t.shadow_price / 100:.4f} NDCG"
            bound = f"{t.op} {t.bound:.3f}"
            rows.append(((t.name, value, bound, f"{t.aim:.3f}", f"{t.multiplier:.2f}", shadow_price), ""))
        head = ("targets, greedy slates", "value", "bound", "aim", "multiplier", "price of .01")
        return table(head, rows, box=None, width=24)

    def _mean(self, key: str) -> float:
        values = self.recent.get(key)
        return sum(values) / len(values) if values else float("nan")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.start)
        return f"{seconds // 60}:{seconds % 60:02}"

    def _stop(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


def show(evaluation: Mapping[str, Any], policy: Policy, out: Path, console: Console | None = None) -> None:
    """Prints `eval.json` as tables: metrics of every system, rules of every system, and GRPO's paired differences."""
    console = console or Console()
    verdict, systems = evaluation["verdict"], evaluation["systems"]
    ranked = "the whole catalog ranked"
    if evaluation["pool"]:
        ranked = f"pools of {evaluation['pool']:,} items ranked (popularity to EASE: {ranked})"
    line(console, "\n", (verdict, _STYLES[verdict]), f": {evaluation['reason']}")
    line(console, _in_words(systems))
    if "warm_start" in evaluation:
        line(console, _warm_start(evaluation["warm_start"], systems))
    line(console, f"\n{evaluation['users']:,} users, held-out events, {ranked}, {evaluation['k']} places")
    console.print(_metrics(systems))
    console.print("rules: value, and for quotas the share of slates that satisfy them")
    console.print(_rules(systems, policy))
    if evaluation["targets"]:
        console.print(_targets(evaluation))
    if evaluation["thinking"]:
        _show_thinking(evaluation["thinking"], console)
    if evaluation["stopped"]:
        line(console, f"GRPO was stopped: {evaluation['stopped']}\n")
    console.print("GRPO less the system named, paired over users, with 95 % bootstrap intervals")
    for other, metrics in evaluation["grpo_minus"].items():
        cells = [f"{title} {_difference(metrics[key])}" for key, title in (("ndcg", "NDCG"), ("reward", "reward"))]
        line(console, f"  {TITLES[other]:<15}  {'   '.join(cells)}")
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


def _warm_start(start: Mapping[str, Any], systems: Mapping[str, Any]) -> str:
    """Where the run went on from, and what it made of that model."""
    before, now = (systems[name]["metrics"]["reward"]["mean"] for name in ("before", "grpo"))
    steps, items = start["steps"], f"{start['new_items']:,} items came and {start['gone_items']:,} are gone"
    return (
        f"Went on from {start['from']}: {start['new_events']:.1%} of the training events are new, {items}. After "
        f"{steps['sft']:,} steps of SFT at most and {steps['grpo']:,} of GRPO, {start['seconds']:,.0f} s in all, the "
        f"whole reward on the test users of these data is {now:.3f}; that of the earlier model is {before:.3f}."
    )


def _metrics(systems: Mapping[str, Any]) -> Table:
    shown = {key: title for key, title in METRICS if key in systems["sft"]["metrics"]} | {"reward": "reward"}
    rows = []
    for name in filter(systems.__contains__, TITLES):
        cells = [f"{systems[name]['metrics'][key]['mean']:.3f}" for key in shown]
        rows.append(((TITLES[name], *cells), "bold" if name == "grpo" else ""))
    return table(("", *shown.values()), rows, unbroken=("",))


def _rules(systems: Mapping[str, Any], policy: Policy) -> Table:
    rows = []
    for rule in policy.rules:
        cells = [rule.name]
        for name in SHORT:
            met = systems[name]["satisfied"].get(rule.name)
            cells.append(_number(systems[name]["rules"][rule.name]["mean"]) + (f" {met['mean']:>4.0%}" if met else ""))
        rows.append((cells, ""))
    return table(("", *SHORT.values()), rows, unbroken=("",))


def _show_thinking(thinking: Mapping[str, Any], console: Console) -> None:
    """What the model's reasoning was worth, and how it reasoned before and after GRPO."""
    console.print("what thinking brings: NDCG after the model's own reasoning, less that after another")
    for name, title in (("none", "no reasoning"), ("another_user", "that of another user")):
        line(console, f"  {title:<20}  {_difference(thinking['own_minus'][name]['ndcg'])}")
    changed = f"{thinking['changed']:.0%} of the users are reasoned about otherwise than before GRPO"
    line(console, f"  {changed}. The first of all:")
    for sample in thinking["samples"]:
        for title, text in (("before", sample["sft"]), ("after", sample["grpo"])):
            line(console, f"    {title:<6}  {' '.join(text.split())}")
    console.print()


def _targets(evaluation: Mapping[str, Any]) -> Table:
    """Each target: its value in the systems, its bound, and whether GRPO keeps it."""
    rows = []
    for target in evaluation["targets"]:
        name, value, bound = target["name"], target["value"], target["bound"]
        others = (_number(evaluation["systems"][system]["targets"][name]["mean"]) for system in ("prior", "rerank"))
        interval = "-" if value is None else f"{target['low']:.3f} to {target['high']:.3f}"
        limit = "-" if bound is None else f"{target['op']} {bound:.3f}"
        rows.append(((name, *others, _number(value), interval, limit, _verdict(target)), ""))
    head = ("", "before", "control", "GRPO", "95 % interval", "asked", "verdict")
    title = "targets on the held-out events (guard: relevance is to stay where it was)"
    return table(head, rows, left=("verdict",), unbroken=head, title=title)


def _verdict(target: Mapping[str, Any]) -> Text:
    """Whether a target is met; a guardrail is kept where it is not significantly worse."""
    verdict = target["verdict"]
    if target["guardrail"]:
        return Text("worse", "bold red") if verdict == "not met" else Text("kept", "bold green")
    return Text(verdict, _STYLES[verdict])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _difference(paired: Mapping[str, float]) -> str:
    return f"{paired['mean']:+.4f} [{paired['low']:+.4f}, {paired['high']:+.4f}]"
