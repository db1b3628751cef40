"""The ten rules of feed.py as a careful engineer writes them for TRL: plain Python, a completion at a time.

Everything that depends on an item or a row alone is worked out beforehand, into lists and sets.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from benchmarks.feed import K
from recpolicy.dataset import Dataset, Rows
from recpolicy.table import ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.types import DAY

NAN = math.nan
GAIN = [1 / math.log2(r + 2) for r in range(K)]
IDEAL = [sum(GAIN[: n + 1]) for n in range(K)]
BOOSTED = sum(GAIN[:3])
PAIRS = K * (K - 1) / 2
XLOGX = [0.0] + [n * math.log2(n) for n in range(1, K + 1)]
RULES = (
    "relevance variety mix surprise visible rising reported one_voice newcomers rhythm".split()
)
Slate = list[int]
"""Items by place; -1 is a hole."""


@dataclass(frozen=True)
class User:
    """What the rules ask of a row."""

    now: float
    age: float
    language: int
    wanted: frozenset[int]


class Plain:
    """The rules over one data set."""

    def __init__(self, dataset: Dataset, rows: Rows) -> None:
        item, user = dataset.items.columns, dataset.users.columns
        genres = item["genres"]
        assert isinstance(genres, ListColumn)
        offsets, codes = genres.values.offsets.tolist(), genres.values.values.tolist()
        self.genres = [frozenset(codes[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)]
        self.creator, self.language = _listed(item["creator"]), _listed(item["language"])
        self.published, self.since = _listed(item["published"]), _listed(item["creator_since"])
        self.rating, self.is_ad = _listed(item["age_rating"]), [v == 2 for v in _listed(item["is_ad"])]
        self.reported = [not rate <= 0.02 for rate in _listed(item["report_rate"])]  # missing counts
        users = int(np.count_nonzero(np.diff(dataset.start)))
        self.surprise = [1 - math.log2(max(c, 1)) / math.log2(users) for c in _listed(item["popularity"])]
        self.most = math.log2(min(len({g for found in self.genres for g in found}), K * max(map(len, self.genres))))
        age, spoken = _listed(user["age"]), _listed(user["language"])
        who, now = rows.user.tolist(), rows.now.tolist()
        self.users = [
            User(now[i], age[u], spoken[u], frozenset(rows.next_items.row(i).tolist())) for i, u in enumerate(who)
        ]

    def blocked(self, item: int, user: User) -> bool:
        """A missing rating or age blocks."""
        return item >= 0 and not self.rating[item] <= user.age

    # ---- values alone

    def values(self, slate: Slate, user: User) -> list[float]:
        """Of each rule, in order."""
        if any(self.blocked(i, user) for i in slate):
            return [0.0 if user.wanted else NAN] + [float(name == "reported") for name in RULES[1:]]
        items = [i for i in slate if i >= 0]
        genres = [self.genres[i] for i in items]
        distance = 0.0
        for n, a in enumerate(genres):
            for b in genres[:n]:
                distance += 1 - len(a & b) / len(a | b)
        mass: defaultdict[int, float] = defaultdict(float)
        for found in genres:
            for genre in found:
                mass[genre] += 1 / len(found)
        entropy = XLOGX[len(items)] - sum(m * math.log2(m) for m in mass.values())
        rising, per = 0, defaultdict[int, int](int)
        boosted = relevance = visible = bury = 0.0
        new = within = 0
        kept: list[bool] = []
        rhythm = 0
        for r, i in enumerate(slate):
            if i < 0:
                kept.append(False)
                continue
            gain = GAIN[r]
            if i in user.wanted:
                relevance += gain
            if 0 <= user.now - self.since[i] <= 90 * DAY:
                visible += gain
                new += 1
            if rising < 3 and 0 <= user.now - self.published[i] <= 14 * DAY and self.language[i] == user.language:
                rising += 1
                boosted += gain
            if self.reported[i]:
                bury += gain
            creator = self.creator[i]
            per[creator] += 1
            within += per[creator] <= 2
            counted = self.is_ad[i] and not any(kept[-2:])
            kept.append(counted)
            rhythm += counted or not self.is_ad[i]
        ideal = IDEAL[min(len(user.wanted), K) - 1] if user.wanted else NAN
        return [
            relevance / ideal,
            distance / PAIRS,
            entropy / (K * self.most),
            sum(self.surprise[i] for i in items) / K,
            visible / IDEAL[-1],
            boosted / BOOSTED,
            bury / IDEAL[-1],
            within / K,
            min(1, new / 2),
            rhythm / K,
        ]

    # ---- what each place adds

    def marginals(self, slate: Slate, user: User) -> list[list[float]]:
        """Of each rule, in order, by place."""
        ideal = IDEAL[min(len(user.wanted), K) - 1] if user.wanted else NAN
        out = [[0.0 * ideal] * K, *([0.0] * K for _ in RULES[1:])]
        for r, i in enumerate(slate):
            if self.blocked(i, user):
                out[6][r] = 1.0
                return out
        relevance, variety, mix, surprise, visible, boosted, bury, voice, newcomers, rhythm = out
        before: list[frozenset[int]] = []
        mass: defaultdict[int, float] = defaultdict(float)
        per: defaultdict[int, int] = defaultdict(int)
        rising = new = 0
        kept: list[bool] = []
        for r, i in enumerate(slate):
            if i < 0:
                kept.append(False)
                continue
            gain, genres = GAIN[r], self.genres[i]
            if i in user.wanted:
                relevance[r] = gain / ideal
            distance = 0.0
            for other in before:
                distance += 1 - len(genres & other) / len(genres | other)
            variety[r] = distance / PAIRS
            entropy, part = XLOGX[len(before) + 1] - XLOGX[len(before)], 1 / len(genres)
            for genre in genres:
                m = mass[genre]
                entropy -= (m + part) * math.log2(m + part) - (m * math.log2(m) if m else 0.0)
                mass[genre] = m + part
            mix[r] = entropy / (K * self.most)
            before.append(genres)
            surprise[r] = self.surprise[i] / K
            if 0 <= user.now - self.since[i] <= 90 * DAY:
                visible[r] = gain / IDEAL[-1]
                new += 1
                newcomers[r] = 0.5 if new <= 2 else 0.0
            if rising < 3 and 0 <= user.now - self.published[i] <= 14 * DAY and self.language[i] == user.language:
                rising += 1
                boosted[r] = gain / BOOSTED
            if self.reported[i]:
                bury[r] = gain / IDEAL[-1]
            creator = self.creator[i]
            per[creator] += 1
            if per[creator] <= 2:
                voice[r] = 1 / K
            counted = self.is_ad[i] and not any(kept[-2:])
            kept.append(counted)
            if counted or not self.is_ad[i]:
                rhythm[r] = 1 / K
        return out


def _listed(column: object) -> list[float]:
    assert isinstance(column, NumberColumn | TruthColumn | WordColumn)
    return column.values.tolist()
