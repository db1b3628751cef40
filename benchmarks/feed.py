"""A number of items in, a made-up platform, ten rules over it and slates to score out."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import numpy as np

from recpolicy.data import simulate
from recpolicy.dataset.columns import (
    ColumnData,
    Floats,
    Ints,
    ListColumn,
    NumberColumn,
    Ragged,
    Table,
    TruthColumn,
    WordColumn,
)
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language import checker
from recpolicy.language.policy import Policy
from recpolicy.types import DAY, Type

K = 10
NOW = 720 * DAY
GENRES = tuple(f"genre {i}" for i in range(18))
LANGUAGES = ("de", "en", "es", "fr", "pt")

POLICY = """
policy "feed" {
  language = 1
  data     = "simulator"
  slate    = 10
}

let fresh       = item.published within the last 14 days
let new_creator = item.creator_since within the last 90 days

# What a feed team asks for: right first, varied, not only what everybody knows, new voices, few complaints.
reward relevance weight 0.4  = ndcg(next_items)
reward variety   weight 0.15 = distance(item.genres)
reward mix       weight 0.1  = entropy(item.genres)
reward surprise  weight 0.1  = novelty(item.popularity)
reward visible   weight 0.1  = exposure(new_creator)
boost  rising    weight 0.1  = fresh and item.language is user.language limit 3
bury   reported  weight 0.2  = item.report_rate > 2%
quota  one_voice weight 0.1  = at most 2 per item.creator
quota  newcomers weight 0.1  = at least 2 where new_creator
quota  rhythm    weight 0.1  = at most 1 where item.is_ad in any 3 places in a row

block unsafe = item.age_rating > user.age

when user.last_seen more than 30 days ago {
  reward surprise weight 0.25
}
"""


def policy(text: str = POLICY) -> Policy:
    """A policy over the platform, checked."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/feed.policy"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return checker.load(path)


def platform(items: int, users: int = 2000) -> tuple[Dataset, Rows]:
    """Items of one to three genres by a twentieth as many creators, 2 or 5 % of most values missing; one row a user.

    The columns are those of the simulated platform, whose own users choose among too few items for this. A user took
    20 to 60 items before and 10 next, most often one of the 1,500 best known.
    """
    rng = np.random.default_rng(0)

    def some(values: Floats) -> Floats:
        return np.where(rng.random(len(values)) < 0.05, np.nan, values)

    creators = max(40, items // 20)
    creator = rng.integers(0, creators, items)
    published = np.floor(rng.uniform(0, 720, items)) * DAY
    since = np.full(creators, np.inf)
    np.minimum.at(since, creator, published)
    genres = np.sort(rng.integers(0, len(GENRES), (items, 3)), 1)  # [items, 3], an equal one is left out
    new = np.concatenate([np.ones((items, 1), np.bool_), genres[:, 1:] != genres[:, :-1]], 1)
    new[:, 1:] &= rng.random((items, 2)) < 0.6

    lengths = rng.integers(30, 71, users)
    taken = np.unique(np.minimum(items - 1, rng.zipf(1.1, lengths.sum() * 2) * 7919 % max(1500, items // 4)))
    taken = rng.permutation(taken)[rng.integers(0, len(taken), lengths.sum())].astype(np.int32)
    offsets = np.append(0, np.cumsum(lengths))
    history = Ragged.slices(taken, offsets[:-1], offsets[1:] - 10)
    popularity = np.bincount(history.values, minlength=items).astype(np.float64)

    columns: dict[str, ColumnData] = {
        "genres": ListColumn(
            Type.LIST,
            Ragged(np.append(0, np.cumsum(new.sum(1))), genres[new].astype(np.int32)),
            GENRES,
            np.zeros(items, np.bool_),
        ),
        "creator": WordColumn(Type.CATEGORY, creator.astype(np.int32), tuple(f"c{i}" for i in range(creators))),
        "published": NumberColumn(Type.DATE, published),
        "creator_since": NumberColumn(Type.DATE, since[creator]),
        "language": WordColumn(
            Type.CATEGORY, rng.choice(6, items, p=[0.05, *[0.19] * 5]).astype(np.int32) - 1, LANGUAGES
        ),
        "is_ad": TruthColumn(Type.BOOL, 2 * (rng.random(items) < 0.1).astype(np.int8)),
        "report_rate": NumberColumn(Type.RATIO, some(rng.beta(1, 60, items))),
        "age_rating": NumberColumn(Type.INT, some(rng.choice([0.0, 12, 16, 18], items, p=[0.7, 0.15, 0.1, 0.05]))),
        "popularity": NumberColumn(Type.INT, popularity),
    }
    people: dict[str, ColumnData] = {
        "age": NumberColumn(Type.INT, some(rng.integers(13, 71, users).astype(np.float64))),
        "language": WordColumn(Type.CATEGORY, rng.integers(0, 5, users).astype(np.int32), LANGUAGES),
        "last_seen": NumberColumn(Type.DATE, some(NOW - rng.exponential(30 * DAY, users))),
    }
    dataset = Dataset(
        name="feed",
        schema=simulate(users=2, items=100, creators=2).dataset.schema,
        items=Table(items, columns),
        users=Table(users, people),
        item_ids=(),
        user_ids=(),
        start=history.offsets,
        item=history.values,
        time=np.full(len(history.values), np.nan),
        notes=(),
        digest="",
    )
    now = NOW - np.floor(rng.uniform(0, 60, users)) * DAY
    return dataset, Rows(np.arange(users), now, history, Ragged.slices(taken, offsets[1:] - 10, offsets[1:]))


def slates(dataset: Dataset, rows: Rows, seed: int) -> Slates:
    """What a model in training proposes: mostly nothing blocked, a tenth of it right, 1 place in 50 a hole.

    One slate in 50 has items drawn from the whole catalog, blocked ones among them.
    """
    rng = np.random.default_rng(seed)
    rating = dataset.items.columns["age_rating"]
    assert isinstance(rating, NumberColumn)
    known = dataset.users.columns["age"]
    assert isinstance(known, NumberColumn)
    safe = np.flatnonzero(rating.values == 0)
    b = len(rows)
    drawn = safe[rng.integers(0, len(safe), (b, 3 * K))]
    wild = rng.random(b) < 0.02
    drawn[wild] = rng.integers(0, dataset.items.rows, (int(wild.sum()), 3 * K))
    out = np.full((b, K), -1, np.int32)
    for i in range(b):
        right = rows.next_items.row(i)
        right = right[rating.values[right] == 0][: rng.integers(0, 3)]
        mixed = rng.permutation(np.unique(np.concatenate([right, drawn[i]])))
        kept = [int(item) for item in right] + [int(item) for item in mixed if item not in right]
        out[i] = rng.permutation(np.array(kept[:K]))
    out[rng.random(out.shape) < 0.02] = -1
    return Slates(out)


def batch(rows: Rows, size: int, seed: int) -> Rows:
    """`size` rows, eight copies of each user next to each other as in GRPO."""
    users: Ints = np.random.default_rng(seed).integers(0, len(rows), size // 8)
    return rows.take(np.repeat(users, 8))
