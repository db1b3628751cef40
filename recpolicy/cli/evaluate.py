"""Evaluates the lists of any recommender by a policy (`recpolicy evaluate`)."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpolicy.cli import reading
from recpolicy.cli.rerank import listed_problems
from recpolicy.errors import UsageError
from recpolicy.render.terminal import columns

if TYPE_CHECKING:
    from recpolicy.api import Evaluated
    from recpolicy.evaluation.metrics import Interval


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    evaluate = subparsers.add_parser(
        "evaluate",
        help="accuracy, rules and targets of any recommender's lists",
        description="Evaluates the lists of any recommender on what users took next. The lists stand in a Parquet or "
        "JSONL file: user_id, items (a list of item ids, the best first), next_items (what the user took), and maybe "
        "history (what the user had taken before) and now (when).",
    )
    evaluate.add_argument("policy", metavar="POLICY", help=reading.POLICY)
    evaluate.add_argument("--data", metavar="SOURCE", help=reading.SOURCE)
    evaluate.add_argument("--lists", type=Path, required=True, metavar="FILE", help="lists: .parquet or .jsonl")
    evaluate.add_argument(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="today's lists for the same users: user_id and items",
    )
    evaluate.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the figures as JSON, too")
    evaluate.add_argument(
        "--fail-unless",
        choices=("ship",),
        help="for pipelines: exit code 1 unless the verdict is SHIP (with --baseline)",
    )
    reading.add(evaluate)
    evaluate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluates the lists. Raises PolicyError for the policy, UsageError for data or lists that cannot be used."""
    if args.fail_unless and args.baseline is None:
        raise UsageError("--fail-unless needs a baseline", help="name its lists with --baseline FILE")
    policy = reading.loaded(args)

    from recpolicy.api.files import read_lists

    rows = read_lists(args.lists, ("items", "next_items"))
    baseline = None
    if args.baseline is not None:
        of_user = _by_user(read_lists(args.baseline, ("items",)), args.baseline)
        absent = [user for user in rows["user_id"] if user not in of_user]
        if absent:
            message = f"no list for user {absent[0]!r}" + (f" and {len(absent) - 1:,} more" if absent[1:] else "")
            raise UsageError(message, where=str(args.baseline), help="give the baseline's list of every user")
        baseline = [of_user[user] for user in rows["user_id"]]
    found = policy.evaluate(
        rows["items"],
        next_items=rows["next_items"],
        user=rows["user_id"],
        history=rows.get("history"),
        now=rows.get("now"),
        baseline=baseline,
    )
    if args.out is not None:
        reading.write(args.out, json.dumps(report(found, policy.name), indent=2, allow_nan=False) + "\n")
    print(_page(found, policy.name, policy.slate, args.lists.name))
    return 1 if args.fail_unless and (found.decision is None or found.decision.word != "SHIP") else 0


def report(found: Evaluated, policy: str) -> dict[str, Any]:
    """Returns the figures as JSON has them (docs/schemas/evaluation.json); null is not applicable."""
    return {
        "policy": policy,
        "users": found.users,
        "decision": None if found.decision is None else asdict(found.decision),
        "reward": _interval(found.reward),
        "accuracy": {name: _interval(value) for name, value in found.accuracy.items()},
        "rules": {name: _interval(value) for name, value in found.rules.items()},
        "targets": [
            {**{key: _number(value) for key, value in asdict(outcome).items()}, "verdict": outcome.verdict}
            for outcome in found.targets
        ],
        "less_baseline": {name: _interval(value) for name, value in found.less_baseline.items()},
        "blocked": found.blocked,
        "problems": [asdict(problem) for problem in found.problems],
    }


def _by_user(rows: Any, path: Path) -> dict[str, list[Any]]:
    of_user = dict(zip(rows["user_id"], rows["items"], strict=True))
    if len(of_user) < len(rows):
        raise UsageError("some user has several lists", where=str(path), help="give one list for each user")
    return of_user


def _interval(value: Interval) -> dict[str, float | None]:
    return {key: _number(number) for key, number in asdict(value).items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(found: Evaluated, policy: str, k: int, name: str) -> str:
    lines = [f'{name}: {found.users:,} lists by "{policy}", {k} places', ""]
    if found.decision is not None:
        lines[:0] = [f"{found.decision.word}: {found.decision.reason}", ""]
    head = ("", "mean", "95 % interval", *(("less baseline", "95 % interval") if found.less_baseline else ()))
    rows = [head, ("R, the whole reward", *_cells(found.reward, found.less_baseline.get("reward")))]
    for group, titles in ((found.accuracy, _TITLES), (found.rules, {})):
        for key, value in group.items():
            rows.append((titles.get(key, f"rule {key}"), *_cells(value, found.less_baseline.get(key))))
    lines += [line.rstrip() for line in columns(rows)]
    for outcome in found.targets:
        asked = f"asked {outcome.op} {outcome.bound:.3f}"
        interval = f"{outcome.value:.3f} [{outcome.low:.3f}, {outcome.high:.3f}]"
        lines.append(f"target {outcome.name}: {outcome.verdict}, {interval}, {asked}")
    if found.blocked:
        lines.append(f"Lists with a blocked item: {found.blocked:.1%}.")
    return "\n".join(lines) + "\n" + listed_problems(found.problems)


_TITLES = {"ndcg": "NDCG", "hit": "hit rate", "recall": "recall", "precision": "precision", "mrr": "MRR"}


def _cells(value: Interval, difference: Interval | None) -> tuple[str, ...]:
    if math.isnan(value.mean):
        return ("-", "applies to nobody", *(("", "") if difference else ()))
    cells: tuple[str, ...] = (f"{value.mean:.4f}", f"{value.low:.4f} to {value.high:.4f}")
    if difference is not None:
        cells += (f"{difference.mean:+.4f}", f"{difference.low:+.4f} to {difference.high:+.4f}")
    return cells
