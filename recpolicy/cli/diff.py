"""Shows what changes from one policy to another, in their text and in their lists (`recpolicy diff`)."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recpolicy import explain
from recpolicy.cli import reading
from recpolicy.diff.text import Change, changes
from recpolicy.errors import UsageError
from recpolicy.explain import values
from recpolicy.language.checker import Loaded
from recpolicy.language.policy import Policy
from recpolicy.render.terminal import columns, paragraph
from recpolicy.render.text import width

if TYPE_CHECKING:
    from recpolicy.dataset.rows import Dataset
    from recpolicy.diff.lists import Comparison, Example, Mean
    from recpolicy.evaluation.metrics import Interval

TITLE = 42
"""Characters of a title that are shown."""


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "diff",
        help="say what changes from one policy to another, before any training",
        description="What changed in the text, in words; then both policies make lists for the same users out of the "
        "same candidates: how many lists change, and what moves by how much.",
    )
    parser.add_argument("old", metavar="OLD", help=reading.POLICY)
    parser.add_argument("new", metavar="NEW", help=reading.POLICY)
    parser.add_argument("--data", metavar="NAME_OR_FOLDER", help="whose users and items; default: the policies' own")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="users to make lists for (200)")
    reading.add(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compares the texts, then the lists where there is data. Raises UsageError for policies of different data."""
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
        print("\nThe policies name no data: give --data SOURCE to see which lists change.")
        return 0
    from recpolicy import data  # loads NumPy
    from recpolicy.dataset.titles import titles
    from recpolicy.diff.lists import compare

    dataset = data.open(source, new.schema)
    sys.stdout.flush()
    comparison = compare(old.policy, new.policy, dataset, users=arguments.users)
    sys.stdout.write("\n" + _lists(comparison, dataset, titles(dataset)))
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
    all_changes = changes(old, new)
    if not all_changes:
        return "\n".join([*lines, "Both say the same.", ""])
    lines += ["What changed in the text", ""]
    for change in all_changes:
        lines += [*_change(change), ""]
    return "\n".join(lines) + _shares(old, new)


def _change(change: Change) -> list[str]:
    head = f"  `{change.name}` {change.what}"
    texts = (("before:", change.before), ("now:", change.now))
    lines = [paragraph(text, f"    {label:<8}", " " * 12) for label, text in texts if text]
    return [head + (":" if lines else "."), *lines]


def _shares(old: Policy, new: Policy) -> str:
    """How much each rule counts where any share changed, else nothing."""
    before, now = explain.shares(old), explain.shares(new)
    rows = [(name, _share(before.get(name)), _share(now.get(name))) for name in dict.fromkeys([*now, *before])]
    if all(was == is_ for _, was, is_ in rows):
        return ""
    return "How much each counts, of the whole\n\n" + _table(["", "before", "now"], rows) + "\n"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


# ---- what they make -------------------------------------------------------------------------------------------------


def _lists(result: Comparison, dataset: Dataset, names: Sequence[str]) -> str:
    whom = f"{result.users} of the {result.of} users" if result.users < result.of else f"all {result.users} users"
    head = f"What changes in the lists of {whom} of {dataset.name}"
    if not result.changed:
        return f"{head}\n\n  No list changes.\n"
    exchanging = result.changed - result.reordered
    sentences = [
        f"{result.changed} of {values.counted(result.users, 'list')} change: "
        f"{_hold(result.reordered)} the same items in another order, {_hold(exchanging)} other items.",
        f"A changed list gives {_about(result.exchanged, 'item')} for others"
        f"; an item that stays moves by {_about(result.moved, 'place')}.",
        f"Accuracy on what the users took next (NDCG) goes from {result.ndcg.old:.4f} to {result.ndcg.new:.4f}: "
        f"{_verdict(result.ndcg_change)}",
    ]
    means = [
        *((rule.name + _VERSIONS[rule.version], rule.value, rule.met) for rule in result.rules),
        ("accuracy (NDCG)", result.ndcg, None),
        ("novelty", result.novelty, None),
        ("share of the catalog shown", result.coverage, None),
    ]
    rows = [(name, *_numbers(mean), *_percents(met)) for name, mean, met in means]
    parts = [
        f"{head}\n",
        paragraph(" ".join(sentences), "  ", "  ") + "\n",
        "What moves: means over the users, of quotas also the share of lists that meet them\n",
        _table(["", "before", "now", "change", "met before", "met now"], rows),
        f"{_EXAMPLES}\n",
        *(_example(names, example) for example in result.examples),
        paragraph(_HOW) + "\n",
    ]
    return "\n".join(parts)


_EXAMPLES = "The first of these users whose lists change: before beside now, - what goes, + what comes"
_VERSIONS = {"": "", "before": ", as it was", "now": ", as it is now"}
_HOW = (
    "The lists are made without training: each user's 100 best items by EASE, put in order one place after another so "
    "that the whole reward of the policy grows most. For the rules that look at what the user takes next, EASE's score "
    "stands in (the re-rank control with mu = K (1 - s) / s, s their share of the weights)."
)


def _hold(count: int) -> str:
    return f"{count} {'holds' if count == 1 else 'hold'}"


def _about(mean: float, noun: str) -> str:
    amount = f"{mean:.1f}".removesuffix(".0")
    return values.counted(1, noun) if amount == "1" else f"{amount} {values.plural(noun)}"


def _verdict(change: Interval) -> str:
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
    return ("", "") if mean is None else (f"{mean.old:.0%}", f"{mean.new:.0%}")


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
    widths = [max(width(row[0]) for row in rows), *(max(7, len(title)) for title in head[1:])]
    return "".join(f"  {line}".rstrip() + "\n" for line in columns([head, *rows], widths, right=True))
