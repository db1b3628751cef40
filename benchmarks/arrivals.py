"""Nothing in, the section "New items" of BENCHMARKS.md out: do items that came after training find their users?

`python -m benchmarks.arrivals --runs FOLDER` takes a random tenth of the films out of ML-100K, with all that happened
to them, trains `tiny` on the rest, and then gives the trained model the whole catalog. Whoever took a film that was
left out should rather be shown it than the others that were left out.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks import page
from benchmarks.program import recpolicy
from recpolicy import data
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Dataset
from recpolicy.runs import Run
from recpolicy.trainer import recommend
from recpolicy.trainer.coldstart import regression
from recpolicy.trainer.models import item_attributes
from recpolicy.trainer.models.item_attributes import Attributes

DATA, POLICY = "ml-100k", "relevance"
SHARE = 0.1
"""Of the films that arrive later."""


def parted(folder: Path, seed: int) -> tuple[Path, Path, list[tuple[str, str]]]:
    """The data without a random tenth of the films; those with the films but not their events; these, user and film."""
    source = data.get(DATA)
    events, items = (source / f"{DATA}{ending}" for ending in (".inter", ".item"))
    [head, *films], [first, *log] = (path.read_text("utf-8").splitlines() for path in (items, events))
    ids = sorted(film.split("\t")[0] for film in films)
    late = set(np.random.default_rng(seed).permutation(ids)[: round(SHARE * len(ids))].tolist())
    before, later = folder / "before", folder / "later"
    for there, kept in ((before, [f for f in films if f.split("\t")[0] not in late]), (later, films)):
        shutil.copytree(source, there, dirs_exist_ok=True)
        shutil.copy(Path(data.__file__).parent / f"{DATA}.toml", there / "schema.toml")
        (there / items.name).write_text("\n".join([head, *kept, ""]), "utf-8")
        (there / events.name).write_text(
            "\n".join([first, *(e for e in log if e.split("\t")[1] not in late), ""]), "utf-8"
        )
    pairs = [(user, film) for user, film, *_ in (event.split("\t") for event in log)]
    return before, later, [(user, film) for user, film in pairs if film in late]


def stands_above(scores: Floats, taken: Bools, user: Ints, of: Ints) -> float:
    """The mean share of the arrivals a user did not take that one they took stands above; half of those with its score.

    `scores` and `taken` are [users, arrivals]; `user` and `of` name each event.
    """
    shares = []
    for row, column in zip(user, of, strict=True):
        others, own = scores[row, ~taken[row]], scores[row, column]
        shares.append((others < own).mean() + (others == own).mean() / 2)
    return float(np.mean(shares))


def likes(dataset: Dataset, facts: Attributes, learned: Ints, items: Ints) -> Floats:
    """How much each of `items` is like what each user took, [users, items]: mean cosine, as in `attributes.alike`."""
    directions = item_attributes.directions(
        facts, item_attributes.rarity(facts, learned), np.arange(dataset.items.rows)
    )
    tastes = [directions[dataset.item[s:e]].mean(0) for s, e in zip(dataset.start[:-1], dataset.start[1:], strict=True)]
    return np.asarray(np.nan_to_num(np.array(tastes)) @ directions[items].T)


@dataclass(frozen=True)
class Found:
    """What one seed found."""

    ways: dict[str, float]
    """By the way of ranking: what the film that a user took stands above."""
    events: int
    """With films that were left out."""
    places: float
    """The share of all lists' places that hold such films."""
    right: float
    """The share of these places whose user took the film."""
    any: float
    """The mean share of the films left out that the users of these places took."""


def measured(folder: Path, seed: int) -> Found:
    """What one seed found; trains where that is not done."""
    before, later, events = parted(folder, seed)
    run = Run(folder / "run")
    if not run.complete:
        command = ["train", POLICY, "--data", str(before), "--seed", str(seed), "--out", str(run.folder)]
        recpolicy(*command, cache=data.cache(), log=folder / "log.txt")
    deployment = recommend.deploy(run, str(later))
    dataset, came = deployment.dataset, deployment.catalog.arrived
    users = np.arange(dataset.users.rows)
    rows = {id: row for row, id in enumerate(dataset.user_ids)}
    columns = {dataset.item_ids[item]: at for at, item in enumerate(came)}
    known = [(rows[user], columns[film]) for user, film in events if user in rows]
    user, of = np.array(known).T
    taken = np.zeros((len(users), len(came)), np.bool_)
    taken[user, of] = True
    popularity = np.log1p(np.bincount(dataset.item, minlength=dataset.items.rows))[:, None]
    facts, learned = deployment.model.facts, deployment.model.learned
    predicted = regression.fit(facts, learned, popularity[learned]).of(facts.of(came))[:, 0]
    all_gather = np.log1p(np.bincount(of, minlength=len(came)))
    ways = {
        "chance": np.zeros((len(users), len(came))),
        "popularity, predicted from the attributes": np.tile(predicted, (len(users), 1)),
        "likeness to what the user took, by the attributes": likes(dataset, facts, learned, came),
        "the model, embeddings rehearsed from the attributes": deployment.first(users)[:, came],
        "popularity among these very events, which nobody knows": np.tile(all_gather, (len(users), 1)),
    }
    shown = [(row, item) for row, told in enumerate(deployment.recommendations(users)) for item in told.items]
    row, item = np.array(shown).T
    new = np.isin(item, came)
    at = np.searchsorted(came, item[new])
    return Found(
        {way: stands_above(scores, taken, user, of) for way, scores in ways.items()},
        len(known),
        float(new.mean()),
        float(taken[row[new], at].mean()),
        float(taken[row[new]].mean()),
    )


def section(found: list[Found]) -> str:
    """The table."""
    shares = {way: [one.ways[way] for one in found] for way in found[0].ways}
    rows = [[way, f"{mean(own):.1%}", ", ".join(f"{share:.1%}" for share in own)] for way, own in shares.items()]
    events = ", ".join(f"{one.events:,}" for one in found)
    places, right, any_ = (mean(of) for of in zip(*((one.places, one.right, one.any) for one in found), strict=True))
    return "\n".join(
        [
            "A random tenth of the films of ML-100K is left out of training with all that happened to them; then the\n"
            f"model is given the whole catalog. {events} events (each seed) are with films left out: the one taken\n"
            "stands above so many of the others that its user did not take.\n",
            page.table(["ranked by", "mean", "each seed"], rows),
            f"In lists for all users, which the policy `{POLICY}` asks no new films of, they hold\n"
            f"{places:.2%} of the places. The user of such a place took the film it shows in\n"
            f"{right:.1%} of cases; any film left out, in {any_:.1%}.\n",
            page.machine(),
        ]
    )


def main() -> None:
    """Measure every seed, then write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    arguments = parser.parse_args()
    found = []
    for seed in arguments.seeds:
        found.append(measured(arguments.runs / f"arrivals-{seed}", seed))
        print(found[-1], flush=True)
    page.write("New items", section(found))


if __name__ == "__main__":
    main()
