"""Reads MovieLens as GroupLens publishes it: `::` files (1M, 10M), CSV (ml-latest, 20M and later), and 100K's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from recpolicy.data.importing.found import Found, content, file, moments, numbers
from recpolicy.errors import UsageError
from recpolicy.tables.reading import Array, read
from recpolicy.tables.reading.files import from_arrow

_RATINGS = ("userId", "movieId", "rating", "timestamp")
_MOVIES = ("movieId", "title", "genres")
_USERS = ("user_id", "gender", "age", "occupation", "zip_code")
_NO_GENRES = "(no genres listed)"
_OCCUPATIONS = (
    "other", "academic", "artist", "clerical", "college student", "customer service", "doctor", "executive", "farmer",
    "homemaker", "K-12 student", "lawyer", "programmer", "retired", "sales", "scientist", "self-employed", "engineer",
    "craftsman", "unemployed", "writer",
)  # fmt: skip
"""What the numbers of ml-1m's occupations mean, from its README."""
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The flags of ml-100k's films, in their order."""
_TAGS = 10
"""Most tags kept of a film."""


def matches(folder: Path) -> bool:
    """Checks for the files of MovieLens."""
    pairs = (("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"), ("u.data", "u.item"))
    return any(all(file(folder, name) for name in pair) for pair in pairs)


def load(folder: Path) -> Found:
    """Reads the tables of MovieLens, of whatever edition. Raises UsageError for a file that cannot be read."""
    if (ratings := file(folder, "ratings.dat")) is not None:
        return _dat(folder, ratings)
    if (ratings := file(folder, "ratings.csv")) is not None:
        return _csv(folder, ratings)
    return _hundred_k(folder)


def _dat(folder: Path, ratings: Path) -> Found:
    movies, users = file(folder, "movies.dat"), file(folder, "users.dat")
    assert movies is not None
    log, _, log_notes = _parted(ratings, "::", _RATINGS)
    films, encoding, notes = _parted(movies, "::", _MOVIES)
    title, published = _titles(films["title"])
    genres = _genres(films["genres"])
    items = pa.table({"item_id": films["movieId"], "title": title, "genres": genres, "published": published})
    people = None
    if users is not None:
        table, _, user_notes = _parted(users, "::", _USERS)
        notes = (*notes, *user_notes)
        job = numbers(table["occupation"])
        occupation = pc.take(
            pa.array(_OCCUPATIONS), pc.if_else(pc.less(job, len(_OCCUPATIONS)), job, None).cast("int32")
        )
        people = pa.table(
            {**table, "age": numbers(table["age"]).cast(pa.int64()), "occupation": occupation},
        )
    return Found(
        kind=f"MovieLens, `::` files ({encoding})",
        items=from_arrow(items, movies),
        users=None if people is None or users is None else from_arrow(people, users),
        interactions=from_arrow(_events(log), ratings),
        notes=(*notes, *log_notes),
        origins=_origins(movies.name) | {"users.age": "The lower end of an age group", "users.zip_code": "A zip code"},
    )


def _csv(folder: Path, ratings: Path) -> Found:
    movies, tags = file(folder, "movies.csv"), file(folder, "tags.csv")
    assert movies is not None
    films = _columns(movies, _MOVIES)
    title, published = _titles(films["title"])
    columns = {
        "item_id": films["movieId"], "title": title, "genres": _genres(films["genres"]), "published": published
    }  # fmt: skip
    origins = _origins(movies.name)
    notes: tuple[str, ...] = ()
    if tags is not None:
        columns["tags"] = _most_given(tags, films["movieId"])
        origins |= {"items.tags": f"The tags most users gave the film, at most {_TAGS}, from {tags.name}"}
        notes = (f"{tags.name}: tags are those of the whole period, the test part included.",)
    unread = [path.name for name in ("links.csv", "genome-scores.csv") if (path := file(folder, name)) is not None]
    if unread:
        notes = (*notes, f"Not read: {', '.join(unread)}.")
    return Found(
        kind="MovieLens, CSV files",
        items=from_arrow(pa.table(columns), movies),
        users=None,
        interactions=from_arrow(_events(_columns(ratings, _RATINGS)), ratings),
        notes=notes,
        origins=origins,
    )


def _hundred_k(folder: Path) -> Found:
    ratings, movies, users = (file(folder, name) for name in ("u.data", "u.item", "u.user"))
    assert ratings is not None and movies is not None
    log, _, log_notes = _parted(ratings, "\t", _RATINGS)
    names = ("movieId", "title", "release", "video", "url", *_GENRES)
    films, encoding, notes = _parted(movies, "|", names)
    title, year = _titles(films["title"])
    released = pc.strptime(films["release"], "%d-%b-%Y", "s", error_is_null=True).cast(pa.date32())
    flags = zip(*(pc.equal(films[genre], "1").to_pylist() for genre in _GENRES), strict=True)
    named = [[g for g, flag in zip(_GENRES, row, strict=True) if flag and g != "unknown"] for row in flags]
    genres = pa.array([names or None for names in named], pa.list_(pa.string()))
    items = pa.table(
        {
            "item_id": films["movieId"],
            "title": title,
            "genres": genres,
            "published": pc.coalesce(released, year),
        }
    )
    people = None
    if users is not None:
        table, _, user_notes = _parted(users, "|", ("user_id", "age", "gender", "occupation", "zip_code"))
        notes = (*notes, *user_notes)
        people = from_arrow(pa.table({**table, "age": numbers(table["age"]).cast(pa.int64())}), users)
    return Found(
        kind=f"MovieLens 100K ({encoding})",
        items=from_arrow(items, movies),
        users=people,
        interactions=from_arrow(_events(log), ratings),
        notes=(*notes, *log_notes),
        origins=_origins(movies.name),
    )


def _origins(movies: str) -> dict[str, str]:
    return {
        "items.title": f"The title in {movies} without the year behind it",
        "items.published": f"The year behind the title in {movies}, as its first day",
        "interactions.rating": "Stars",
    }


def _events(log: dict[str, Array]) -> pa.Table:
    return pa.table(
        {
            "user_id": log["userId"],
            "item_id": log["movieId"],
            "rating": numbers(log["rating"]),
            "timestamp": moments(numbers(log["timestamp"])),
        }
    )


def _parted(path: Path, separator: str, names: Sequence[str]) -> tuple[dict[str, Array], str, tuple[str, ...]]:
    """The columns of a file without a header as texts, its encoding, and a note on lines with other fields."""
    data, encoding = content(path), "UTF-8"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        data, encoding = data.decode("latin-1").encode("utf-8"), "Latin-1"
    if not data.strip():
        raise UsageError("the file is empty", where=str(path), help="it needs at least one row")
    if len(separator) > 1:  # Arrow parts fields by one character
        data, separator = data.replace(separator.encode(), b"\x1f"), "\x1f"
    ragged: list[object] = []

    def skip(row: object) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(
                column_names=list(names), use_threads=False, block_size=max(1 << 20, min(len(data), 1 << 30))
            ),
            pa.csv.ParseOptions(delimiter=separator, quote_char=False, invalid_row_handler=skip),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowException as error:
        raise UsageError(f"cannot be read: {str(error).splitlines()[0]}", where=str(path)) from None
    columns = {name: table.column(name).combine_chunks() for name in names}
    notes = (
        (f"{path.name}: left out {len(ragged):,} line{'s' * (len(ragged) > 1)} without {len(names)} fields.",)
        if ragged
        else ()
    )
    return columns, encoding, notes


def _columns(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Columns of a CSV file as texts. Raises UsageError where one is absent."""
    table = read(path)
    if absent := [name for name in names if name not in table.columns]:
        help = f"MovieLens has {', '.join(names)}; here are: {', '.join(table.names)}"
        raise UsageError(f"no column `{absent[0]}`", where=str(path), help=help)
    return {name: table.columns[name] for name in names}


def _titles(texts: Array) -> tuple[Array, Array]:
    """Titles without the year in brackets at their end, and the first day of that year."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), r"^(?P<title>.*?)\s*\((?P<year>[12]\d{3})\)$")
    title = pc.coalesce(pc.struct_field(parts, "title"), pc.utf8_trim_whitespace(texts))
    year = pc.struct_field(parts, "year")
    return title, pc.binary_join_element_wise(year, pa.scalar("01-01"), "-").cast(pa.date32())


def _genres(texts: Array) -> Array:
    """Lists of genres; missing where none is listed."""
    known = pc.if_else(pc.equal(texts, _NO_GENRES), pa.scalar(None, pa.string()), texts)
    return pc.split_pattern(known, "|")


def _most_given(path: Path, films: Array) -> Array:
    """For each film the tags that most users gave it, in small letters, the most given first; null without any."""
    columns = _columns(path, ("userId", "movieId", "tag"))
    tag = pc.utf8_lower(pc.utf8_trim_whitespace(columns["tag"]))
    given = pa.table({"film": columns["movieId"], "tag": tag, "user": columns["userId"]}).drop_null()
    given = given.filter(pc.not_equal(given["tag"], "")).group_by(["film", "tag", "user"]).aggregate([])
    counts = given.group_by(["film", "tag"]).aggregate([([], "count_all")])
    counts = counts.sort_by([("count_all", "descending"), ("tag", "ascending")])
    of: dict[str, list[str]] = {}
    for film, name in zip(counts["film"].to_pylist(), counts["tag"].to_pylist(), strict=True):
        if len(names := of.setdefault(film, [])) < _TAGS:
            names.append(name)
    return pa.array([of.get(film) for film in films.to_pylist()], pa.list_(pa.string()))
