"""Checks what a test case defines: its items, user and dates, and the data it extends."""

from __future__ import annotations

import pytest

from recpolicy import data, policy_tests
from recpolicy.dataset.columns import NumberColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.language import checker, parser
from recpolicy.span import Source
from tests.policy_tests.make import HEADER, found, run


def test_items_with_same_id_are_one_item() -> None:
    parts = [
        'history [ {id: "a", genres: ["War"]} ]',
        'next_items [ {id: "b"}, {id: "c"} ]',
        'slate [ {id: "b", price: 1}, {}, {id: "a"} ]',
    ]
    rules = 'reward found weight 1 = recall(next_items)\nreward war weight 1 = share("War" in item.genres)'
    assert found(rules, *parts, "expect found = 0.5", "expect war = 0.333") == [(True, "0.5"), (True, "0.3333")]


def test_items_without_id_are_distinct() -> None:
    parts = ["next_items [ {price: 1} ]", "slate [ {price: 1} ]", "expect base = 0"]
    assert found("", *parts) == [(True, "0")]


def test_order_of_next_items_counts() -> None:
    parts = ['next_items [ {id: "a"}, {id: "b"} ]', 'slate [ {id: "b"}, {id: "a"} ]']
    rules = "reward order weight 1 = lcs(next_items)"
    assert found(rules, *parts, "expect order = 0.5", "expect base = 1") == [(True, "0.5"), (True, "1")]


def test_slate_of_holes_is_worth_zero() -> None:
    rules = 'reward far weight 1 = distance(item.genres)\nquota few weight 1 = at most 1 where "War" in item.genres'
    expects = ["expect far = 0", "expect few = 0", "expect few is satisfied", "expect slate is not blocked"]
    assert all(passed for passed, _ in found(rules, "slate [ hole, hole ]", *expects))


def test_time_values_are_relative_to_now_of_case() -> None:
    rules = (
        "reward new weight 1 = share(item.age < 30 days)\nreward young weight 1 = share(item.published > 2026-01-01)"
    )
    report = run(
        f'{rules}\ntest "dates" {{\n'
        "  slate [ {age: 10 days}, {published: 10 days ago}, {published: 10 days}, {published: 2025-12-22} ]\n"
        '  case "then" { now 2026-01-01  expect new = 1  expect young = 0 }\n'
        '  case "later" { now 2026-03-01  expect new = 0.75  expect young = 0.75 }\n'
        "}\n"
    )
    assert report.failed == 0


def test_now_and_future_dates_can_be_stated() -> None:
    rules = "reward new weight 1 = share(item.published within the last 30 days)"
    slate = "slate [ {published: now}, {published: 2020-01-02}, {published: -3 days}, {published: 3 days} ]"
    assert found(rules, slate, "expect new = 0.5") == [(True, "0.5")]


def test_case_replaces_one_part_and_keeps_others() -> None:
    report = run(
        "quota free weight 1 = at least 1 where item.price is 0\nboost ads weight 1 = item.is_ad\n"
        'test "parts" {\n'
        "  user {premium: true, age: 30}\n"
        "  slate [ {price: 0} ]\n"
        "  slate other [ {price: 3} ]\n"
        "  expect free = 1\n"
        '  case "other slate" { slate [ {price: 3} ]  expect free = 0  expect free of other = 0 }\n'
        '  case "as it was" { expect free = 1 }\n'
        "}\n"
    )
    assert [c.case.title for c in report.tests[0].cases] == ["", "other slate", "as it was"]
    assert report.failed == 0


def test_creator_since_is_first_date_of_creator() -> None:
    rules = "reward rising weight 1 = share(item.creator_since within the last 90 days)"
    slate = (
        'slate [ {creator: "a", age: 10 days}, {creator: "b", age: 10 days}, {creator: "c", creator_since: 10 days}, '
        '{creator: "c"}, {age: 10 days} ]'
    )
    history = 'history [ {creator: "b", age: 100 days} ]'
    (seen,) = run(f'{rules}\ntest "t" {{ {history} {slate} expect rising = 0.6 }}').tests[0].cases[0].verdicts
    assert seen.passed and seen.places[0][1] == (0.2, 0.0, 0.2, 0.2, 0.0)


def test_novelty_counts_users_of_most_popular_item() -> None:
    rules = "reward rare weight 1 = novelty(item.popularity)"
    assert found(rules, "slate [ {popularity: 1}, {popularity: 16} ]", "expect rare = 0.5") == [(True, "0.5")]
    assert found(rules, "slate [ {popularity: 4}, {popularity: 16} ]", "expect rare = 0.25") == [(True, "0.25")]
    assert found(rules, "slate [ {popularity: 0} ]", "expect rare = 1") == [(True, "1")]


def test_distance_range_comes_from_items_of_case() -> None:
    rules = "reward far weight 1 = distance(item.price)"
    slate = "slate [ {price: 10}, {price: 20} ]"
    assert found(rules, slate, "expect far = 1") == [(True, "1")]
    assert found(rules, slate, "history [ {price: 50} ]", "expect far = 0.25") == [(True, "0.25")]


def test_missing_keyword_gives_missing_value() -> None:
    rules = "reward known weight 1 = share(item.price is not missing)\nboost cheap weight 1 = item.price < 5"
    expects = ["expect known = 0.5", "expect cheap = 0"]
    assert all(passed for passed, _ in found(rules, "slate [ {price: missing}, {price: 9} ]", *expects))


# ---- with data ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("films")
    (folder / "schema.toml").write_text(
        '[item]\nid = { column = "item_id", type = "text", role = "id" }\n'
        'genres = "list of category"\nprice = "float"\nis_ad = "bool"\n'
        'creator = { type = "category", role = "creator" }\npublished = { type = "date", role = "published" }\n'
        '[user]\nid = { column = "user_id", type = "text", role = "id" }\nage = "int"\n'
    )
    (folder / "items.csv").write_text(
        "item_id,genres,price,is_ad,creator,published\n"
        "f1,War,0,true,ann,2019-12-20\nf2,War|Drama,100,false,bob,2000-01-01\nf3,Comedy,40,false,bob,2019-12-01\n"
    )
    (folder / "users.csv").write_text("user_id,age\nu1,30\nu2,40\nu3,50\n")
    taken = [f"u{u},f{i},{t}" for t, (u, i) in enumerate([(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)])]
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(taken) + "\n")
    return data.open(folder)


def with_data(films: Dataset, rules: str, *parts: str) -> list[tuple[bool, str]]:
    lines = "\n".join(parts)
    text = f'{HEADER}reward base weight 1 = ndcg(next_items)\n{rules}\ntest "t" {{\n{lines}\n}}\n'
    policy = checker.check(parser.parse(Source("films.policy", text)), films.schema)
    report = policy_tests.run(policy, films.schema, films)
    return [(v.passed, v.actual) for v in report.tests[0].cases[0].verdicts]


def test_stated_values_override_dataset_item(films: Dataset) -> None:
    rules = 'reward ads weight 1 = share(item.is_ad)\nreward war weight 1 = share("War" in item.genres)'
    slate = 'slate [ {id: "f1"}, {id: "f2", is_ad: true, genres: ["New"]}, {id: "f3"}, {id: "f9"} ]'
    assert with_data(films, rules, slate, "expect ads = 0.5", "expect war = 0.25") == [(True, "0.5"), (True, "0.25")]


def test_range_and_popularity_come_from_dataset(films: Dataset) -> None:
    rules = "reward far weight 1 = distance(item.price)\nreward rare weight 1 = novelty(item.popularity)"
    slate = 'slate [ {id: "f3"}, {price: 60, popularity: 1} ]'
    assert with_data(films, rules, slate, "expect far = 0.2", "expect rare = 1") == [(True, "0.2"), (True, "1")]
    assert with_data(films, rules, 'slate [ {id: "f1"} ]', "expect rare = 0") == [(True, "0")]


def test_creator_since_comes_from_dataset(films: Dataset) -> None:
    rules = "reward rising weight 1 = share(item.creator_since within the last 90 days)"
    slate = 'slate [ {creator: "ann", age: 1 day}, {creator: "bob", age: 1 day}, {id: "f1"}, {id: "f3"} ]'
    assert with_data(films, rules, slate, "expect rising = 0.5") == [(True, "0.5")]


def test_user_id_loads_columns_from_dataset(films: Dataset) -> None:
    rules = "block old = user.age > 35"
    slate = 'slate [ {id: "f1"} ]'
    assert with_data(films, rules, 'user {id: "u1"}', slate, "expect slate is not blocked")[0][0]
    assert with_data(films, rules, 'user {id: "u2"}', slate, "expect slate is blocked")[0][0]
    assert with_data(films, rules, 'user {id: "u2", age: 20}', slate, "expect slate is not blocked")[0][0]


def test_dataset_is_not_modified(films: Dataset) -> None:
    before = films.items.columns["price"]
    with_data(films, "reward far weight 1 = distance(item.price)", 'slate [ {id: "f1", price: 7} ]', "expect far = 0")
    after = films.items.columns["price"]
    assert isinstance(after, NumberColumn)
    assert before is after and after.values.tolist() == [0.0, 100.0, 40.0]
