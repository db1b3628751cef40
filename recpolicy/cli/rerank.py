"""Reranks the candidates of any recommender by a policy (`recpolicy rerank`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy.cli import reading
from recpolicy.errors import UsageError
from recpolicy.render.terminal import columns

if TYPE_CHECKING:
    from recpolicy.api import FittedStrength, RowProblem


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    rerank = subparsers.add_parser(
        "rerank",
        help="lists by a policy, from the candidates of any recommender",
        description="Builds lists by a policy from the candidates of any recommender, without training. The candidates "
        "stand in a Parquet or JSONL file: user_id, candidates (a list of item ids), scores (a number for each, of any "
        "scale), and maybe history (what the user had taken before) and now (when).",
    )
    rerank.add_argument("policy", metavar="POLICY", help=reading.POLICY)
    rerank.add_argument("--data", metavar="SOURCE", help=reading.SOURCE)
    rerank.add_argument("--candidates", type=Path, required=True, metavar="FILE", help="candidates: .parquet or .jsonl")
    rerank.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="lists: .parquet or .jsonl")
    strength = rerank.add_mutually_exclusive_group()
    strength.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help="weight of the policy beside the scores, 0 for none",
    )
    strength.add_argument(
        "--fit",
        type=Path,
        metavar="FILE",
        help="find the strength with the largest reward on held-out candidates: a file of that form with next_items",
    )
    reading.add(rerank)
    rerank.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reranks every row. Raises PolicyError for the policy, UsageError for data or candidates that cannot be used."""
    if args.out.suffix not in (".parquet", ".jsonl"):
        raise UsageError("lists are written as .parquet or .jsonl", where=str(args.out))
    if args.strength is not None and not args.strength >= 0:
        raise UsageError(f"--strength is {args.strength}", help="it is 0 or more")
    policy = reading.loaded(args)

    from recpolicy.api.files import read_lists

    strength: float | None = args.strength
    if args.fit is not None:
        held = read_lists(args.fit, ("candidates", "scores"), required=("next_items",))
        fitted = policy.fit_strength(
            held["candidates"],
            held["scores"],
            next_items=held["next_items"],
            user=held["user_id"],
            history=held.get("history"),
            now=held.get("now"),
        )
        print(_curve(fitted))
        strength = fitted.strength
    rows = read_lists(args.candidates, ("candidates", "scores"))
    reranked = policy.rerank(
        rows["candidates"],
        rows["scores"],
        user=rows["user_id"],
        history=rows.get("history"),
        now=rows.get("now"),
        strength=strength,
    )
    _write(args.out, rows["user_id"], reranked.lists)
    short = sum(len(items) < policy.slate for items in reranked.lists)
    print(f"wrote {len(reranked.lists):,} lists of {policy.slate} to {args.out}")
    if short:
        print(f"Lists with fewer than {policy.slate} items, since candidates did not suffice: {short:,}.")
    print(listed_problems(reranked.problems), end="")
    return 0


def listed_problems(problems: tuple[RowProblem, ...]) -> str:
    """Returns a line for each of the first problems, and how many there are."""
    if not problems:
        return ""
    lines = "".join(f"  row {problem.row + 1}: {problem.reason}\n" for problem in problems[:5])
    return f"Rows with a problem: {len(problems):,}\n{lines}"


def _curve(fitted: FittedStrength) -> str:
    rows = [("strength", "reward", "NDCG", "")]
    for tried in fitted.tried:
        mark = "chosen" if tried.strength == fitted.strength else ""
        rows.append((f"{tried.strength:g}", f"{tried.reward:.4f}", f"{tried.ndcg:.4f}", mark))
    return "\n".join(line.rstrip() for line in columns(rows)) + "\n"


def _write(path: Path, user: list[str], lists: list[list[str]]) -> None:
    """Writes one row for each list; the file appears whole or not at all."""
    if path.suffix == ".jsonl":
        rows = (json.dumps({"user_id": u, "items": items}) for u, items in zip(user, lists, strict=True))
        return reading.write(path, "".join(row + "\n" for row in rows))
    from recpolicy.api.frames import lists_as_parquet

    return reading.write(path, lists_as_parquet(user, lists))
