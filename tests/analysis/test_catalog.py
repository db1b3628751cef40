"""Checks findings about a policy and its data: on a small catalog by hand, and on whole data sets."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recpolicy import analysis, data, render
from recpolicy.compiler import compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Rows
from recpolicy.errors import Diagnostic, data_findings
from recpolicy.language import checker, parser
from recpolicy.span import Source
from tests import golden
from tests.rewards.world import ITEM, USER, Record, dataset

HERE = Path(__file__).parent

HEADER = """policy "example" {
  language = 1
  data = "here"
  slate = 3
}
reward relevance weight 1 = ndcg(next_items)
"""

GENRES = [["art"], ["art", "film"], ["books"], ["film"], ["film"], ["film"], ["dance"], ["film"]]
ITEMS: list[Record] = [
    {
        "genres": genres,
        "creator": "abbbcccc"[i],
        "language": "en" if i < 6 else "es",
        "popularity": i,
        "price": float(i),
        "rate": i / 10,
        "is_ad": i == 0,
        "published": 86_400.0 * i,
    }
    for i, genres in enumerate(GENRES)
]
USERS: list[Record] = [
    dict.fromkeys(USER) | {"age": 30 + i, "budget": float(7 - 2 * i), "language": "en", "member": i == 0}
    for i in range(3)
]
HISTORY = [[0], [1, 2], []]


def findings(
    text: str, *, items: list[Record] = ITEMS, users: list[Record] = USERS, history: list[list[int]] = HISTORY
) -> list[Diagnostic]:
    """What is found in a policy of these lines, for users who have taken the items of `history`."""
    held = dataset([dict.fromkeys(ITEM) | item for item in items], users, history)
    policy = checker.check(parser.parse(Source("example.policy", HEADER + text)), held.schema)
    now = np.full(len(users), 86_400.0 * 10)
    rows = Rows(np.arange(len(users)), now, Ragged.of(history), Ragged.of([[] for _ in users]))
    return analysis.analyse(compile(policy, held), held, rows)


def only(text: str, **of: Any) -> Diagnostic:
    [finding] = findings(text, **of)
    return finding


def marked(finding: Diagnostic, text: str) -> str:
    """What stands above the carets."""
    return (HEADER + text)[finding.span.start : finding.span.end]


def test_policy_that_fits_data_has_no_findings() -> None:
    assert not findings(
        'boost films weight 1 = "film" in item.genres\n'
        "block ads = item.is_ad\n"
        "quota one_voice hard = at most 2 per item.creator\n"
        "quota spread weight 1 = at least 2 distinct item.genres\n"
        "quota cheap weight 1 = at least 1 where item.price < 4\n"
        "target films_shown = share(films_) >= 90%\n".replace("films_)", '"film" in item.genres)')
        + "when user.member {\n  boost films weight 2\n}\n"
    )


# ---- words and columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "word", "fix"),
    [
        ('"flim" in item.genres', '"flim"', '"film"'),
        ('"Film" in item.genres', '"Film"', '"film"'),
        ('item.language is not "ens"', '"ens"', '"en"'),
        ('item.language in ["en", "klingon"]', '"klingon"', None),
        ('user.language is "eng" and item.is_ad', '"eng"', '"en"'),
    ],
)
def test_value_absent_from_data_is_flagged_with_nearest_match(condition: str, word: str, fix: str | None) -> None:
    text = f"let chosen = {condition}\nboost b weight 1 = chosen\nbury c weight 1 = chosen or item.price > 3\n"
    found = only(text)
    assert (found.code, found.severity, marked(found, text), found.fix) == ("E0701", "warning", word, fix)
    assert found.help == (f"did you mean {fix}?" if fix else 'values are "en", "es"')


def test_absent_param_value_is_flagged_at_the_param() -> None:
    text = 'param genre = "flim"\nboost b weight 1 = genre in item.genres\n'
    found = only(text)
    assert (found.code, found.span.line, found.help) == ("E0701", 8, 'did you mean "film"?')


def test_column_missing_for_most_items_is_flagged() -> None:
    items = [item | {"price": item["price"] if i < 3 else None} for i, item in enumerate(ITEMS)]
    text = "boost cheap weight 1 = item.price < 2\nbury dear weight 1 = item.price > 1\n"
    found = only(text, items=items)
    assert (found.code, found.title, marked(found, text)) == (
        "E0706",
        "`item.price` is missing for 5 of 8 items",
        "item.price",
    )
    assert not findings("boost known weight 1 = item.price is missing\n", items=items)


# ---- conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "label"),
    [
        ("boost b weight 1 = item.price > 50", "E0702", "true of none of 8 items"),
        (
            "reward b weight 1 = share(item.price > user.budget + 90)",
            "E0702",
            "true of none of 24 pairs of users and items",
        ),
        ("bury b weight 1 = item.price >= 0", "E0703", "true of all of 8 items"),
        ("quota b weight 1 = at most 1 where item.price > 50", "E0702", "true of none of 8 items"),
        ("block b = item.published > now", "E0702", "true of none of 24 pairs of users and items"),
    ],
)
def test_condition_constant_over_items_is_flagged(line: str, code: str, label: str) -> None:
    found = only(f"{line}\n")
    assert (found.code, found.label, found.severity) == (code, label, "warning")


def test_help_shows_value_range_of_column() -> None:
    assert only("boost b weight 1 = item.price > 50\n").help == "`item.price` lies between 0 and 7 in this data"
    assert only("boost b weight 1 = item.rate > 80%\n").help == "`item.rate` lies between 0% and 70% in this data"
    help = "`item.published` lies between 1970-01-01 and 1970-01-08 in this data"
    assert only("boost b weight 1 = item.published < 1969-01-01\n").help == help


@pytest.mark.parametrize(("condition", "code"), [("user.age > 90", "E0704"), ("user.age < 90", "E0705")])
def test_when_matching_no_or_all_users_is_flagged(condition: str, code: str) -> None:
    found = only(f"when {condition} {{\n  reward relevance weight 2\n}}\n")
    assert (found.code, found.help) == (code, "`user.age` lies between 30 and 32 in this data")


def test_when_on_history_is_not_flagged() -> None:
    assert not findings("when count() of history > 5 {\n  reward relevance weight 2\n}\n")


# ---- quotas and blocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demand", "title"),
    [
        ("at least 2 where item.is_ad", "`q` asks for 2 matching items, and this data has 1"),
        ("at least 1 where item.price > 50", "`q` asks for 1 matching item, and this data has 0"),
        ("at least 6 distinct item.genres", "`q` asks for 6 different values, and this data has 4"),
    ],
)
@pytest.mark.parametrize(("weight", "severity"), [("weight 1", "warning"), ("hard", "error")])
def test_quota_infeasible_for_whole_catalog_is_flagged(demand: str, title: str, weight: str, severity: str) -> None:
    found = only(f"quota q {weight} = {demand}\n")
    assert (found.code, found.title, found.severity) == ("E0707", title, severity)


def test_quota_infeasible_after_taken_items_is_flagged() -> None:
    found = only("quota q weight 1 = at least 1 where item.is_ad\n")
    assert (found.code, found.title) == ("E0708", "`q` cannot be met for 1 of 3 users")


def test_quota_infeasible_after_block_is_flagged() -> None:
    found = only("block dear = item.price > user.budget\nquota q hard = at least 1 where item.price >= 5\n")
    assert (found.code, found.title, found.severity) == ("E0708", "`q` cannot be met for 1 of 3 users", "error")


def test_quota_inside_when_counts_only_its_users() -> None:
    text = "when %s {\n  quota q weight 1 = at least 1 where item.is_ad\n}\n"
    assert only(text % "user.member").title == "`q` cannot be met for the only user it is for"
    assert not findings(text % "user.age > 30")


@pytest.mark.parametrize(
    ("demand", "creators"),
    [
        ("at most 1 where item.price > 3", "ccccb"),
        ("at most 1 per item.creator", "ccccb"),
        ("at most 1 distinct item.creator", "ccddb"),
        ("at most 1 per item.genres", "ccccb"),
        ("at most 0 where item.price > 3 in any 2 places in a row", "ccccb"),
    ],
)
def test_cap_with_too_few_items_is_flagged(demand: str, creators: str) -> None:
    items = [item | {"creator": c, "genres": ["film"]} for item, c in zip(ITEMS[3:], creators, strict=True)]
    found = only(f"quota q hard = {demand}\n", items=items, history=[[], [], []])
    assert (found.code, found.severity) == ("E0709", "error")
    assert found.title == "`q` leaves too few items for all 3 users"


def test_sliding_quota_needs_items_for_every_window() -> None:
    assert only("quota q weight 1 = at least 1 where item.is_ad in any 1 places in a row\n").title == (
        "`q` asks for 3 matching items, and this data has 1"
    )


def test_blocks_leaving_too_few_items_are_flagged() -> None:
    text = 'block dear = item.price > user.budget - 2\nblock dances = "dance" in item.genres\n'
    found = only(text)
    assert (found.code, found.severity) == ("E0710", "warning")
    assert found.title == "`dear` and the other blocks leave 2 of 3 users with fewer than 3 items"
    assert (found.label, marked(found, text)) == ("the fewest left is 2", "item.price > user.budget - 2")
    assert [(note.span.line, note.label) for note in found.notes] == [(8, "hides up to 1")]


def test_block_on_missing_user_column_is_flagged() -> None:
    users = [user | {"budget": None if i else 7.0} for i, user in enumerate(USERS)]
    found = [f for f in findings("block dear = item.price > user.budget\n", users=users) if f.code == "E0710"]
    assert [f.title for f in found] == ["`dear` leaves 2 of 3 users with fewer than 3 items"]
    assert "unknown" in found[0].help


# ---- targets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "best", "severity"),
    [
        ('share("dance" in item.genres) >= 50%', "33.3%", "error"),
        ("mean(min(1, max(0, item.price / 10))) >= 70%", "60%", "error"),
        ("mean(min(1, max(0, item.price / 10))) <= 10%", "17.8%", "error"),
        ("distance(item.language) >= 90%", "66.6%", "warning"),
    ],
)
def test_infeasible_target_shows_best_value_found(target: str, best: str, severity: str) -> None:
    found = only(f"target t = {target}\n")
    assert (found.code, found.severity) == ("E0711", severity)
    assert found.title.endswith(f"found is {best}")


@pytest.mark.parametrize(
    "target",
    [
        'share("dance" in item.genres) >= 33%',
        "mean(min(1, max(0, item.price / 10))) <= 18%",
        "ndcg(next_items) >= 100%",
        "relevance >= 110% of baseline",
        "coverage(item.creator) >= 100%",
        "gini(item.creator) <= 0%",
    ],
)
def test_feasible_or_undecidable_target_is_not_flagged(target: str) -> None:
    assert not findings(f"target t = {target}\n")


@pytest.mark.parametrize(
    ("target", "best"),
    [
        ("coverage(item.price_) >= 100%", "75%"),
        ("gini(item.price_) <= 10%", "27.3%"),
        ("largest_share(item.price_) <= 10%", "11.2%"),
    ],
)
def test_population_target_infeasible_by_counting_is_flagged(target: str, best: str) -> None:
    items = [ITEMS[i % 8] | {"creator": f"c{i}"} for i in range(12)]  # 3 users x 3 places show 9 of 12
    found = only(f"target t = {target.replace('price_', 'creator')}\n", items=items)
    assert (found.code, found.severity) == ("E0711", "error")
    assert found.title.endswith(f"found is {best}")


def test_blocks_and_hard_quotas_limit_target_value() -> None:
    target = 'target t = share("film" in item.genres) >= 90%\n'
    assert not findings(target)
    found = only(target + "block films = item.price > 4\n")
    assert (found.severity, found.help) == (
        "error",
        "lower it to 88.8%, or change the blocks and hard quotas that stand in its way",
    )
    assert only(target + "quota few hard = at most 2 where item.price > 2\n").severity == "warning"


def test_target_inside_when_checks_only_its_users() -> None:
    text = "when %s {\n  target t = share(item.is_ad) >= 30%%\n}\n"
    assert only(text % "user.member").code == "E0711"  # this user has taken the one ad
    assert not findings(text % "user.age > 30")


# ---- files and data sets --------------------------------------------------------------------------------------------


def test_finding_names_source_file_of_rule(tmp_path: Path) -> None:
    (tmp_path / "house.policy").write_text('let films = "flim" in item.genres\nbury b weight 1 = item.price > 50\n')
    text = f'{HEADER}use "house.policy"\nboost films_first weight 1 = films\n'
    held = dataset([dict.fromkeys(ITEM) | item for item in ITEMS], USERS, HISTORY)
    (tmp_path / "main.policy").write_text(text)
    loaded = checker.read(str(tmp_path / "main.policy"), schema=held.schema)
    rows = Rows(np.arange(3), np.full(3, 864_000.0), Ragged.of(HISTORY), Ragged.of([[], [], []]))
    found = analysis.analyse(compile(loaded.policy, held), held, rows, loaded.sources)
    house = loaded.policy.sources[1]
    places = [(f.code, f.source, house.text[f.span.start : f.span.end]) for f in found]
    assert places == [("E0701", house, '"flim"'), ("E0702", house, "item.price > 50")]


def test_simulator_analysis_finds_only_constant_condition() -> None:
    simulated = data.simulate().dataset
    text = HEADER + "boost unheard weight 1 = item.popularity > 1000\nquota ads hard = at least 3 where item.is_ad\n"
    policy = checker.check(parser.parse(Source("example.policy", text)), simulated.schema)
    assert [f.code for f in analysis.of_policy(policy, simulated)] == ["E0702"]


def test_large_user_set_is_sampled() -> None:
    held = dataset([dict.fromkeys(ITEM) | item for item in ITEMS], USERS, HISTORY)
    source = Source("example.policy", HEADER + "quota q weight 1 = at least 1 where item.is_ad\n")
    policy = checker.check(parser.parse(source), held.schema)
    user = np.arange(3000) % 3
    rows = Rows(user, np.zeros(3000), Ragged.of([HISTORY[u] for u in user]), Ragged.of([[]] * 3000))
    [found] = analysis.analyse(compile(policy, held), held, rows)
    assert found.title.endswith("of 2,000 users, drawn from 3,000")


@pytest.mark.parametrize("name", ["goodbooks", "kuairand-pure", "ml-latest-small"])
def test_analysis_of_real_dataset_is_fast(name: str) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not beside the repository")
    held = data.open(folder)
    text = (
        'boost first weight 1 = "no such genre" in item.genres\n'
        "quota one_voice hard = at most 1 per item.creator\n"
        "quota spread weight 1 = at least 3 distinct item.genres\n"
        "target t = distance(item.genres) >= 1%\n"
    )
    policy = checker.check(parser.parse(Source("example.policy", HEADER + text)), held.schema)
    started = time.monotonic()
    found = analysis.of_policy(policy, held)
    assert time.monotonic() - started < 30
    assert "E0701" in [f.code for f in found]


def test_finding_messages_match_golden_file() -> None:
    """Every finding of a policy that is wrong in each way, beside its page."""
    text = (HERE / "wrong.policy").read_text("utf-8")
    source = Source("wrong.policy", text)
    items = [item | {"price": item["price"] if i < 3 else None} for i, item in enumerate(ITEMS)]
    held = dataset([dict.fromkeys(ITEM) | item for item in items], USERS, HISTORY)
    rows = Rows(np.arange(3), np.full(3, 864_000.0), Ragged.of(HISTORY), Ragged.of([[], [], []]))
    found = analysis.analyse(compile(checker.check(parser.parse(source), held.schema), held), held, rows)
    seen = render.plain(found, source)
    golden.compare(seen, HERE / "wrong.err")
    declared = re.findall(r'"(E07\d\d)"', Path(data_findings.__file__ or "").read_text("utf-8"))
    assert len(declared) == len(set(declared)) and set(declared) == {f.code for f in found}
