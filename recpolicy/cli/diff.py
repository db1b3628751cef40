"""`recpolicy diff`: two policies in, what changed in them and in the lists they make out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from recpolicy import explain
from recpolicy.cli import reading
from recpolicy.diff.text import Change, changes
from recpolicy.errors import UsageError
from recpolicy.explain import values
from recpolicy.language.checker import Loaded
from recpolicy.language.policy import Policy

if TYPE_CHECKING:
    from recpolicy.dataset.rows import Dataset
    from recpolicy.diff.lists import Comparison, Example, Mean

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

WIDTH = 100
TITLE = 42
"""Characters of a title that are shown."""


def add(subparsers: Subparsers) -> None:
    """Add the command to the argument parser."""
    parser = subparsers.add_parser(
        "diff",
        help="say what changes from one policy to another, before any training",
        description="What changed in the text, in words; then both policies make lists for the same users out of the "
        "same candidates: how many lists change, and what moves by how much.",
    )
    parser.add_argument("old", metavar="OLD", help="a .policy file, or the name of a sample")
    parser.add_argument("new", metavar="NEW", help="a .policy file, or the name of a sample")
    parser.add_argument("--data", metavar="NAME_OR_FOLDER", help="whose users and items; default: the policies' own")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="users to make lists for (200)")
    reading.add(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare the texts, then the lists where there is data."""
    if arguments.users < 1:
        raise UsageError(
            f"--users is {arguments.users}", help="it is the number of users to make lists for, at least 1"
        )
    schema = reading.data_columns(arguments.data) if arguments.data else None
    old = reading.policy(arguments.old, arguments, schema)
    new = reading.policy(arguments.new, arguments, schema)
    sys.stdout.write(_text(old.policy, new.policy))
    source = _source(old, new, arguments.data)
    if source is None:
        sys.stdout.write("\nThe policies name no data: give --data SOURCE to see which lists change.\n")
        return 0
    from recpolicy import data  # loads NumPy
    from recpolicy.cli.titles import titles
    from recpolicy.diff.lists import compare

    dataset = data.open(source, new.schema)
    sys.stdout.flush()
    found = compare(old.policy, new.policy, dataset, users=arguments.users)
    sys.stdout.write("\n" + _lists(found, dataset, titles(dataset)))
    return 0


def _source(old: Loaded, new: Loaded, given: str | None) -> str | None:
    if given is not None:
        return given
    named = [reading.data_of(loaded, None) for loaded in (old, new) if loaded.policy.data is not None]
    if len(set(named)) > 1:
        raise UsageError(f"the policies are for different data: {' and '.join(named)}", help="say which: --data SOURCE")
    return named[0] if named else None


# ---- what they say --------------------------------------------------------------------------------------------------


def _text(old: Policy, new: Policy) -> str:
    lines = [f"From {old.name}, version {old.version}, to {new.name}, version {new.version}", ""]
    found = changes(old, new)
    if not found:
        return "\n".join([*lines, "Both say the same.", ""])
    lines += ["What changed in the text", ""]
    for change in found:
        lines += [*_change(change), ""]
    return "\n".join(lines) + _shares(old, new)


def _change(change: Change) -> list[str]:
    head = f"  `{change.name}` {change.what}"
    told = [(label, text) for label, text in (("before", change.before), ("now", change.now)) if text]
    indent = " " * 12
    said = [fill(t, WIDTH, initial_indent=f"    {f'{x}:':<8}", subsequent_indent=indent) for x, t in told]
    return [head + ("." if not said else ":"), *said]


def _shares(old: Policy, new: Policy) -> str:
    """How much each rule counts where any share changed, else nothing."""
    before, now = explain.shares(old), explain.shares(new)
    names = list(dict.fromkeys([*now, *before]))
    shown = [(name, _share(before.get(name)), _share(now.get(name))) for name in names]
    if all(was == is_ for _, was, is_ in shown):
        return ""
    return "How much each counts, of the whole\n\n" + _table(["", "before", "now"], shown) + "\n"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


# ---- what they make -------------------------------------------------------------------------------------------------


def _lists(found: Comparison, dataset: Dataset, names: Sequence[str]) -> str:
    whom = f"{found.users} of the {found.of} users" if found.users < found.of else f"all {found.users} users"
    told = f"What changes in the lists of {whom} of {dataset.name}"
    if not found.changed:
        return f"{told}\n\n  No list changes.\n"
    exchanging = found.changed - found.reordered
    said = [
        f"{found.changed} of {values.counted(found.users, 'list')} change: {_same_items(found.reordered)}, "
        f"{exchanging} {'holds' if exchanging == 1 else 'hold'} other items.",
        f"A changed list gives {_about(found.exchanged, 'item')} for others"
        f"; an item that stays moves by {_about(found.moved, 'place')}.",
        f"Accuracy on what the users took next (NDCG) goes from {found.ndcg.old:.4f} to {found.ndcg.new:.4f}: "
        f"{_verdict(found)}",
    ]
    rows = [(r.name + _VERSIONS[r.version], *_numbers(r.value), *_percents(r.met)) for r in found.rules]
    others = [
        ("accuracy (NDCG)", *_numbers(found.ndcg)),
        ("novelty", *_numbers(found.novelty)),
        ("share of the catalog shown", *_numbers(found.coverage)),
    ]
    parts = [
        f"{told}\n",
        fill(" ".join(said), WIDTH, initial_indent="  ", subsequent_indent="  ") + "\n",
        "What moves: means over the users, of quotas also the share of lists that meet them\n",
        _table(["", "before", "now", "change", "met before", "met now"], [*rows, *others]),
        f"{_EXAMPLES}\n",
        *(_example(names, example) for example in found.examples),
        fill(_HOW, WIDTH) + "\n",
    ]
    return "\n".join(parts)


_EXAMPLES = "The first of these users whose lists change: before beside now, - what goes, + what comes"
_VERSIONS = {"": "", "before": ", as it was", "now": ", as it is now"}
_HOW = (
    "The lists are made without training: each user's 100 best items by EASE, put in order one place after another so "
    "that the whole reward of the policy grows most. For the rules that look at what the user takes next, EASE's score "
    "stands in (the re-rank control with mu = K (1 - s) / s, s their share of the weights)."
)


def _same_items(count: int) -> str:
    return f"{count} {'holds' if count == 1 else 'hold'} the same items in another order"


def _about(mean: float, noun: str) -> str:
    amount = f"{mean:.1f}".removesuffix(".0")
    return values.counted(1, noun) if amount == "1" else f"{amount} {values.plural(noun)}"


def _verdict(found: Comparison) -> str:
    change = found.ndcg_change
    interval = f"{change.mean:+.4f}, 95 % interval {change.low:+.4f} to {change.high:+.4f}"
    if math.isnan(change.mean):
        return "no user was tested."
    sure = "more than chance" if change.low > 0 or change.high < 0 else "no more than chance may do"
    return f"{sure} ({interval})."


def _numbers(mean: Mean) -> tuple[str, str, str]:
    old, new = (("-" if math.isnan(v) else f"{v:.3f}") for v in (mean.old, mean.new))
    change = mean.new - mean.old
    return old, new, "" if math.isnan(change) or abs(change) < 5e-4 else f"{change:+.3f}"


def _percents(mean: Mean | None) -> tuple[str, ...]:
    return () if mean is None else (f"{mean.old:.0%}", f"{mean.new:.0%}")


def _example(names: Sequence[str], example: Example) -> str:
    """Both lists side by side; `+` marks what came, `-` what went."""
    lines = [f"User {example.user}"]
    for r in range(max(len(example.old), len(example.new))):
        was = _place(names, example.old, r, example.new, "-")
        now = _place(names, example.new, r, example.old, "+")
        lines.append(f"  {r + 1:>3}  {was:<{TITLE + 2}}  {now}".rstrip())
    return "\n".join(lines) + "\n"


def _place(names: Sequence[str], items: Sequence[int], r: int, others: Sequence[int], mark: str) -> str:
    if r >= len(items):
        return ""
    name = names[items[r]]
    short = name if len(name) <= TITLE else f"{name[: TITLE - 3].rstrip()}..."
    return f"{' ' if items[r] in others else mark} {short}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    width = max(len(row[0]) for row in rows)
    widths = [max(7, len(title)) for title in head[1:]]
    lines = []
    for row in (head, *rows):
        cells = "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], widths, strict=False))
        lines.append(f"  {row[0]:<{width}}{cells}".rstrip())
    return "\n".join(lines) + "\n"
