"""`recpolicy data import`: each kind of source in, a data folder out that `data check` and `data describe` read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy import data
from recpolicy.dataset.rows import Dataset
from tests.data.imports import EVENTS, FILMS, imported, lines, lists, movielens_1m, numbers, refused, texts, words

Rows = Sequence[Mapping[str, Any]]

# ---- MovieLens ------------------------------------------------------------------------------------------------------


def test_movielens_1m_is_read_as_latin_1_and_what_cannot_count_is_counted(tmp_path: Path) -> None:
    movielens_1m(tmp_path / "ml-1m")
    said, dataset = imported(tmp_path, "ml-1m")
    assert "ml-1m: MovieLens, `::` files (Latin-1)" in said
    assert "ratings.dat: left out 1 line without 4 fields." in said
    assert "Left out 1 interaction of items that movies.dat does not have (the first: ratings.dat, row 25)." in said
    assert words(dataset, "title")[0] == "Café 1, The: part 1"
    assert lists(dataset, "genres")[:2] == [["Drama", "Sci-Fi"], ["Comedy"]]
    assert data_days(dataset)[:2] == ["1991-01-01", "1992-01-01"]
    assert words(dataset, "occupation", "user") == ["academic", "artist", "clerical", "college student"]
    assert len(dataset.item) == len(EVENTS)
    stored = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert stored.column_names == ["user_id", "item_id", "rating", "timestamp"]
    assert stored["rating"].to_pylist() == [rating for _, _, rating, _ in EVENTS]


def data_days(dataset: Dataset) -> list[str]:
    return [str(pa.scalar(int(v), pa.timestamp("s")).as_py())[:10] for v in numbers(dataset, "published")]


def test_the_schema_has_a_comment_for_every_column_and_says_what_else_can_be_written(tmp_path: Path) -> None:
    movielens_1m(tmp_path / "ml-1m")
    imported(tmp_path, "ml-1m")
    text = (tmp_path / "out" / "schema.toml").read_text("utf-8")
    rows = text.splitlines()
    for at, line in enumerate(rows):
        if "= {" in line and not line.startswith("#"):
            assert rows[at - 1].startswith("# "), line
    assert "# The title in movies.dat without the year behind it. A title, by its name;" in text
    assert "Could be: float, bool, date, duration, category." in text
    assert '# positive = "rating >= 4"  # rows that meet it are taken items' in text
    for key in ('# time = "timestamp"', "# order =", "# repeatable = true"):
        assert key in text
    (tmp_path / "out" / "schema.toml").write_text(text.replace("# positive", "positive"), encoding="utf-8")
    assert len(data.open(tmp_path / "out").item) == sum(rating >= 4 for _, _, rating, _ in EVENTS)


def test_movielens_latest_and_1m_give_the_same_films_and_events(tmp_path: Path) -> None:
    folder = tmp_path / "ml-latest-small"
    films = [(m, f'"{title}"', genres if m != 3 else "(no genres listed)") for m, title, genres in FILMS]
    tags = [(1, 1, "Funny", 1), (2, 1, "funny ", 1), (2, 1, "dark", 1), (1, 2, "dark", 1)]
    texts(
        folder,
        {
            "ratings.csv": lines([("userId", "movieId", "rating", "timestamp"), *EVENTS], ","),
            "movies.csv": lines([("movieId", "title", "genres"), *films], ","),
            "tags.csv": lines([("userId", "movieId", "tag", "timestamp"), *tags], ","),
            "links.csv": "movieId,imdbId,tmdbId\n1,2,3\n",
        },
    )
    said, latest = imported(tmp_path, "ml-latest-small")
    assert "MovieLens, CSV files" in said and "Not read: links.csv." in said
    assert "No table of users: made from the interactions, with 4 ids and nothing else." in said
    assert lists(latest, "genres")[2] is None
    assert lists(latest, "tags")[:3] == [["funny", "dark"], ["dark"], None]
    movielens_1m(tmp_path / "other" / "ml-1m")
    _, first = imported(tmp_path / "other", "ml-1m")
    assert words(latest, "title") == words(first, "title")
    assert data_days(latest) == data_days(first)
    assert list(latest.item) == list(first.item) and list(latest.time) == list(first.time)


def test_movielens_100k_has_flags_for_genres_and_the_day_of_release(tmp_path: Path) -> None:
    flags = {film: ["0"] * 19 for film in (1, 2, 3)}
    flags[1][4] = flags[1][8] = flags[2][0] = "1"
    films = [
        (1, "Café (1995)", "13-Feb-1995", "", "http://x", *flags[1]),
        (2, "unknown", "", "", "", *flags[2]),
        (3, "Tea (1996)", "", "", "", *flags[3]),
    ]
    texts(
        tmp_path / "ml-100k",
        {
            "u.data": lines([(1, 1, 5, 881250949), (1, 2, 3, 881250950), (1, 3, 4, 881250951)], "\t"),
            "u.item": lines(films, "|"),
            "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
        },
        "latin-1",
    )
    said, dataset = imported(tmp_path, "ml-100k/")
    assert "MovieLens 100K (Latin-1)" in said
    assert lists(dataset, "genres") == [["Children's", "Drama"], None, None]
    assert words(dataset, "title") == ["Café", "unknown", "Tea"]
    assert data_days_known(dataset) == ["1995-02-13", "1996-01-01"]
    assert words(dataset, "occupation", "user") == ["technician", "other"]


def data_days_known(dataset: Dataset) -> list[str]:
    known = [v for v in numbers(dataset, "published") if v == v]
    return [str(pa.scalar(int(v), pa.timestamp("s")).as_py())[:10] for v in known]


# ---- Amazon ---------------------------------------------------------------------------------------------------------


def reviews_2014() -> str:
    rows: Rows = [dict(reviewerID=f"U{u}", asin=f"P{m}", overall=float(r), unixReviewTime=t) for u, m, r, t in EVENTS]
    return "".join(json.dumps(row) + "\n" for row in [*rows, dict(reviewerID="U1", overall=5.0, unixReviewTime=1)])


def reviews_2023() -> str:
    rows = [
        dict(user_id=f"U{u}", parent_asin=f"P{m}", asin=f"V{m}", rating=float(r), timestamp=1000 * t, text="x")
        for u, m, r, t in EVENTS
    ]
    return "".join(json.dumps(row) + "\n" for row in [*rows, {"user_id": "U1", "rating": 5.0, "timestamp": 1000}])


PRODUCTS_2014 = "".join(
    f"{{'asin': 'P{m}', 'title': \"Soap {m}\", 'brand': 'Maker', 'categories': [['Beauty', 'Bath'], ['Beauty']]"
    f"{', ' + repr('price') + ': 9.5' if m % 2 else ''}}}\n"
    for m in range(1, 10)
)
PRODUCTS_2023 = "".join(
    json.dumps(
        dict(parent_asin=f"P{m}", title=f"Soap {m}", store="Maker", categories=["Beauty", "Bath"],
             price="$9.50" if m % 2 else "1 - 2", details={"a": m}, videos=[])
    )
    + "\n"
    for m in range(1, 10)
)  # fmt: skip


def test_amazon_reviews_of_both_forms_give_the_same_data(tmp_path: Path) -> None:
    found = []
    for name, reviews, products in (
        ("2014", ("reviews_Beauty_5.json", reviews_2014()), ("meta_Beauty.json", PRODUCTS_2014)),
        ("2023", ("Beauty.jsonl", reviews_2023()), ("meta_Beauty.jsonl", PRODUCTS_2023)),
    ):
        home = tmp_path / name
        (home / "amazon").mkdir(parents=True)
        for file, text in (reviews, products):
            (home / "amazon" / f"{file}.gz").write_bytes(gzip.compress(text.encode()))
        said, dataset = imported(home, "amazon")
        assert f"Amazon reviews, the form of {name}" in said
        assert "Left out 1 interaction without an item" in said
        assert words(dataset, "title")[0] == "Soap 1" and words(dataset, "creator")[0] == "Maker"
        assert lists(dataset, "genres")[0] == ["Beauty", "Bath"]
        assert [price if price == price else None for price in numbers(dataset, "price")][:2] == [9.5, None]
        found.append(dataset)
    assert [list(one.time) for one in found[:1]] == [list(one.time) for one in found[1:]]
    assert found[0].digest == found[1].digest


def test_a_file_of_reviews_needs_no_metadata_and_can_be_given_some(tmp_path: Path) -> None:
    (tmp_path / "Beauty.jsonl").write_text(reviews_2023(), encoding="utf-8")
    said, dataset = imported(tmp_path, "Beauty.jsonl")
    assert "No table of items: made from the interactions, with 9 ids and nothing else." in said
    (tmp_path / "out").rename(tmp_path / "before")
    (tmp_path / "products.jsonl").write_text(PRODUCTS_2023 * 2, encoding="utf-8")
    said, dataset = imported(tmp_path, "Beauty.jsonl", "--metadata", "products.jsonl")
    assert "Left out 9 items whose id stood before (the first: products.jsonl, row 10)." in said
    assert words(dataset, "title")[0] == "Soap 1"


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "Beauty.jsonl").write_text(reviews_2023() + '{"user_id": \n', encoding="utf-8")
    assert "Beauty.jsonl, line 26" in refused(tmp_path, "Beauty.jsonl")
    (tmp_path / "more.jsonl").write_text(reviews_2023(), encoding="utf-8")
    assert "Beauty.jsonl and more.jsonl both hold reviews" in refused(tmp_path, ".")


# ---- Hugging Face ---------------------------------------------------------------------------------------------------


def events() -> datasets.Dataset:
    rows = [
        dict(
            userId=u,
            movie_id=m,
            rating=r,
            ts=t,
            title=f"Film {m}",
            genres=["a", "b"][m % 2 :],
            user_age=20 + u,
            lang=m % 2,
        )
        for u, m, r, t in EVENTS
    ]
    made = datasets.Dataset.from_list(rows)
    return made.cast_column("lang", datasets.ClassLabel(names=["de", "en"]))


def test_a_saved_data_set_of_events_becomes_three_tables(tmp_path: Path) -> None:
    events().save_to_disk(tmp_path / "saved", num_shards=2)
    said, dataset = imported(tmp_path, "saved")
    assert "saved: Hugging Face data set" in said
    assert "interactions: `movie_id` is called `item_id`." in said
    assert "interactions: `ts` is called `timestamp`." in said
    assert words(dataset, "title") == [f"Film {m}" for m in range(1, 10)]
    assert lists(dataset, "genres")[:2] == [["b"], ["a", "b"]]
    assert dataset.users.columns["age"].type.value == "int"
    stored = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert stored["lang"].to_pylist()[:2] == ["en", "de"]
    assert "# The value in the first event of each item." in (tmp_path / "out" / "schema.toml").read_text("utf-8")


def test_splits_are_put_together_or_are_the_tables(tmp_path: Path) -> None:
    whole = events()
    halves = datasets.DatasetDict(train=whole.select(range(10)), test=whole.select(range(10, len(whole))))
    halves.save_to_disk(tmp_path / "halves")
    said, dataset = imported(tmp_path, "halves")
    assert "splits train, test are put together" in said and len(dataset.item) == len(EVENTS)
    (tmp_path / "out").rename(tmp_path / "before")
    tables = datasets.DatasetDict(
        items=datasets.Dataset.from_list([dict(item_id=m, title=title) for m, title, _ in FILMS]),
        users=datasets.Dataset.from_list([dict(user_id=u, age=u) for u in range(1, 5)]),
        interactions=whole.select_columns(["userId", "movie_id", "ts", "rating"]),
    )
    tables.save_to_disk(tmp_path / "tables")
    said, dataset = imported(tmp_path, "tables")
    assert "Hugging Face data sets items, users, interactions" in said
    assert words(dataset, "title") == [title for _, title, _ in FILMS]


def test_a_selection_that_was_not_written_out_and_a_lost_file_are_refused(tmp_path: Path) -> None:
    events().save_to_disk(tmp_path / "saved")
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    (tmp_path / "saved" / "state.json").write_text(json.dumps({**state, "_indices_files": [{"filename": "x"}]}))
    assert "flatten_indices()" in refused(tmp_path, "saved")
    (tmp_path / "saved" / "state.json").write_text(json.dumps({**state, "_data_files": [{"filename": "x.arrow"}]}))
    assert "cannot be read as Arrow" in refused(tmp_path, "saved")
    (tmp_path / "saved" / "state.json").write_text("{")
    assert "cannot be read" in refused(tmp_path, "saved")
