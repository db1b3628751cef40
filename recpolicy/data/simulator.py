"""Simulates a small social platform from a seed: posts, users with known tastes, and the posts each user takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recpolicy import schema as schemas
from recpolicy.data.build import build
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.tables.reading import RawTable
from recpolicy.tables.source import RawData
from recpolicy.types import DAY

TOPICS = ("art", "books", "chess", "cooking", "dance", "film", "garden", "jazz", "maths", "news", "run", "travel")
LANGUAGES = ("en", "es", "de", "pt")
COUNTRIES = ("Chile", "Germany", "Ghana", "Portugal")
_SPOKEN = (1, 2, 0, 3)  # the index into LANGUAGES of each country
_BEGIN = 1_672_531_200.0  # 2023-01-01: the first creators start
_LOG = 540 * DAY  # start of the log, after _BEGIN
_END = 720 * DAY  # end of the log, after _BEGIN


@dataclass(frozen=True)
class Simulation:
    """The data set and the truth behind it, which a recommender has to learn."""

    dataset: Dataset
    taste: Floats
    """[users, topics], share of each topic in a user's interest; rows sum to 1, columns as `TOPICS`."""
    quality: Floats
    """[items], standard normal."""


def simulate(users: int = 300, items: int = 600, creators: int = 80, seed: int = 0) -> Simulation:
    """Simulates a platform: the same arguments give the same data set on every machine with the same NumPy.

    A user takes one of the items already published, none twice, with probability proportional to
    exp(6 taste + 0.6 quality - age / 180 days + 0.8 same language - 0.7 advertisement), where taste is the user's mean
    interest in the item's topics. Each user takes 15 to 60 items within the last 180 of 720 days.
    Raises UsageError for fewer than 1 user, 1 creator or 100 items.
    """
    if users < 1 or creators < 1 or items < 100:
        message = f"a simulation of {users} users, {items} items and {creators} creators is too small"
        raise UsageError(message, help="it needs at least 1 user, 1 creator and 100 items")
    rng = np.random.default_rng(seed)

    # Creators: the time they start, their topics and their language.
    begin = np.sort(rng.uniform(0, _LOG + 120 * DAY, creators))
    begin[0] = 0.0
    subject = rng.dirichlet(np.full(len(TOPICS), 0.3), creators)  # [creators, topics]
    tongue = rng.integers(len(LANGUAGES), size=creators)

    # Items, by date of publication; a creator's first post is at the creator's start.
    activity = rng.dirichlet(np.full(creators, 2.0))
    creator = np.append(np.arange(min(creators, items)), rng.choice(creators, max(items - creators, 0), p=activity))
    first = np.arange(items) < creators
    published = begin[creator] + np.where(first, 0.0, rng.uniform(0, 1, items) * (_END - DAY - begin[creator]))
    order = np.argsort(published, kind="stable")
    creator, published = creator[order], np.floor(published[order] / DAY) * DAY
    topics = _topics(rng, subject[creator])
    quality = rng.standard_normal(items)
    is_ad = rng.random(items) < 0.1
    language = tongue[creator]

    # Users and the items they take.
    taste = rng.dirichlet(np.full(len(TOPICS), 0.25), users)
    country = rng.integers(len(COUNTRIES), size=users)
    spoken = np.asarray(_SPOKEN)[country]
    utility = 6 * (taste @ (topics / topics.sum(1, keepdims=True)).T) + 0.6 * quality - 0.7 * is_ad
    utility += 0.8 * (spoken[:, None] == language)  # [users, items]
    user, item, time = _interactions(rng, utility, published)

    raw = RawData(
        items=_raw(
            "items",
            item_id=[f"p{i:04}" for i in range(items)],
            title=[f"{TOPICS[int(np.argmax(topics[i]))].capitalize()} post {i}" for i in range(items)],
            topics=[[TOPICS[t] for t in np.flatnonzero(row)] for row in topics],
            creator_id=[f"c{c:03}" for c in creator],
            published=_BEGIN + published,
            length_s=np.round(rng.lognormal(3.5, 0.7, items)),
            language=_some(rng, [LANGUAGES[c] for c in language], 0.05),
            is_ad=is_ad,
            report_rate=_some(rng, np.round(rng.beta(1, 60, items), 4).tolist(), 0.05),
            age_rating=_some(rng, rng.choice([0, 12, 16, 18], items, p=[0.7, 0.15, 0.1, 0.05]).tolist(), 0.05),
        ),
        users=_raw(
            "users",
            user_id=[f"u{u:04}" for u in range(users)],
            age=_some(rng, rng.integers(13, 71, users).tolist(), 0.05),
            country=[COUNTRIES[c] for c in country],
            language=[LANGUAGES[c] for c in spoken],
            # The last visit before the log begins, so that it does not depend on the log.
            last_seen=_some(rng, np.floor(_BEGIN + _LOG - rng.exponential(30 * DAY, users)).tolist(), 0.1),
        ),
        interactions=_raw(
            "interactions",
            user_id=[f"u{u:04}" for u in user],
            item_id=[f"p{i:04}" for i in item],
            timestamp=np.floor(_BEGIN + time),
        ),
    )
    shipped = schemas.builtin("simulator")
    assert shipped is not None
    return Simulation(build(raw, shipped, seed=seed), taste, quality)


def _raw(name: str, **columns: object) -> RawTable:
    arrays = {key: pa.array(values) for key, values in columns.items()}
    return RawTable(Path("simulator") / name, "parquet", len(next(iter(arrays.values()))), arrays, {})


def _some(rng: np.random.Generator, values: list[object], share: float) -> list[object]:
    """The values with about `share` of them missing."""
    return [None if hidden else v for v, hidden in zip(values, rng.random(len(values)) < share, strict=True)]


def _topics(rng: np.random.Generator, subject: Floats) -> Bools:
    """One to three topics of each item, from its creator's subjects, [items, topics]."""
    gumbel = np.log(subject + 1e-12) + rng.gumbel(size=subject.shape)
    rank = np.argsort(np.argsort(-gumbel, axis=1), axis=1)  # drawn without replacement: Gumbel top-k
    return rank < rng.integers(1, 4, len(subject))[:, None]


def _interactions(
    rng: np.random.Generator, utility: Floats, published: Floats
) -> tuple[Ints, NDArray[np.intp], Floats]:
    """Users, items and times, [interactions] each; `utility` is [users, items], times count from _BEGIN."""
    users, items = utility.shape
    count = rng.integers(15, 61, (users,))
    drawn = rng.uniform(_LOG, _END, (users, 60))
    times = np.sort(np.where(np.arange(60) < count[:, None], drawn, np.inf), axis=1)  # [users, 60], then never
    free = np.ones((users, items), np.bool_)
    taken: list[tuple[Ints, NDArray[np.intp], Floats]] = []
    for step in range(60):
        now = times[:, step]
        age = now[:, None] - published  # [users, items]
        # The argmax of scores plus Gumbel noise is a draw from their softmax.
        score = utility - age / (180 * DAY) + rng.gumbel(size=utility.shape)
        choice = np.argmax(np.where(free & (age >= 0), score, -np.inf), axis=1)
        free[np.arange(users), choice] = False
        active = np.flatnonzero(np.isfinite(now) & (published[choice] <= now))
        taken.append((active, choice[active], now[active]))
    user, item, time = (np.concatenate(parts) for parts in zip(*taken, strict=True))
    return user, item, time
