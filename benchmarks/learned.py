"""Turns what complete runs found into the section "Learning": bars, systems, user models, ablation and minutes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, Literal, TypeAlias

from benchmarks import page
from recpolicy.evaluation.metrics import Interval

SCHEMA_VERSION = 2
"""Of the `eval.json` that is read here."""
MINUTES, MINUTES_GOODBOOKS = 15, 20
"""Longest that a run may take, and one on goodbooks."""
CONTROL = 0.472
"""Least reward of the control for `balanced`, at its best strength, with seed 0: else the comparison is too easy."""
CALIBRATION = 0.01
"""Largest expected calibration error of a user model."""
AIM = 0.01
"""How far a target's value for test users may be from what was aimed at."""

SYSTEMS = {
    "sft": "SFT",
    "prior": "SFT with prior",
    "grpo": "GRPO",
    "grpo_guided": "GRPO, guided",
    "rerank": "re-rank control",
    "ease_rerank": "re-rank control of the classics",
    "user_model": "user model",
    "popularity": "popularity",
    "itemknn": "ItemKNN",
    "ease": "EASE",
    "ease_recency": "EASE (recency)",
}
TRAINED = ("grpo", "grpo_guided")
"""Systems that are compared with the control: the trained model alone, and with its lists improved by the policy."""

REAL_LABELS = '[grpo]\nlabels = "real"\n'
REASONING = "[prompt]\nthink = 12\n"
"""Settings of the ablation's own runs."""
ABLATION = (
    ("SFT", "", "sft"),
    ("+ prior of the user model", "", "prior"),
    ("+ GRPO with real labels", REAL_LABELS, "grpo"),
    ("+ GRPO with expected labels", "", "grpo"),
    ("+ decoding by the policy", "", "grpo_guided"),
    ("GRPO with expected labels and with reasoning", REASONING, "grpo"),
)
"""What each row of the ablation has, the settings of its run, and its system there."""

Part: TypeAlias = Literal["balanced", "mixed", "relevance", "seven", "targets", "ablation"]
Points: TypeAlias = Sequence[tuple[float, float]]
"""Two means of a control's slates, one point a strength, by strength."""


@dataclass(frozen=True)
class Experiment:
    """One policy on one data set, to be run with several seeds."""

    name: str
    part: Part
    policy: str
    """A file of benchmarks/policies, or the name of a sample."""
    data: str
    least: float | None = None
    """The bar of the part's main comparison; None where values are shown without a bar."""
    target: str = ""
    """The target that is weighed against NDCG."""
    aimed: bool = False
    """Whether the target has to end where it was aimed at."""
    settings: str = ""
    """TOML, beside the defaults."""

    @property
    def title(self) -> str:
        """Returns what tables call it."""
        return f"`{self.policy.removesuffix('.policy')}`, {self.data}"


@dataclass(frozen=True)
class Finished:
    """One complete run."""

    seed: int
    minutes: float
    alone: bool
    """Whether it had the machine to itself."""
    found: Mapping[str, Any]
    """`eval.json`."""
    aims: Mapping[str, tuple[float, float]]
    """By target: what it was aimed at and its value, where training measured it for the last time."""

    @staticmethod
    def read(folder: Path, seed: int) -> Finished:
        """Reads a complete run. Ends the program for one of an earlier version of recpolicy."""
        seconds, how = (folder / "complete").read_text("utf-8").split()
        found = json.loads((folder / "run" / "eval.json").read_text("utf-8"))
        if found["schema_version"] != SCHEMA_VERSION:
            sys.exit(f"{folder} holds a run of another version of recpolicy: remove it, and it is trained anew")
        lines = (folder / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
        return Finished(seed, float(seconds) / 60, how == "alone", found, last_aims(map(json.loads, lines)))

    def metric(self, system: str, name: str) -> float:
        """Returns a system's mean on the test events."""
        return float(self.found["systems"][system]["metrics"][name]["mean"])

    def reached(self, system: str, target: str) -> float:
        """Returns a system's value of a target's measure."""
        return float(self.found["systems"][system]["targets"][target]["mean"])

    def gain(self, metric: str) -> Interval:
        """Returns what GRPO has of a metric less what the model it starts from has, paired over users."""
        return Interval(**self.found["grpo_minus"]["prior"][metric])

    def outcome(self, target: str) -> Mapping[str, Any]:
        """Returns what was found about a target or guardrail."""
        found: Mapping[str, Any] = next(t for t in self.found["targets"] if t["name"] == target)
        return found

    def control(self, of: Callable[[Mapping[str, Any]], float | None], value: str) -> Points:
        """Returns the re-rank control's curve on the test events: `of` each of its points, and a metric there."""
        points = [(of(at), at["metrics"][value]) for at in self.found["curves"]["rerank"]]
        return [(x, y) for x, y in points if x is not None and y is not None]


def last_aims(lines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Returns the last aim and value of each target in the lines of metrics.jsonl."""
    found = {}
    for line in lines:
        for key, aim in line.items():
            if key.startswith("targets/") and key.endswith("/aim"):
                value = line.get(key.removesuffix("aim") + "value")
                if aim is not None and value is not None:
                    found[key.removeprefix("targets/").removesuffix("/aim")] = (float(aim), float(value))
    return found


def best_at(points: Points, least: float) -> float | None:
    """Returns the largest second value of the line through the points where the first is at least `least`, or None.

    Neighbouring points are joined straight: a strength between two of them is taken to do what lies between theirs.
    """
    reached = [y for x, y in points if x >= least]
    for (v, n), (w, m) in pairwise(points):
        if (v - least) * (w - least) < 0:
            reached.append(n + (m - n) * (least - v) / (w - v))
    return max(reached, default=None)


Done: TypeAlias = Mapping[Experiment, Sequence[Finished]]


def section(done: Done, missing: Sequence[str] = ()) -> str:
    """Writes all tables. Every experiment has at least one run; `missing` says what was left out, and why."""
    plain = {e: runs for e, runs in done.items() if not e.settings}
    rules = {e: runs for e, runs in plain.items() if e.part in ("balanced", "mixed")}
    rows = [[e.title, *row] for e, runs in plain.items() for row in bars(e, runs)]
    rows += [[f"user model, {data}", *row] for data, runs in by_data(done).items() for row in calibration(runs)]
    text = [
        "The default configuration of `recpolicy train`, the last 10 events of every user held out. Data named seven-\n"
        "hold the last 7 events of each user, and one of them is held out. Means over seeds, with the value of each\n"
        "seed behind. The policies stand in [policies/](policies) and [benchmarks/policies/](benchmarks/policies),\n"
        "how a verdict on a target is reached in [docs/targets.md](docs/targets.md). GRPO starts from SFT with the\n"
        "prior of the user model; guided, its lists are improved by the policy while they are made. The re-rank\n"
        "control is taken where it has as much NDCG, or as much of the target, as what it is compared with on the\n"
        "same events, interpolated between the strengths it tries.\n",
        *(f"Left out: {what}.\n" for what in missing),
        page.table(["policy, data", "", "asked", "found", "holds"], rows),
    ]
    if plain:
        text += ["NDCG@10 of every system, means over seeds.\n", systems(plain, "ndcg")]
    if rules:
        text += ["Whole reward of every system, means over seeds.\n", systems(rules, "reward")]
    text += [
        "The user model: mean log-probability of a test user's next item, by all sources together and by each of them\n"
        "alone, fitted in the same way; NDCG@10 of these rankings; weights of the sources.\n",
        page.table(["data", "", "log-likelihood", "NDCG@10", "weight"], sources(done)),
    ]
    if steps := ablation(done):
        text += ["What each part brings.\n", page.table(["policy, data", "", "NDCG@10", "reward"], steps)]
    text += [
        "Minutes of the whole command; a star marks a run that shared the machine with another.\n",
        page.table(["run", "asked", "minutes", "holds", "verdict"], [minutes(e, runs) for e, runs in done.items()]),
        page.machine(),
    ]
    return "\n".join(text)


def by_data(done: Done) -> dict[str, Sequence[Finished]]:
    """Returns one experiment's runs for each data set: the user model does not depend on the policy."""
    found: dict[str, Sequence[Finished]] = {}
    for experiment, runs in done.items():
        if not experiment.settings:
            found.setdefault(experiment.data, runs)
    return found


# ---- bars -----------------------------------------------------------------------------------------------------------


def bars(experiment: Experiment, runs: Sequence[Finished]) -> list[list[str]]:
    """Returns what is asked of an experiment, what its runs found, and whether it holds."""
    match experiment.part:
        case "balanced" | "mixed":
            return _gains(experiment, runs)
        case "relevance":
            own = 1.0 if experiment.data == "ml-100k" else None
            return [_beside(runs, "ease_recency", experiment.least), _beside(runs, "user_model", own)]
        case "seven":
            classics = ("ease_recency", "itemknn")
            found = [_beside(runs, classic, experiment.least) for classic in classics]
            return found + [_beside(runs, classic, 0.5, system="sft") for classic in classics]
        case "targets":
            return _demands(experiment, runs)
        case "ablation":
            return []


def _gains(experiment: Experiment, runs: Sequence[Finished]) -> list[list[str]]:
    """Compares GRPO with the model it starts from, and with the control at equal NDCG."""
    reward, ndcg = ([run.gain(metric) for run in runs] for metric in ("reward", "ndcg"))
    strict = experiment.part == "balanced"
    rows = [
        _row("reward of GRPO, less that of what it starts from", experiment.least, [i.mean for i in reward], "+.4f"),
        ["its 95 % interval", "above 0 each", _intervals(reward), page.holds(all(i.low > 0 for i in reward))],
        _row("NDCG of GRPO, less that of what it starts from", 0 if strict else None, [i.mean for i in ndcg], "+.4f"),
        ["its 95 % interval", "", _intervals(ndcg), ""],
    ]
    for system in TRAINED:
        own = [run.metric(system, "reward") for run in runs]
        curves = [run.control(lambda at: at["metrics"]["ndcg"], "reward") for run in runs]
        control = [best_at(c, run.metric(system, "ndcg")) for c, run in zip(curves, runs, strict=True)]
        what = f"reward of {SYSTEMS[system]}, less the control's at equal NDCG"
        rows.append(_compared(what, 0 if strict else None, own, control, "difference"))
    if strict and (first := [run for run in runs if run.seed == 0]):
        best = max(reward for _, reward in first[0].control(lambda at: at["strength"], "reward"))
        rows.append(_row("the control's best reward with seed 0", CONTROL, [best]))
    return rows


def _beside(runs: Sequence[Finished], other: str, least: float | None, system: str = "grpo") -> list[str]:
    """Compares the NDCG of two systems."""
    own, others = ([run.metric(name, "ndcg") for run in runs] for name in (system, other))
    return _compared(f"NDCG of {SYSTEMS[system]}, times that of {SYSTEMS[other]}", least, own, others, "ratio")


def _demands(experiment: Experiment, runs: Sequence[Finished]) -> list[list[str]]:
    """Tells of the targets, of what the control has at the same value, and of how well training knew that value."""
    rows, target = [], experiment.target
    for first in runs[0].found["targets"]:
        found = [run.outcome(first["name"]) for run in runs]
        verdicts = [o["verdict"] for o in found]
        told = f"{_each([o['value'] for o in found])}: {', '.join(verdicts)}"
        bound = f"{first['op']} {mean(o['bound'] for o in found):.3f}"
        if first["guardrail"]:
            rows.append([first["name"], "", f"{told}; {bound}", ""])
        else:
            rows.append([f"target `{first['name']}`", f"{bound}, met", told, page.holds(set(verdicts) == {"met"})])
    for system in TRAINED:
        own = [run.metric(system, "ndcg") for run in runs]
        curves = [run.control(lambda at: at["targets"][target], "ndcg") for run in runs]
        control = [best_at(c, run.reached(system, target)) for c, run in zip(curves, runs, strict=True)]
        what = f"NDCG of {SYSTEMS[system]}, times the control's at equal {target}"
        rows.append(_compared(what, experiment.least, own, control, "ratio"))
    values = [run.reached("grpo", target) for run in runs]
    apart = [
        [value - run.aims[target][at] for value, run in zip(values, runs, strict=True) if target in run.aims]
        for at in (0, 1)
    ]
    if apart[0]:
        asked, holds = "", ""
        if experiment.aimed:
            asked, holds = f"within {AIM}", page.holds(all(abs(by) <= AIM for by in apart[0]))
        rows.append([f"{target} for test users, less its aim", asked, _each(apart[0], "+.4f"), holds])
        rows.append([f"{target} for test users, less its last value in training", "", _each(apart[1], "+.4f"), ""])
    return rows


def calibration(runs: Sequence[Finished]) -> list[list[str]]:
    """Returns a user model's expected calibration errors, which every seed has to keep small."""
    errors, top = (
        [run.found["user_model"][name]["error"] for run in runs] for name in ("reliability", "reliability_at_the_top")
    )
    holds = page.holds(max(errors) <= CALIBRATION)
    return [
        ["expected calibration error", f"<= {CALIBRATION} each", _each(errors, ".4f"), holds],
        ["the same at the top of its ranking", "", _each(top, ".4f"), ""],
    ]


# ---- other tables ---------------------------------------------------------------------------------------------------


def systems(done: Done, metric: str) -> str:
    """Writes the table of a metric's means over seeds, a system a row and an experiment a column."""
    rows = [
        [title, *(f"{mean(run.metric(name, metric) for run in runs):.3f}" for runs in done.values())]
        for name, title in SYSTEMS.items()
    ]
    return page.table(["", *(experiment.title for experiment in done)], rows)


def sources(done: Done) -> list[list[str]]:
    """Returns the user model of each data set beside each of its sources."""
    rows = []
    for data, runs in by_data(done).items():
        models = [run.found["user_model"] for run in runs]
        whole = [_each([m["log_likelihood"]["test"] for m in models]), _each([m["ndcg"] for m in models]), ""]
        rows.append([data, "user model", *whole])
        for name in models[0]["alone"]:
            alone = ([m["alone"][name][key] for m in models] for key in ("log_likelihood", "ndcg"))
            weights = _each([m["weights"][name] for m in models], ".2f")
            rows.append([data, name.replace("_", " "), *map(_each, alone), weights])
    return rows


def ablation(done: Done) -> list[list[str]]:
    """Returns the ablation of each policy with several rules, as far as its runs are complete."""
    rows = []
    for base in (e for e in done if e.part in ("balanced", "mixed")):
        variants = {e.settings: runs for e, runs in done.items() if (e.policy, e.data) == (base.policy, base.data)}
        for title, settings, system in ABLATION:
            if runs := variants.get(settings):
                means = (_each([run.metric(system, metric) for run in runs]) for metric in ("ndcg", "reward"))
                rows.append([base.title, title, *means])
    return rows


def minutes(experiment: Experiment, runs: Sequence[Finished]) -> list[str]:
    """Returns the bar on time, and the verdicts. A run that shared the machine took no less than alone."""
    most = MINUTES_GOODBOOKS if "goodbooks" in experiment.data else MINUTES
    times = ", ".join(f"{run.minutes:.1f}{'' if run.alone else '*'}" for run in runs)
    known = [run.minutes <= most for run in runs if run.alone or run.minutes <= most]
    holds = page.holds(all(known)) if known else "open"
    if all(known) and 0 < len(known) < len(runs):
        holds += ", where known"
    return [experiment.name, f"<= {most} each", times, holds, ", ".join(run.found["verdict"] for run in runs)]


def _row(what: str, least: float | None, values: Sequence[float], form: str = ".3f") -> list[str]:
    """Returns a row whose bar, if any, is on the mean."""
    asked = "" if least is None else f">= {least:g}"
    return [what, asked, _each(values, form), "" if least is None else page.holds(mean(values) >= least)]


def _compared(
    what: str,
    least: float | None,
    own: Sequence[float],
    others: Sequence[float | None],
    how: Literal["ratio", "difference"],
) -> list[str]:
    """Returns a row on two means, of the seeds where the other is known; None is what the other does not reach."""
    pairs = [(a, b) for a, b in zip(own, others, strict=True) if b is not None]
    missed = f"beyond reach with {len(own) - len(pairs)} of {len(own)} seeds" if len(pairs) < len(own) else ""
    asked, holds = "" if least is None else f">= {least:g}", "" if least is None else page.holds(True)
    if not pairs:
        return [what, asked, missed, holds]

    def against(a: float, b: float) -> float:
        return a - b if how == "difference" else a / b if b else float("inf")

    whole = against(mean(a for a, _ in pairs), mean(b for _, b in pairs))
    told = _each([against(a, b) for a, b in pairs], ".3f" if how == "ratio" else "+.4f", whole)
    if least is not None:
        holds = page.holds(whole >= least)
    return [what, asked, told + (f", {missed}" if missed else ""), holds]


def _each(values: Sequence[float], form: str = ".3f", whole: float | None = None) -> str:
    """Returns the mean, or what stands for the whole, and behind it the value of each seed."""
    every = ", ".join(format(value, form) for value in values)
    return f"{mean(values) if whole is None else whole:{form}} ({every})"


def _intervals(of: Sequence[Interval]) -> str:
    return ", ".join(f"[{i.low:+.4f}, {i.high:+.4f}]" for i in of)
