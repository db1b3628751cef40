"""Shows what the rules of a policy would do in training (`recpolicy profile`).

`--format json` writes one document: `schema_version`, `policy` (`name`, `version`), `run`, `data`, `users`, `copies`
and `temperature`; `rules` and `fixed` with the fields of `profile.RuleProfile` and `profile.FixedList`, and for the
latter `titles` and `verdict`; `ok`, false where a rule has no signal or a loophole is open. What does not apply is
null.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from recpolicy.cli import reading
from recpolicy.language.policy import Policy
from recpolicy.render.document import written
from recpolicy.render.text import visible
from recpolicy.runs import Run, plain

if TYPE_CHECKING:
    from recpolicy.dataset.rows import Dataset
    from recpolicy.profile.report import FixedList, Price, Profile, RuleProfile


@dataclass(frozen=True)
class Profiled:
    """A profile, and the policy, the data and the run that it is about."""

    profile: Profile
    policy: Policy
    dataset: Dataset
    folder: Path

    def titles(self) -> list[str]:
        """Returns the names of the items of the fixed list."""
        from recpolicy.dataset.titles import titles  # loads NumPy

        names, fixed = titles(self.dataset), self.profile.fixed
        return [visible(names[item]) for item in fixed.items] if fixed else []


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "profile",
        help="say what a policy would do in training: weights, prices, loopholes",
        description="Samples lists from the fine-tuned model of a run and says how much each rule really counts, what "
        "it costs in relevance, and what a list that ignores the user can get. Exit code 0: nothing to mend; "
        "1: a rule has no signal, or there is a loophole; 2: wrong use.",
    )
    parser.add_argument("policy", metavar="POLICY", help=reading.POLICY)
    parser.add_argument(
        "--run",
        dest="folder",
        type=Path,
        required=True,
        metavar="RUN",
        help="a run folder, finished or begun: its data, seed, settings and fine-tuned model are used",
    )
    parser.add_argument(
        "--format",
        choices=("human", "plain", "json"),
        default="human",
        help="human: tables (default); plain: sentences, for screen readers; json: for other programs",
    )
    reading.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Profiles the policy. Returns 1 where a rule has no signal or a loophole is open."""
    trained = Run(args.folder)
    loaded = reading.policy(args.policy, args, reading.data_columns(trained.read()["source"]))
    with reading.trainer("profiling"):
        from recpolicy.trainer.profile import of_run
    from rich.console import Console

    with Console(stderr=True).status("sampling lists, searching for loopholes"):
        profile, dataset = of_run(loaded, trained)
    result = Profiled(profile, loaded.policy, dataset, args.folder)
    match args.format:
        case "json":
            sys.stdout.write(_document(result))
        case "plain":
            print(*_sentences(result), sep="\n")
        case _:
            _show(result)
    return 0 if profile.clean else 1


# ---- in words -------------------------------------------------------------------------------------------------------


def _about(result: Profiled) -> str:
    profile, policy = result.profile, result.policy
    return (
        f'"{policy.name}" version {policy.version}, on {profile.users:,} validation users of {result.dataset.name} '
        f"with {profile.generations} lists each, sampled from the fine-tuned model of {result.folder} "
        f"at temperature {profile.temperature:g}."
    )


def _sentences(result: Profiled) -> Iterator[str]:
    profile = result.profile
    yield _about(result)
    for rule in profile.rules:
        cells = zip(HEAD, _cells(rule), strict=True)
        yield f"{rule.name}: {', '.join(f'{title} {cell}' for title, cell in cells)}."
    yield from _silent(profile)
    yield from _prices(profile)
    if profile.fixed is not None:
        yield from _fixed(profile.fixed, profile)
        yield f"The list: {'; '.join(result.titles())}."
    yield from _others(profile)


def _silent(profile: Profile) -> Iterator[str]:
    for rule in profile.dead:
        yield f"`{rule.name}` has no signal: {_why(rule)}"


def _why(rule: RuleProfile) -> str:
    assert rule.silence is not None
    match rule.silence:
        case "for nobody":
            return "it applies to none of these users. See its `when`, or the history it needs."
        case "without data":
            return "no item that the model shows has a value for it. `recpolicy data describe` says what is missing."
        case "never" if rule.kind == "bury":
            return "the model shows nothing of what it buries."
        case "never":
            return "no list has any of it, and what is never sampled is never learned. Ask for less to begin with."
        case "always":
            return "every list has all of it already. It guards, but it teaches nothing."
        case "always the same":
            return f"every list gets the same, {_number(rule.value)}."
        case "same for each user":
            return "the lists of one user do not differ in it, so it cannot say which of them is better."
        case _:
            assert_never(rule.silence)


def _prices(profile: Profile) -> Iterator[str]:
    for name, price in _priced(profile):
        cost = price.cost
        values = f"value {_number(price.without)} to {_number(price.value)}, costs {cost.mean:.4f} NDCG"
        chance = ", which may be chance" if cost.low <= 0 <= cost.high and cost.mean else ""
        yield f"{name}: {values}, 95 % interval {cost.low:.4f} to {cost.high:.4f}{chance}."


def _priced(profile: Profile) -> list[tuple[str, Price]]:
    return [(rule.name, rule.price) for rule in profile.rules if rule.price is not None]


def _others(profile: Profile) -> Iterator[str]:
    """What fixed lists get of single rules, and popular items of relevance."""
    given = [rule.name for rule in profile.rules if rule.given_away]
    if given:
        yield f"Met in full by some list that ignores the user, each for itself: {', '.join(given)}."
    for rule in profile.rules:
        if rule.popular is not None:
            share = f", {rule.popular / rule.value:.0%} of that" if rule.value > 0 else ""
            got = f"the model's lists get {_number(rule.value)}, each user's most popular items"
            yield f"{rule.name}: {got} {_number(rule.popular)}{share}."


def _fixed(fixed: FixedList, profile: Profile) -> Iterator[str]:
    labelled = [rule.name for rule in profile.rules if rule.popular is not None]
    what = f" for all but {', '.join(labelled)}" if labelled else ""
    earns = f"earns a reward of {_number(fixed.reward)}{what}, the model's own lists {_number(fixed.own)}, lists made "
    earns += f"for each user {_number(fixed.best)}."
    accuracy = f"Its NDCG is {_number(fixed.ndcg)}, that of the model's lists {_number(fixed.own_ndcg)}."
    full = f" It has all of {', '.join(fixed.full)}." if fixed.full else ""
    trained = f"With all rules, training would credit it with {fixed.advantage:+.2f} beside a user's own lists"
    match fixed.verdict:
        case "none":
            yield f"No loophole found: the best list for everybody {earns} {accuracy}{full}"
        case "closed":
            yield f"A loophole, but closed: one list for everybody {earns} {accuracy}{full}"
            yield f"{trained}: {', '.join(labelled)} outweighs the rest."
        case "open":
            yield f"A loophole: one list for everybody {earns} {accuracy}{full}"
            more = f"Give more weight to {', '.join(labelled)}" if labelled else "Reward what users take next"
            yield f"{trained}: it is drawn to lists that ignore the user. {more}, or ask less of the others."
        case _:
            assert_never(fixed.verdict)


# ---- in tables and as JSON ------------------------------------------------------------------------------------------

HEAD = ("declared", "effective", "deviation", "value")

HOW = "effective: a rule's share in what tells one user's lists apart, which is what training goes by."


def _cells(rule: RuleProfile) -> tuple[str, ...]:
    effective = "no signal" if rule.silence is not None else _share(rule.effective)
    return _share(rule.declared), effective, f"{rule.deviation:.3f}", _number(rule.value)


def _share(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _show(result: Profiled) -> None:
    from rich.console import Console

    from recpolicy.render.tables import table

    profile, console = result.profile, Console(highlight=False, markup=False)
    console.print(_about(result))
    console.print("\nHow much each rule counts")
    rows = [((rule.name, *_cells(rule)), "yellow" if rule.silence else "") for rule in profile.rules]
    console.print(table(("", *HEAD), rows), HOW, *_silent(profile), "", sep="\n")
    if priced := _priced(profile):
        console.print("What each rule brings and costs: re-ranked lists with it beside those without it")
        head = ("", "value without", "with", f"NDCG@{result.policy.slate} lost", "95 % interval")
        console.print(table(head, [((name, *_price(price)), "") for name, price in priced]))
    console.print("Lists that ignore the user\n")
    if profile.fixed is not None:
        for sentence in _fixed(profile.fixed, profile):
            console.print(sentence)
        for rank, title in enumerate(result.titles(), 1):
            console.print(f"  {rank:>3}  {title}", soft_wrap=True)
    for sentence in _others(profile):
        console.print(sentence)


def _price(price: Price) -> tuple[str, ...]:
    interval = f"{price.cost.low:+.4f} to {price.cost.high:+.4f}"
    return _number(price.without), _number(price.value), f"{price.cost.mean:+.4f}", interval


def _document(result: Profiled) -> str:
    profile, fixed = result.profile, result.profile.fixed
    content = {
        "schema_version": 1,
        "policy": {"name": result.policy.name, "version": result.policy.version},
        "run": str(result.folder),
        "data": result.dataset.name,
        **asdict(profile),
        "fixed": fixed and {**asdict(fixed), "titles": result.titles(), "verdict": fixed.verdict},
        "ok": profile.clean,
    }
    return written(plain(content))
