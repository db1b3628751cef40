"""The ten rules of feed.py as a careful engineer writes them for TRL: plain Python, a function a rule.

What depends on an item or a row alone is worked out beforehand, into lists and sets. Each rule goes through the slates
of a batch by itself, as TRL calls it, and gives their values, or as `marginals` what each place adds. A slate with a
blocked item is worth nothing, and all of a bury; that is looked up once a batch.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from benchmarks.feed import K
from recpolicy.dataset.columns import ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.types import DAY

GAIN = [1 / math.log2(r + 2) for r in range(K)]
IDEAL = [sum(GAIN[: n + 1]) for n in range(K)]
BOOSTED = sum(GAIN[:3])
PAIRS = K * (K - 1) / 2
XLOGX = [0.0] + [n * math.log2(n) for n in range(1, K + 1)]

Slate: TypeAlias = list[int]
"""Items by place; -1 is a hole."""
Ranks: TypeAlias = list[float]


@dataclass(frozen=True)
class User:
    """What the rules ask of a row."""

    now: float
    age: float
    language: int
    wanted: frozenset[int]


class Plain:
    """The rules over one data set."""

    def __init__(self, dataset: Dataset) -> None:
        item, user = dataset.items.columns, dataset.users.columns
        genres = item["genres"]
        assert isinstance(genres, ListColumn)
        offsets, codes = genres.values.offsets.tolist(), genres.values.values.tolist()
        self.genres = [frozenset(codes[a:b]) for a, b in pairwise(offsets)]
        self.creator, self.language = _listed(item["creator"]), _listed(item["language"])
        self.published, self.since = _listed(item["published"]), _listed(item["creator_since"])
        self.rating, self.is_ad = _listed(item["age_rating"]), [v == 2 for v in _listed(item["is_ad"])]
        self.complained = [not rate <= 0.02 for rate in _listed(item["report_rate"])]  # missing counts
        users = int(np.count_nonzero(np.diff(dataset.start)))
        self.surprising = [1 - math.log2(max(c, 1)) / math.log2(users) for c in _listed(item["popularity"])]
        self.most = math.log2(min(len({g for found in self.genres for g in found}), K * max(map(len, self.genres))))
        self.age, self.spoken = _listed(user["age"]), _listed(user["language"])

    def users(self, rows: Rows) -> list[User]:
        """The rows as the rules read them."""
        taken = [frozenset(rows.next_items.row(i).tolist()) for i in range(len(rows))]
        who, now = rows.user.tolist(), rows.now.tolist()
        return [User(n, self.age[u], self.spoken[u], t) for u, n, t in zip(who, now, taken, strict=True)]

    def blocked(self, slates: Sequence[Slate], users: Sequence[User]) -> list[int]:
        """The first blocked place of each slate, K where there is none. A missing rating or age blocks."""
        out = []
        for slate, user in zip(slates, users, strict=True):
            first = K
            for r, i in enumerate(slate):
                if i >= 0 and not self.rating[i] <= user.age:
                    first = r
                    break
            out.append(first)
        return out

    def values(self, slates: Sequence[Slate], users: Sequence[User]) -> dict[str, list[float]]:
        """Per rule [B]."""
        blocked, out = self.blocked(slates, users), {}
        for rule in VALUES:
            lost = 1.0 if rule is Plain.reported else 0.0
            scored = zip(slates, users, blocked, strict=True)
            out[rule.__name__] = [rule(self, slate, user) if b == K else lost for slate, user, b in scored]
        return out

    def marginals(self, slates: Sequence[Slate], users: Sequence[User]) -> dict[str, list[Ranks]]:
        """Per rule [B, K]."""
        blocked, out = self.blocked(slates, users), {}
        for rule in RANKS:
            found = []
            for slate, user, first in zip(slates, users, blocked, strict=True):
                ranks = [0.0] * K
                if first == K:
                    rule(self, slate, user, ranks)
                elif rule is Plain.reported_ranks:
                    ranks[first] = 1.0
                found.append(ranks)
            out[rule.__name__.removesuffix("_ranks")] = found
        return out

    # ---- values

    def relevance(self, slate: Slate, user: User) -> float:
        return sum(GAIN[r] for r, i in enumerate(slate) if i in user.wanted) / IDEAL[min(len(user.wanted), K) - 1]

    def variety(self, slate: Slate, user: User) -> float:
        genres = [self.genres[i] for i in slate if i >= 0]
        total = 0.0
        for n, a in enumerate(genres):
            for b in genres[:n]:
                total += 1 - len(a & b) / len(a | b)
        return total / PAIRS

    def mix(self, slate: Slate, user: User) -> float:
        mass: defaultdict[int, float] = defaultdict(float)
        placed = 0
        for i in slate:
            if i >= 0:
                placed += 1
                genres = self.genres[i]
                part = 1 / len(genres)
                for genre in genres:
                    mass[genre] += part
        return (XLOGX[placed] - sum(m * math.log2(m) for m in mass.values())) / (K * self.most)

    def surprise(self, slate: Slate, user: User) -> float:
        return sum(self.surprising[i] for i in slate if i >= 0) / K

    def visible(self, slate: Slate, user: User) -> float:
        first = user.now - 90 * DAY
        return sum(GAIN[r] for r, i in enumerate(slate) if i >= 0 and first <= self.since[i] <= user.now) / IDEAL[-1]

    def rising(self, slate: Slate, user: User) -> float:
        first, count, total = user.now - 14 * DAY, 0, 0.0
        for r, i in enumerate(slate):
            if i >= 0 and first <= self.published[i] <= user.now and self.language[i] == user.language:
                total += GAIN[r]
                count += 1
                if count == 3:
                    break
        return total / BOOSTED

    def reported(self, slate: Slate, user: User) -> float:
        return sum(GAIN[r] for r, i in enumerate(slate) if i >= 0 and self.complained[i]) / IDEAL[-1]

    def one_voice(self, slate: Slate, user: User) -> float:
        counts = Counter([self.creator[i] for i in slate if i >= 0])
        return sum([min(count, 2) for count in counts.values()]) / K

    def newcomers(self, slate: Slate, user: User) -> float:
        first = user.now - 90 * DAY
        return min(1.0, sum([1 for i in slate if i >= 0 and first <= self.since[i] <= user.now]) / 2)

    def rhythm(self, slate: Slate, user: User) -> float:
        free, within = -1, 0  # the first place where an advertisement may stand again
        for r, i in enumerate(slate):
            if i >= 0:
                if not self.is_ad[i]:
                    within += 1
                elif r >= free:
                    within += 1
                    free = r + 3
        return within / K

    # ---- what each place adds

    def relevance_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        ideal = IDEAL[min(len(user.wanted), K) - 1]
        for r, i in enumerate(slate):
            if i in user.wanted:
                out[r] = GAIN[r] / ideal

    def variety_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        before: list[frozenset[int]] = []
        for r, i in enumerate(slate):
            if i >= 0:
                genres, total = self.genres[i], 0.0
                for other in before:
                    total += 1 - len(genres & other) / len(genres | other)
                out[r] = total / PAIRS
                before.append(genres)

    def mix_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        mass: defaultdict[int, float] = defaultdict(float)
        placed = 0
        for r, i in enumerate(slate):
            if i >= 0:
                genres = self.genres[i]
                grown, part = XLOGX[placed + 1] - XLOGX[placed], 1 / len(genres)
                for genre in genres:
                    m = mass[genre]
                    grown -= (m + part) * math.log2(m + part) - (m * math.log2(m) if m else 0.0)
                    mass[genre] = m + part
                out[r] = grown / (K * self.most)
                placed += 1

    def surprise_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        for r, i in enumerate(slate):
            if i >= 0:
                out[r] = self.surprising[i] / K

    def visible_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        first = user.now - 90 * DAY
        for r, i in enumerate(slate):
            if i >= 0 and first <= self.since[i] <= user.now:
                out[r] = GAIN[r] / IDEAL[-1]

    def rising_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        first, count = user.now - 14 * DAY, 0
        for r, i in enumerate(slate):
            if i >= 0 and first <= self.published[i] <= user.now and self.language[i] == user.language:
                out[r] = GAIN[r] / BOOSTED
                count += 1
                if count == 3:
                    break

    def reported_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        for r, i in enumerate(slate):
            if i >= 0 and self.complained[i]:
                out[r] = GAIN[r] / IDEAL[-1]

    def one_voice_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        counts: defaultdict[float, int] = defaultdict(int)
        for r, i in enumerate(slate):
            if i >= 0:
                creator = self.creator[i]
                counts[creator] += 1
                if counts[creator] <= 2:
                    out[r] = 1 / K

    def newcomers_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        first, count = user.now - 90 * DAY, 0
        for r, i in enumerate(slate):
            if i >= 0 and first <= self.since[i] <= user.now:
                out[r] = 0.5
                count += 1
                if count == 2:
                    break

    def rhythm_ranks(self, slate: Slate, user: User, out: Ranks) -> None:
        free = -1
        for r, i in enumerate(slate):
            if i >= 0:
                if not self.is_ad[i]:
                    out[r] = 1 / K
                elif r >= free:
                    out[r] = 1 / K
                    free = r + 3


VALUES = (
    Plain.relevance,
    Plain.variety,
    Plain.mix,
    Plain.surprise,
    Plain.visible,
    Plain.rising,
    Plain.reported,
    Plain.one_voice,
    Plain.newcomers,
    Plain.rhythm,
)
RANKS = (
    Plain.relevance_ranks,
    Plain.variety_ranks,
    Plain.mix_ranks,
    Plain.surprise_ranks,
    Plain.visible_ranks,
    Plain.rising_ranks,
    Plain.reported_ranks,
    Plain.one_voice_ranks,
    Plain.newcomers_ranks,
    Plain.rhythm_ranks,
)


def _listed(column: object) -> list[float]:
    assert isinstance(column, NumberColumn | TruthColumn | WordColumn)
    return list(column.values.tolist())
