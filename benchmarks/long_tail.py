"""A number of items in, the data folder of a made-up platform with a long tail out: Parquet tables and a schema.

A few items of each genre have most events (Zipf), creators make items of one genre, and users like a few genres and
creators. What a user takes next depends on that and on the item before, so a recommender has something to learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recpolicy.dataset.columns import Codes, Floats, Ints

GENRES = 40
ITEMS_OF_A_CREATOR = 20
TASTES = 3
"""Genres that a user likes."""
ZIPF = 0.9
"""The n-th best-known item of a genre is taken in proportion to n^-ZIPF."""
WAYS = (0.35, 0.25, 0.3, 0.1)
"""How often the next item is one of a liked genre, of a creator before, near the item before, or any."""
NEAR = 5
"""Items after one in its genre that often follow it."""
PART = 2_000_000
"""Interactions in a part of their table."""
DAY, BEGIN = 86_400, 1_600_000_000
SCHEMA = """name = "long tail"

[item]
id        = { type = "text", role = "id" }
genres    = { type = "list of category" }
creator   = { type = "category", role = "creator" }
published = { type = "date", role = "published" }
price     = "float"
popularity = { type = "int", role = "popularity" }

[user]
id      = { type = "text", role = "id" }
age     = { type = "int", optional = true }
country = { type = "category" }
"""


def write(folder: Path, items: int, users: int, events: int, seed: int = 0) -> Path:
    """Writes the data folder, if it is not there; returns it. Pairs of user and item that occur again are left out."""
    if (folder / "schema.toml").is_file():
        return folder
    rng = np.random.default_rng(seed)
    genre = np.sort(
        rng.choice(GENRES, items, p=_zipf(GENRES, 0.6))
    )  # items of a genre stand together, best known first
    _items(folder, genre, rng)
    ids = pa.array(np.char.add("u", np.arange(users).astype(str)))
    age = np.where(rng.random(users) < 0.1, np.nan, rng.integers(14, 80, users))
    country = pa.array(np.array(["de", "fr", "in", "us"])[rng.integers(0, 4, users)])
    people = {"id": ids, "age": pa.array(age, from_pandas=True).cast(pa.int64()), "country": country}
    pq.write_table(pa.table(people), folder / "users.parquet")
    _interactions(folder / "interactions", genre, users, events, rng)
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    return folder


def _zipf(count: int, exponent: float) -> Floats:
    weights = np.arange(1, count + 1) ** -exponent
    return np.asarray(weights / weights.sum(), np.float64)


def _items(folder: Path, genre: Ints, rng: np.random.Generator) -> None:
    """Writes the items: one genre or two, a creator of the genre, a date in the three years before the events."""
    folder.mkdir(parents=True)
    items = len(genre)
    second = rng.integers(0, GENRES, items)
    two = (rng.random(items) < 0.4) & (second != genre)
    names = pa.array([f"genre {i}" for i in range(GENRES)])
    codes = np.stack([genre, second], 1)[np.stack([np.ones(items, np.bool_), two], 1)]
    lists = pa.ListArray.from_arrays(np.append(0, np.cumsum(1 + two)).astype(np.int32), names.take(pa.array(codes)))
    columns = {
        "id": pa.array(np.char.add("i", np.arange(items).astype(str))),
        "genres": lists,
        "creator": pa.array(np.char.add("c", creators(genre).astype(str))),
        "published": pa.array((BEGIN - rng.integers(0, 1095, items) * DAY).astype("datetime64[s]")).cast(pa.date32()),
        "price": pa.array(np.round(rng.lognormal(2.0, 0.8, items), 2)),
    }
    pq.write_table(pa.table(columns), folder / "items.parquet")


def creators(genre: Ints) -> Ints:
    """Returns the creator of each item, [items]: every one has some well-known and some unknown items of a genre."""
    first = np.searchsorted(genre, genre)
    size = np.searchsorted(genre, genre, "right") - first
    own = np.maximum(size // ITEMS_OF_A_CREATOR, 1)  # creators of the genre
    return np.asarray(first + (np.arange(len(genre)) - first) % own, np.int64)


def _interactions(folder: Path, genre: Ints, users: int, events: int, rng: np.random.Generator) -> None:
    """Writes the events of all users in parts, `PART` at a time."""
    length = np.maximum(rng.lognormal(0.0, 0.9, users), 0.15)
    length = np.maximum((length * events / length.sum()).astype(np.int64), 4)
    taste = rng.integers(0, GENRES, (users, TASTES))
    user = np.repeat(np.arange(users), length)
    item = _taken(genre, taste, length, rng)
    since = np.concatenate([np.arange(n) for n in length])  # events of the user before
    start = BEGIN + rng.integers(0, 365 * DAY, users)
    time = start[user] + since * 6 * 3600 + rng.integers(0, 3600, len(user))
    first = np.sort(np.unique(user * len(genre) + item, return_index=True)[1])
    user, item, time = (values[first] for values in (user, item, time))
    order = rng.permutation(len(user))
    folder.mkdir()
    for part, at in enumerate(np.array_split(order, -(-len(order) // PART))):
        table = {
            "user_id": pa.array(np.char.add("u", user[at].astype(str))),
            "item_id": pa.array(np.char.add("i", item[at].astype(str))),
            "timestamp": pa.array(time[at]),
        }
        pq.write_table(pa.table(table), folder / f"part-{part}.parquet")


def _taken(genre: Ints, taste: Ints, length: Ints, rng: np.random.Generator) -> Codes:
    """Draws the items that users take, [events], grouped by user: all users' first items, then their second ..."""
    first = np.searchsorted(genre, np.arange(GENRES))
    size = np.maximum(np.searchsorted(genre, np.arange(GENRES), "right") - first, 1)
    creator = creators(genre)
    by_creator = np.argsort(creator, kind="stable")
    begin, end = (np.searchsorted(creator[by_creator], creator, side) for side in ("left", "right"))
    offsets = np.append(0, np.cumsum(length))
    out = np.zeros(offsets[-1], np.int64)
    for step in range(int(length.max())):
        who = np.flatnonzero(length > step)
        way = rng.choice(4, len(who), p=WAYS) if step else np.zeros(len(who), np.int64)
        liked = taste[who, rng.integers(0, TASTES, len(who))]
        kind = np.where(way == 3, genre[rng.integers(0, len(genre), len(who))], liked)
        known = first[kind] + _ranks(size[kind], rng)
        before = out[offsets[who] + np.maximum(step - 1, 0)]
        some = out[offsets[who] + (rng.random(len(who)) * step).astype(np.int64)]
        same = by_creator[begin[some] + _ranks(end[some] - begin[some], rng)]
        near = np.minimum(before + rng.integers(1, NEAR + 1, len(who)), len(genre) - 1)
        out[offsets[who] + step] = np.choose(way, (known, same, near, known))
    return out.astype(np.int32)


def _ranks(size: Ints, rng: np.random.Generator) -> Ints:
    """Draws a rank below each size, the n-th in proportion to about n^-ZIPF: the inverse of the integral of x^-ZIPF."""
    power = 1.0 - ZIPF
    drawn = (rng.random(len(size)) * ((size + 1.0) ** power - 1.0) + 1.0) ** (1.0 / power)
    return np.minimum(drawn.astype(np.int64) - 1, size - 1)
