"""Scores logged slates by a policy (`recpolicy score`): shows a summary and may write a file of scores."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy.cli import reading
from recpolicy.errors import UsageError
from recpolicy.language.policy import Policy, Quota, level
from recpolicy.render.terminal import columns

if TYPE_CHECKING:
    from recpolicy.scoring import Mean, Tally


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    score = subparsers.add_parser(
        "score",
        help="what a policy says of logged slates",
        description="Scores logged slates by every rule of a policy. The slates stand in a Parquet or JSONL file, or a "
        "folder of Parquet parts: "
        "user_id, items (a list of item ids, the best first), and maybe next_items (what the user took), now (when) "
        "and history (what the user had taken before, else what the data hold up to now).",
    )
    score.add_argument("policy", metavar="POLICY", help=reading.POLICY)
    score.add_argument("--data", metavar="SOURCE", help=reading.SOURCE)
    score.add_argument(
        "--slates", type=Path, required=True, metavar="FILE", help="logged slates: .parquet, .jsonl or a folder"
    )
    score.add_argument("-o", "--out", type=Path, metavar="FILE", help="scores of each slate: .parquet or .jsonl")
    score.add_argument("--ranks", action="store_true", help="write, too, what each place adds to each rule's value")
    reading.add(score)
    score.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scores every slate. Raises PolicyError for the policy, UsageError for data or slates that cannot be used."""
    if args.ranks and args.out is None:
        raise UsageError("--ranks is for a file of scores", help="say which with --out FILE")
    if args.out is not None and args.out.suffix not in (".parquet", ".jsonl"):
        raise UsageError("scores are written as .parquet or .jsonl", where=str(args.out))
    if args.out is not None and args.out.resolve() == args.slates.resolve():
        raise UsageError("the scores would overwrite the slates", where=str(args.out), help="give --out another name")
    if args.out is not None and args.slates.is_dir() and args.slates.resolve() in args.out.resolve().parents:
        help = "write them beside the folder"
        raise UsageError("the scores would lie among the slates", where=str(args.out), help=help)
    loaded = reading.policy(args.policy, args, reading.data_columns(args.data) if args.data else None)
    source = reading.data_of(loaded, args.data)

    from recpolicy import data, scoring
    from recpolicy.compiler import compile

    dataset = data.open(source, loaded.schema)
    scorer = scoring.Scorer(compile(loaded.policy, dataset), dataset, ranks=args.ranks)
    try:
        with _bar() as progress:
            tally = scoring.score_files(scorer, args.slates, args.out, progress=progress)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", where=str(args.out)) from None
    print(_summary(tally, loaded.policy, args.slates.name))
    if args.out is not None:
        print(f"\nwrote {args.out}")
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[int, float], None] | None]:
    """Yields a function that shows the progress on a terminal; None elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    speed = TextColumn("{task.fields[slates]:,} slates  {task.fields[speed]:,.0f} a second")
    with Progress(BarColumn(), speed, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, slates=0, speed=0.0)
        start = time.monotonic()

        def show(slates: int, share: float) -> None:
            bar.update(task, completed=share, slates=slates, speed=slates / max(time.monotonic() - start, 1e-9))

        yield show


def _summary(tally: Tally, policy: Policy, name: str) -> str:
    """A table of the rules, and a sentence for each kind of unusual slates."""
    lines = [f'{name}: {tally.slates:,} slates by "{policy.name}" version {policy.version}, {policy.slate} places']
    if not tally.slates:
        return lines[0]
    rows = [("rule", "weight", "mean", "95 % interval", "slates", "satisfied", "places without a value")]
    places = tally.slates * policy.slate
    for rule in policy.rules:
        value = tally.mean(f"{rule.name}.value")
        met = tally.total(f"{rule.name}.satisfied")
        abstained = tally.total(f"{rule.name}.abstained")
        rows.append(
            (
                rule.name,
                "hard" if isinstance(rule, Quota) and rule.hard else f"{level(rule.weight.base):g}",
                *_mean(value),
                f"{value.slates:,}",
                f"{met / value.slates:.1%}" if isinstance(rule, Quota) and value.slates else "",
                f"{abstained / places:.1%}" if abstained else "",
            )
        )
    whole = tally.mean("reward")
    rows.append(("R, the whole reward", "", *_mean(whole), f"{whole.slates:,}", "", ""))
    lines += ["", *(line.rstrip() for line in columns(rows)), ""]
    blocked, seen, holes, unknown, repeated, beyond, unknown_next = (
        int(tally.total(name)) for name in ("blocked", "seen", "holes", "unknown", "repeated", "beyond", "unknown_next")
    )
    lines.append(f"Slates with a blocked item: {blocked:,} ({blocked / tally.slates:.1%}).")
    if holes:
        why = f"{unknown:,} items that the catalog does not hold, {repeated:,} repeated, the others seen or left empty"
        lines.append(f"Holes: {holes:,} of {places:,} places ({holes / places:.1%}): {why}.")
    if seen:
        why = "holes in rows with `now` or `history`; in others they may have been taken from the list, and count"
        lines.append(f"Places with an item of the user's history: {seen:,} ({seen / places:.1%}): {why}.")
    if beyond:
        lines.append(f"Items behind place {policy.slate}, which do not count: {beyond:,}.")
    if unknown_next:
        what = "they count as taken, and no list can hold them"
        lines.append(f"Next items that the catalog does not hold: {unknown_next:,}; {what}.")
    if without := tally.slates - tally.mean("reward").slates:
        lines.append(f"Slates to which no rule with a weight applies: {without:,}; R leaves them out.")
    return "\n".join(lines)


def _mean(value: Mean) -> tuple[str, str]:
    if not value.slates:
        return "-", "applies to no slate"
    if math.isnan(value.margin):
        return f"{value.mean:.3f}", ""
    return f"{value.mean:.3f}", f"{value.mean - value.margin:.3f} to {value.mean + value.margin:.3f}"
