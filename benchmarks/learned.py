"""What complete runs found in, the tables of the section "Learning" out: bars, systems, and weights swept by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Any, Literal, TypeAlias

from benchmarks import page

MINUTES = 15

SYSTEMS = {
    "grpo": "GRPO",
    "distilled": "distilled",
    "sft": "SFT",
    "sft_first": "SFT, first place's top 10",
    "rerank": "re-rank control",
    "ease": "EASE",
    "ease_recency": "EASE (recency)",
}

Points: TypeAlias = Sequence[tuple[float, float]]
"""What a policy is after, and the NDCG that is left: one point a weight, by weight."""


@dataclass(frozen=True)
class Experiment:
    """One policy on one data set, to be run with several seeds."""

    name: str
    part: Literal["a", "b", "c", "sweep"]
    policy: str
    source: str
    title: str
    after: str = ""
    """The target, or in the sweep the rule, that is weighed against NDCG."""
    weight: float | None = None
    """The fixed weight; None where targets find it."""


@dataclass(frozen=True)
class Finished:
    """One complete run."""

    seed: int
    minutes: float
    alone: bool
    """Whether it had the machine to itself."""
    found: Mapping[str, Any]
    """`eval.json`."""
    kept: float
    """Validation NDCG of the SFT model that was kept."""
    measured: Mapping[int, float]
    """Validation NDCG while SFT went on, by step; empty where it came from the cache."""

    def metric(self, system: str, name: str) -> float:
        """A system's mean on the test events."""
        return float(self.found["systems"][system]["metrics"][name]["mean"])

    def rule(self, name: str) -> float:
        """The trained model's value of a rule."""
        return float(self.found["systems"]["grpo"]["rules"][name]["mean"])

    def reached(self, system: str, target: str) -> float:
        """A system's value of a target's measure."""
        return float(self.found["systems"][system]["targets"][target]["mean"])

    def target(self, name: str) -> Mapping[str, Any]:
        """What was found about a target."""
        outcome: Mapping[str, Any] = next(t for t in self.found["targets"] if t["name"] == name)
        return outcome

    def control(self, target: str) -> Points:
        """The re-rank control's sweep of weights on the test events."""
        return [(at["targets"][target], at["metrics"]["ndcg"]) for at in self.found["rerank_curve"]]


def ndcg_at(points: Points, least: float) -> float | None:
    """The best NDCG on the line through the points where the other value is at least `least`; None if it nowhere is.

    Neighbouring points are joined straight: a weight between two of them is taken to do what lies between theirs.
    """
    reached = [ndcg for value, ndcg in points if value >= least]
    for (v, n), (w, m) in pairwise(points):
        if (v - least) * (w - least) < 0:
            reached.append(n + (m - n) * (least - v) / (w - v))
    return max(reached, default=None)


def section(done: Mapping[Experiment, Sequence[Finished]]) -> str:
    """All tables; every experiment has at least one run."""
    asked = {e: runs for e, runs in done.items() if e.weight is None}
    text = [
        "The default configuration of `recpolicy train`, (a) and (b) on ML-100K, (c) on goodbooks, the last 10 events\n"
        "of every user held out. Means over seeds, with the value of each seed behind. The policies stand in\n"
        "[benchmarks/policies/](benchmarks/policies), how a verdict on a target is reached in\n"
        "[docs/training.md](docs/training.md). The re-rank control is taken where it reaches as much as the trained\n"
        "model does on the same events, interpolated between the weights it tries.\n"
        "Minutes are of the whole command; a star marks a run that shared the machine with another.\n",
        page.table(["", "", "asked", "found", "holds"], [row for e, runs in asked.items() for row in bars(e, runs)]),
        page.table(
            ["", "", "NDCG@10", "ILD; (c): exposure of new creators"],
            [row for e, runs in asked.items() for row in systems(e, runs)],
        ),
    ]
    if rows := [row for e, runs in asked.items() for row in sweep(e, runs, done)]:
        text += [
            "The same demands as fixed weights, swept by hand: the same SFT models, trained in the same way.\n",
            page.table(["", "weight", "value", "NDCG@10"], rows),
        ]
    return "\n".join([*text, page.machine()])


def bars(experiment: Experiment, runs: Sequence[Finished]) -> list[list[str]]:
    """What is asked of an experiment, what its runs found, and whether it holds."""
    ndcg = {name: [run.metric(name, "ndcg") for run in runs] for name in SYSTEMS if name in runs[0].found["systems"]}
    rows = []
    if experiment.part == "a":
        rows += [
            _ratio("NDCG, times SFT's", 1.15, ndcg["grpo"], ndcg["sft"]),
            _ratio("NDCG, times that of SFT's first place's top 10", 1, ndcg["grpo"], ndcg["sft_first"]),
            _ratio("NDCG, times that of EASE (recency)", 1, ndcg["grpo"], ndcg["ease_recency"]),
        ]
    else:
        for name in (target["name"] for target in runs[0].found["targets"]):
            verdicts = [run.target(name)["verdict"] for run in runs]
            found = f"{_each([run.target(name)['value'] for run in runs])}: {', '.join(verdicts)}"
            bound = f"{runs[0].target(name)['op']} {mean(run.target(name)['bound'] for run in runs):.3f}"
            rows.append([f"target `{name}`", f"{bound}, met", found, page.holds(set(verdicts) == {"met"})])
        control = [ndcg_at(run.control(experiment.after), run.target(experiment.after)["value"]) for run in runs]
        asked = 1.02 if experiment.part == "b" else 1
        rows.append(_ratio(f"NDCG, times the control's at equal {experiment.after}", asked, ndcg["grpo"], control))
    if all(run.measured for run in runs):
        best = [max(run.measured.values()) for run in runs]
        rows.append(_ratio("SFT's validation NDCG, times its best", 0.98, [run.kept for run in runs], best))
        rows[-1][2] += f", of {_last(runs)}"
    rows.append(_minutes(runs))
    return [[experiment.title, *row] for row in rows]


def systems(experiment: Experiment, runs: Sequence[Finished]) -> list[list[str]]:
    """What each system reached on the test events: NDCG, and what the policy is after, else variety."""
    return [
        [
            experiment.title,
            title,
            _each([run.metric(name, "ndcg") for run in runs]),
            _each(
                [run.reached(name, experiment.after) if experiment.after else run.metric(name, "ild") for run in runs]
            ),
        ]
        for name, title in SYSTEMS.items()
        if name in runs[0].found["systems"]
    ]


def sweep(
    experiment: Experiment, runs: Sequence[Finished], done: Mapping[Experiment, Sequence[Finished]]
) -> list[list[str]]:
    """The runs with fixed weights; what a weight between would leave at the value reached by targets; the targets run.

    Interpolated are the seeds that have been run with every weight.
    """
    by_hand = {e: r for e, r in done.items() if e.weight is not None and e.name == experiment.name}
    if not by_hand:
        return []
    rows = [
        [f"{e.weight:g}", _each([run.rule(e.after) for run in r]), _each([run.metric("grpo", "ndcg") for run in r])]
        for e, r in by_hand.items()
    ]
    value = {run.seed: run.target(experiment.after)["value"] for run in runs}
    curves = {
        seed: [
            (run.rule(e.after), run.metric("grpo", "ndcg")) for e, r in by_hand.items() for run in r if run.seed == seed
        ]
        for seed in value
    }
    whole = [seed for seed, points in curves.items() if len(points) == len(by_hand)]
    between = [ndcg_at(curves[seed], value[seed]) for seed in whole]
    there = [ndcg for ndcg in between if ndcg is not None]
    if there:
        missed = f", not reached with {len(between) - len(there)}" if len(there) < len(between) else ""
        rows.append(["interpolated", _each([value[seed] for seed in whole]), _each(there) + missed])
    elif between:
        rows.append(["interpolated", _each([value[seed] for seed in whole]), "not reached"])
    rows.append(["by targets", _each(list(value.values())), _each([run.metric("grpo", "ndcg") for run in runs])])
    return [[experiment.title, *row] for row in rows]


def _ratio(of: str, asked: float, above: Sequence[float], below: Sequence[float | None]) -> list[str]:
    """A bar on the quotient of two means, of the seeds with a value below; None is one that cannot be had."""
    pairs = [(a, b) for a, b in zip(above, below, strict=True) if b is not None]
    missed = f"beyond reach with {len(above) - len(pairs)} of {len(above)} seeds" if len(pairs) < len(above) else ""
    if not pairs:
        return [of, f">= {asked:g}", missed, "yes"]
    ratio = mean(a for a, _ in pairs) / mean(b for _, b in pairs)
    found = _each([a / b for a, b in pairs], whole=ratio) + (f", {missed}" if missed else "")
    return [of, f">= {asked:g}", found, page.holds(ratio >= asked)]


def _minutes(runs: Sequence[Finished]) -> list[str]:
    """The bar on time. A run that shared the machine took no less than it would have alone."""
    times = ", ".join(f"{run.minutes:.1f}{'' if run.alone else '*'}" for run in runs)
    known = [run.minutes <= MINUTES for run in runs if run.alone or run.minutes <= MINUTES]
    holds = page.holds(all(known)) if known else "open"
    if all(known) and 0 < len(known) < len(runs):
        holds += ", where known"
    return ["minutes", f"<= {MINUTES} each", times, holds]


def _each(values: Sequence[float], form: str = ".3f", whole: float | None = None) -> str:
    """The mean, or what stands for the whole, and behind it the value of each seed."""
    every = ", ".join(format(value, form) for value in values)
    return f"{mean(values) if whole is None else whole:{form}} ({every})"


def _last(runs: Sequence[Finished]) -> str:
    """The step of the best validation among those measured, of each run."""
    return ", ".join(f"step {max(run.measured, key=lambda at: run.measured[at])}/{max(run.measured)}" for run in runs)
