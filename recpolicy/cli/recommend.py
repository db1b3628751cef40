"""Makes lists by a trained model, or shows how new items stand (`recpolicy recommend`).

Slates are JSON Lines that `recpolicy score` reads: `user_id`, `items` (ids, the best first), `now` (Unix seconds: the
time of the latest event in the data) and `reasoning`, what the model wrote before its answer.

`--arrivals --format json` writes one document: `schema_version`, `run`, `data`, `users` (the number of users) and
`arrivals`, each with `id`, `title` and the fields of `recommendation.Arrival`, `alike` as ids. What does not apply is
null.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy import outputs
from recpolicy.cli import reading
from recpolicy.errors import UsageError
from recpolicy.errors.words import counted
from recpolicy.recommendation import ALIKE, Arrival, Recommendation
from recpolicy.render.document import written
from recpolicy.render.text import visible
from recpolicy.runs import Run, plain

if TYPE_CHECKING:
    from recpolicy.data import Aligned
    from recpolicy.dataset.rows import Dataset

FEW = 10
"""A terminal shows lists of titles for at most so many users."""
LOOKED_AT = 1000
"""Users for whom new items are ranked, unless users are named."""
HOW = (
    "users: may be shown the item; lists: show it. Alike are the {most} items most like it, of those with at least "
    "{least} events in training. Likeness is the cosine of all attributes (topics, words of the title, creator, ...), "
    "each weighed by its rarity. Ranks are by the model's probability for the first place, medians over the users that "
    "the item may be shown to."
)


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "recommend",
        help="lists for users by a trained model, new items among them",
        description="Lets the model of a finished run make lists for the users of its data, or of a later state of "
        "them: items that came since can be recommended, what left the catalog is not shown. Lists are written as "
        "JSON Lines, which `recpolicy score` reads.",
    )
    parser.add_argument("--run", dest="folder", type=Path, required=True, metavar="RUN", help="a finished run folder")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="a later state of the run's data, with the same columns; default: the run's own",
    )
    parser.add_argument("--user", nargs="+", action="extend", metavar="ID", help="for these users; default: for all")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the lists to this .jsonl file")
    parser.add_argument(
        "--policy",
        metavar="POLICY",
        help="follow another policy than the run's from now on, without training: its rules, boosts and blocks count "
        "while lists are made",
    )
    parser.add_argument(
        "--strength",
        type=_strength,
        metavar="S",
        help="how much the policy counts while lists are made, beside what the model has learned of it: 0 is the model "
        "alone, 1 what the policy's weights say; default: 1 with --policy, else 0",
    )
    parser.add_argument(
        "--arrivals", action="store_true", help="instead of lists, say how the items stand that came after training"
    )
    parser.add_argument(
        "--format",
        choices=("human", "json"),
        help=f"human: titles (default on a terminal for at most {FEW} users, and with --arrivals); json",
    )
    parser.set_defaults(run=run)


def _strength(text: str) -> float:
    """A finite number of at least 0. Raises ArgumentTypeError for anything else."""
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    if not 0 <= strength < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no strength: give 0 or more, such as 1")
    return strength


def run(args: argparse.Namespace) -> int:
    """Makes lists or ranks new items. Raises UsageError for a run, data or users that cannot be used."""
    if args.out is not None and args.arrivals:
        raise UsageError("--out is for lists", help="leave out --arrivals, or write `--format json > FILE`")
    if args.out is not None and args.out.suffix != ".jsonl":
        raise UsageError("lists are written as .jsonl", where=str(args.out))
    trained = Run(args.folder)
    trained.read()
    with reading.trainer("recommending"):
        from recpolicy.trainer.recommend import deploy
    from rich.console import Console

    status = Console(stderr=True).status
    with status("reading the run and the data") as shown:
        strength = args.strength if args.strength is not None else 0.0 if args.policy is None else 1.0
        deployment = deploy(trained, args.data, shown.update, policy=args.policy, strength=strength)
        users = deployment.users(args.user, LOOKED_AT if args.arrivals else None)
    if args.arrivals:
        with status("ranking new items"):
            arrivals = deployment.arrivals(users)
        if args.format == "json":
            sys.stdout.write(_document(arrivals, deployment.dataset, len(users), args.folder))
        else:
            _show_arrivals(arrivals, deployment.catalog, len(users))
        return 0
    lists = deployment.recommendations(users)
    human = args.format == "human" or (args.format is None and sys.stdout.isatty() and len(users) <= FEW)
    if args.out is not None:
        try:
            with outputs.whole(args.out) as part, part.open("w", encoding="utf-8") as file, status("making lists"):
                file.writelines(_lines(lists, deployment.dataset, deployment.now))
        except OSError as error:
            raise UsageError(f"cannot write: {error.strerror}", where=str(args.out)) from None
        print(f"wrote {args.out}: {counted(len(users), 'list')}")
    elif human:
        sys.stdout.writelines(_titled(lists, deployment.catalog))
    else:
        sys.stdout.writelines(_lines(lists, deployment.dataset, deployment.now))
    return 0


# ---- lists ----------------------------------------------------------------------------------------------------------


def _lines(lists: Iterable[Recommendation], dataset: Dataset, now: float) -> Iterator[str]:
    for one in lists:
        items = [dataset.item_ids[item] for item in one.items]
        line = {"user_id": dataset.user_ids[one.user], "items": items, "now": now}
        yield json.dumps({**line, "reasoning": one.reasoning}, ensure_ascii=False) + "\n"


def _titled(lists: Iterable[Recommendation], catalog: Aligned) -> Iterator[str]:
    """Each user's list with titles; `*` marks what came after training."""
    from recpolicy.dataset.titles import titles  # loads NumPy

    names = titles(catalog.dataset)
    for one in lists:
        yield f"user {visible(catalog.dataset.user_ids[one.user])}\n"
        yield f"  {visible(one.reasoning)}\n" if one.reasoning else ""
        for rank, item in enumerate(one.items, 1):
            yield f"  {rank:>3} {'*' if item >= catalog.earlier else ' '} {visible(names[item])}\n"
        yield "" if one.items else "  nothing may be shown to this user\n"


# ---- new items ------------------------------------------------------------------------------------------------------


def _show_arrivals(arrivals: Sequence[Arrival], catalog: Aligned, users: int) -> None:
    from rich.console import Console

    from recpolicy.dataset.titles import titles  # loads NumPy
    from recpolicy.render.tables import table
    from recpolicy.trainer.coldstart.new_items import LEAST

    console, names = Console(highlight=False, markup=False), titles(catalog.dataset)
    gone = int((~catalog.present).sum())
    came = f"{counted(len(arrivals), 'item')} of {catalog.dataset.name} came after training"
    left = f", {counted(gone, 'item')} left the catalog since" if gone else ""
    console.print(f"{came}{left}. Looked at: {counted(users, 'user')}.")
    if not arrivals:
        return
    rows = []
    for one in arrivals:
        ranks = (_rank(one.rank_alike, one.of_alike), _rank(one.rank, one.of))
        most_similar = visible(names[one.alike[0]]) if one.alike else "-"
        cells = (visible(names[one.item]), f"{one.users:,}", f"{one.slates:,}", *ranks, most_similar)
        rows.append((cells, ""))
    numbers = ("users", "lists", "among alike", "in the catalog")
    head = ("item", *numbers, "most like it")
    console.print(table(head, rows, left=("most like it",), unbroken=numbers))
    console.print(HOW.format(most=ALIKE, least=LEAST))


def _rank(rank: float, of: float) -> str:
    return "-" if math.isnan(rank) else f"{rank:,.0f} of {of:,.0f}"


def _document(arrivals: Sequence[Arrival], dataset: Dataset, users: int, folder: Path) -> str:
    from recpolicy.dataset.titles import titles  # loads NumPy

    names, ids = titles(dataset), dataset.item_ids
    items = []
    for one in arrivals:
        fields = asdict(one) | {"alike": [ids[item] for item in one.alike]}
        del fields["item"]
        items.append({"id": ids[one.item], "title": names[one.item], **fields})
    about = {"schema_version": 1, "run": str(folder), "data": dataset.name, "users": users}
    return written(plain({**about, "arrivals": items}))
