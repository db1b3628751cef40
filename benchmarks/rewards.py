"""Nothing in, a section of BENCHMARKS.md out: what scoring a slate costs, beside three other ways of doing it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from typing import Any

import celpy
import numpy as np
from celpy.adapter import json_to_cel

from benchmarks import feed, page
from benchmarks.feed import K
from benchmarks.plain import Plain
from benchmarks.vectorised import Vectorised
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.dataset.columns import Bools, ListColumn
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.slates import item_token, parse
from recpolicy.types import DAY

BATCH = 512
BATCHES = 20
ROUNDS = 15
SMALL, LARGE = 2_000, 2_000_000
FEW = 32
"""Slates on which cel-python is timed."""

CEL = {
    "visible": f"now - item.creator_since >= 0.0 && now - item.creator_since <= {90 * DAY}",
    "rising": f"now - item.published >= 0.0 && now - item.published <= {14 * DAY}"
    " && has(item.language) && item.language == user.language",
    "reported": "!has(item.report_rate) || item.report_rate > 0.02",
    "rhythm": "item.is_ad",
    "unsafe": "!has(item.age_rating) || !has(user.age) || item.age_rating > user.age",
}
"""The predicates of feed.py by the rule or block they stand in."""

MEASURES = {
    "ndcg": "reward r weight 1 = ndcg(next_items)",
    "lcs": "reward r weight 1 = lcs(next_items)",
    "distance": "reward r weight 1 = distance(item.genres)",
    "distance, 100 creators": "reward r weight 1 = distance(item.creator)",
    "distinct": "reward r weight 1 = distinct(item.genres)",
    "entropy": "reward r weight 1 = entropy(item.genres)",
    "calibration": "reward r weight 1 = calibration(item.genres)",
    "serendipity": "reward r weight 1 = serendipity(item.genres)",
    "novelty": "reward r weight 1 = novelty(item.popularity)",
    "discounted": "reward r weight 1 = discounted(item.report_rate)",
    "boost": "boost r weight 1 = item.is_ad limit 3",
    "at least ... where": "quota r weight 1 = at least 2 where item.is_ad",
    "at least ... distinct, in a row": "quota r weight 1 = at least 2 distinct item.genres in any 3 places in a row",
    "at most ... per": "quota r weight 1 = at most 2 per item.creator",
    "at most ... per, of a list": "quota r weight 1 = at most 2 per item.genres",
}


def per_slate(work: Callable[[int], object], slates: int = BATCH) -> float:
    """Median time of one batch over the batches, in microseconds a slate."""
    found = []
    for i in range(BATCHES):
        began = time.perf_counter()
        work(i)
        found.append(time.perf_counter() - began)
    return median(found) * 1e6 / slates


def rounds(contenders: dict[str, Callable[[int], object]]) -> list[dict[str, float]]:
    """All contenders in turn, again and again, so that a busy moment of the machine falls on all of them."""
    gc.collect()
    return [{name: per_slate(work) for name, work in contenders.items()} for _ in range(ROUNDS)]


def times(found: list[dict[str, float]], name: str, of: str) -> str:
    """How many times as long `name` takes as `of`: the median of the rounds' ratios."""
    return f"{median(r[name] / r[of] for r in found):.2f}"


class Scene:
    """A catalog, the compiled policy and batches to score."""

    def __init__(self, items: int) -> None:
        self.dataset, self.rows = feed.platform(items)
        began = time.perf_counter()
        self.compiled: CompiledPolicy = compile(feed.policy(), self.dataset)
        self.seconds = time.perf_counter() - began
        self.batches: list[Rows] = [feed.batch(self.rows, BATCH, seed) for seed in range(BATCHES)]
        self.slates: list[Slates] = [feed.slates(self.dataset, rows, i) for i, rows in enumerate(self.batches)]
        self.lists = [slates.items.tolist() for slates in self.slates]

    def marginals(self, i: int) -> dict[str, Any]:
        return self.compiled.marginals(self.batches[i], self.slates[i])

    def values(self, i: int) -> dict[str, Any]:
        return self.compiled.values(self.batches[i], self.slates[i])


def contenders(scene: Scene) -> str:
    """The policy three ways, which must agree."""
    plain, vectorised = Plain(scene.dataset), Vectorised(scene.dataset)
    users = [plain.users(rows) for rows in scene.batches]
    for i in range(BATCHES):
        by_hand = vectorised.marginals(scene.batches[i], scene.slates[i].items)
        ranks, values = plain.marginals(scene.lists[i], users[i]), plain.values(scene.lists[i], users[i])
        for name, expected in scene.marginals(i).items():
            for found in (by_hand[name], np.array(ranks[name])):
                np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
            np.testing.assert_allclose(values[name], expected.sum(1), atol=1e-9, rtol=0)
    timed = rounds(
        {
            "engine": scene.marginals,
            "numpy": lambda i: vectorised.marginals(scene.batches[i], scene.slates[i].items),
            "engine values": scene.values,
            "plain values": lambda i: plain.values(scene.lists[i], users[i]),
            "plain": lambda i: plain.marginals(scene.lists[i], users[i]),
        }
    )
    rows = [
        ["recpolicy", "values", "engine values", "engine values"],
        ["plain Python", "values", "plain values", "engine values"],
        ["recpolicy", "marginals", "engine", "engine"],
        ["plain Python", "marginals", "plain", "engine"],
        ["NumPy by hand", "marginals", "numpy", "engine"],
    ]
    table = [
        [who, what, f"{median(r[name] for r in timed):.2f}", times(timed, name, of)] for who, what, name, of in rows
    ]
    ratio = times(timed, "engine", "numpy")
    head = ["", "of each rule", "microseconds a slate", "times recpolicy"]
    return (
        f"{page.table(head, table)}\nrecpolicy takes {ratio} times the time of NumPy by hand. The ways agree to "
        "1e-9.\n\nThe policy:\n\n```policy\n" + feed.POLICY.strip() + "\n```\n"
    )


def predicates(scene: Scene) -> str:
    """The conditions on an item and its user by cel-python and here."""
    compiled = scene.compiled
    term = compiled.catalog.term
    where = {block.name: term(block.where) for block in compiled.policy.blocks}
    where |= {rule.name: term(rule.where) for rule in compiled.policy.rules if hasattr(rule, "where")}
    where |= {"visible": term(compiled.policy.rules[4].measure.where)}  # type: ignore[union-attr]
    where |= {"rhythm": term(compiled.policy.rules[9].counted.predicate)}  # type: ignore[union-attr]
    unknown = {"reported", "unsafe"}  # for which a missing value counts

    def here(rows: Rows, slates: Slates) -> list[Bools]:
        batch = CandidateBatch(compiled.catalog, rows, np.asfortranarray(slates.items))
        return [batch.matches(where[name], unknown=name in unknown) for name in CEL]

    environment = celpy.Environment()
    programs = [environment.program(environment.compile(text)) for text in CEL.values()]
    rows, slates = scene.batches[0].take(np.arange(FEW)), Slates(scene.slates[0].items[:FEW])
    asked = [
        {"item": record(scene.dataset, int(item)), "user": user, "now": celpy.celtypes.DoubleType(rows.now[b])}
        for b, user in enumerate(person(scene.dataset, int(u)) for u in rows.user)
        for item in slates.items[b]
    ]
    held = (slates.items >= 0).ravel()

    def cel() -> list[list[bool]]:
        return [[bool(program.evaluate(of)) for of in asked] for program in programs]

    for mine, other in zip(here(rows, slates), cel(), strict=True):
        np.testing.assert_array_equal(mine.ravel()[held], np.array(other)[held])
    ours, theirs = [], []
    for _ in range(3):
        ours.append(per_slate(lambda i: here(scene.batches[i], scene.slates[i])))
        began = time.perf_counter()
        cel()
        theirs.append((time.perf_counter() - began) * 1e6 / FEW)
    ratio = median(b / a for a, b in zip(ours, theirs, strict=True))
    return (
        f"The five conditions on an item and its user alone, for {K} places: {median(ours):.2f} microseconds a slate, "
        f"with cel-python {version('cel-python')} {median(theirs):,.0f}, {ratio:,.0f} times as long.\n"
    )


def record(dataset: Dataset, item: int) -> Any:
    """An item as CEL reads it; a missing value is absent, a hole is item 0."""
    return json_to_cel(values(dataset.items.columns, max(item, 0)))


def person(dataset: Dataset, user: int) -> Any:
    """A user as CEL reads it."""
    return json_to_cel(values(dataset.users.columns, user))


def values(columns: Any, row: int) -> dict[str, Any]:
    """The known values of a row."""
    out: dict[str, Any] = {}
    for name, column in columns.items():
        if isinstance(column, ListColumn):
            continue
        value = column.values[row].item()
        if hasattr(column, "words"):
            if value >= 0:
                out[name] = column.words[value]
        elif column.values.dtype == np.int8:
            out[name] = value == 2
        elif not np.isnan(value):
            out[name] = value
    return out


def reading(scene: Scene) -> str:
    """Completions as text into slates."""
    texts = [
        [f"<answer> {' '.join(item_token(i) for i in slate if i >= 0)} </answer>" for slate in lists]
        for lists in scene.lists
    ]
    found = [per_slate(lambda i: parse(texts[i], k=K, items=SMALL)) for _ in range(ROUNDS)]
    return f"Reading a completion takes {median(found):.2f} microseconds; it is done once a batch for all rules.\n"


def catalogs(small: Scene, large: Scene) -> str:
    """The same policy over few and many items."""
    found = rounds({"small": small.marginals, "large": large.marginals})
    rows = [
        [f"{items:,}", f"{scene.seconds:.3f} s", f"{median(r[name] for r in found):.2f}", times(found, name, "small")]
        for items, name, scene in ((SMALL, "small", small), (LARGE, "large", large))
    ]
    return page.table(["items", "compiling", "microseconds a slate", "times the first"], rows)


def measures(scene: Scene) -> str:
    """Each kind of rule by itself."""
    header = 'policy "one" {\n  language = 1\n  data     = "simulator"\n  slate    = 10\n}\n'
    alone = {name: compile(feed.policy(header + rule), scene.dataset) for name, rule in MEASURES.items()}
    rows = []
    for name, compiled in alone.items():
        cost = per_slate(lambda i, c=compiled: c.marginals(scene.batches[i], scene.slates[i]))  # type: ignore[misc]
        rows.append([name, f"{cost:.2f}"])
    return page.table(["one rule alone", "microseconds a slate"], rows)


def main() -> None:
    """Measure, and write the section."""
    small = Scene(SMALL)
    parts = [
        f"Ten rules, {K} places, batches of {BATCH} slates, one core: medians of {ROUNDS} rounds of {BATCHES} batches, "
        "and where two are\ncompared the median of the rounds' ratios, as all in a round meet the same moments. A "
        "value is what a\nslate is worth to a rule; marginals are what each place adds to it. Plain Python is a "
        "function a rule in the form TRL\ncalls, with all that depends on an item worked out beforehand; NumPy by hand "
        "is written for these rules and this data\nalone. Both stand in [benchmarks/](benchmarks).\n",
        contenders(small),
        predicates(small),
        reading(small),
        measures(small),
        catalogs(small, Scene(LARGE)),
        page.machine(),
    ]
    page.write("Rewards", "\n".join(parts))


if __name__ == "__main__":
    main()
