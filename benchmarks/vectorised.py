"""The ten rules of feed.py written out by hand in vectorised NumPy, for this data and nothing else.

It knows which columns miss values, which lists are short and that nothing else will ever be asked; places come first
in memory ([K, B]), so that a step over the places is one run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.feed import K
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.types import DAY

GAIN = 1 / np.log2(np.arange(2, K + 2))
LAGS = range(1, K)


class Vectorised:
    """The rules over one data set."""

    def __init__(self, dataset: Dataset) -> None:
        item, user = dataset.items.columns, dataset.users.columns
        genres, rows = item["genres"], dataset.items.rows
        assert isinstance(genres, ListColumn) and not genres.missing.any()
        lengths = genres.values.lengths
        self.longest, self.size = int(lengths.max()), len(np.unique(genres.values.values))
        codes = np.full((rows + 1, self.longest), len(genres.words), np.int32)  # the last row is a hole
        codes[:-1][np.arange(self.longest) < lengths[:, None]] = genres.values.values
        bits = np.where(codes < len(genres.words), np.uint32(1) << codes.astype(np.uint32), np.uint32(0))
        self.codes, self.genres = codes, np.bitwise_or.reduce(bits, 1)
        self.words = len(genres.words)
        self.share = np.append(1 / np.maximum(lengths, 1), 0.0)

        self.creator = np.append(_codes(item["creator"]), -1)
        self.language = np.append(_codes(item["language"]), -2)
        self.published = np.append(_numbers(item["published"]), np.inf)  # not yet
        self.since = np.append(_numbers(item["creator_since"]), np.inf)
        self.is_ad = np.append(_truths(item["is_ad"]), False)
        self.reported = np.append(~(_numbers(item["report_rate"]) <= 0.02), False)
        self.rating = np.append(_numbers(item["age_rating"]), -np.inf)
        users = int(np.count_nonzero(np.diff(dataset.start)))
        surprise = 1 - np.log2(np.maximum(_numbers(item["popularity"]), 1)) / np.log2(users)
        self.surprise = np.append(surprise / K, 0.0)
        self.age, self.spoken = _numbers(user["age"]), _codes(user["language"])

    def marginals(self, rows: Rows, items: Codes) -> dict[str, Floats]:
        """Per rule [B, K], as `CompiledPolicy.marginals`."""
        at = np.ascontiguousarray(items.T).astype(np.intp)  # [K, B]
        held, b = at >= 0, at.shape[1]
        age, now = self.age[rows.user], rows.now
        new = self._within(self.since, at, now, 90)
        fresh = self._within(self.published, at, now, 14) & (self.language.take(at) == self.spoken[rows.user])
        fresh &= _running(fresh) <= 3
        newcomers = np.minimum(_running(new), 2) * 0.5
        newcomers[1:] -= newcomers[:-1].copy()
        out = {
            "relevance": self._relevance(rows, at),
            "variety": self._variety(at, held),
            "mix": self._mix(at, held),
            "surprise": self.surprise.take(at),
            "visible": new * (GAIN / GAIN.sum())[:, None],
            "rising": fresh * (GAIN / GAIN[:3].sum())[:, None],
            "reported": self.reported.take(at) * (GAIN / GAIN.sum())[:, None],
            "one_voice": self._one_voice(at, held),
            "newcomers": newcomers,
            "rhythm": self._rhythm(at, held),
        }
        blocked = held & ~(self.rating.take(at) <= age)
        hit = np.flatnonzero(blocked.any(0))
        for name, found in out.items():
            found[:, hit] = 0.0
            if name == "reported":
                found[blocked[:, hit].argmax(0), hit] = 1.0
        nobody = np.flatnonzero(rows.next_items.lengths == 0)
        out["relevance"][:, nobody] = np.nan
        assert b == len(rows)
        return {name: found.T for name, found in out.items()}

    def _within(self, dates: Floats, at: Ints, now: Floats, days: int) -> Bools:
        age = now - dates.take(at)
        return (age >= 0) & (age <= days * DAY)

    def _relevance(self, rows: Rows, at: Ints) -> Floats:
        wanted = rows.next_items
        longest = max(1, int(wanted.lengths.max()))
        future = np.full((at.shape[1], longest), -2, np.int32)
        future[np.arange(longest) < wanted.lengths[:, None]] = wanted.values
        items = at.astype(np.int32)
        hits = np.zeros(at.shape, np.bool_)
        for taken in np.ascontiguousarray(future.T):
            hits |= items == taken
        future.sort(1)
        n = ((future[:, 1:] != future[:, :-1]) & (future[:, 1:] >= 0)).sum(1) + (future[:, 0] >= 0)
        return np.asarray(hits * GAIN[:, None] / GAIN.cumsum()[np.clip(n, 1, K) - 1], np.float64)

    def _variety(self, at: Ints, held: Bools) -> Floats:
        sets = self.genres.take(at)
        lengths = np.bitwise_count(sets)
        common = np.concatenate([np.bitwise_count(sets[lag:] & sets[:-lag]) for lag in LAGS])
        either = np.concatenate([lengths[lag:] + lengths[:-lag] for lag in LAGS]) - common
        both = np.concatenate([held[lag:] & held[:-lag] for lag in LAGS])
        distances = ((either - common) * both) / np.maximum(either, 1).astype(np.int16)
        out, first = np.zeros(at.shape), 0
        for lag in LAGS:
            out[lag:] += distances[first : first + K - lag]
            first += K - lag
        out /= K * (K - 1) / 2
        return out

    def _mix(self, at: Ints, held: Bools) -> Floats:
        b = at.shape[1]
        codes = np.ascontiguousarray(self.codes.take(at, 0).transpose(0, 2, 1))  # [K, longest, B]
        share = self.share.take(at)[:, None] * (codes < self.words)
        cells = codes * b + np.arange(b)
        mass, before = np.zeros((self.words + 1) * b), np.empty(codes.shape)
        for r in range(K):
            before[r] = mass[cells[r]]
            mass[cells[r]] = before[r] + share[r]
        grown = (_xlogx(before + share) - _xlogx(before)).sum(1)
        steps = np.diff(_xlogx(np.arange(K + 1.0)))
        placed = _running(held)
        total = steps[np.maximum(placed - 1, 0)] * held
        scale = 1 / (K * np.log2(min(self.size, K * self.longest)))
        return np.asarray((total - grown) * scale, np.float64)

    def _one_voice(self, at: Ints, held: Bools) -> Floats:
        creator = self.creator.take(at)
        before = np.zeros(at.shape, np.int8)
        for lag in LAGS:
            before[lag:] += creator[lag:] == creator[:-lag]
        return np.asarray(((before < 2) & held) * (1 / K), np.float64)

    def _rhythm(self, at: Ints, held: Bools) -> Floats:
        ads = self.is_ad.take(at)
        kept = ads.copy()
        for r in range(1, K):
            kept[r] &= ~kept[r - 1] if r == 1 else ~(kept[r - 1] | kept[r - 2])
        return np.asarray((held & (kept | ~ads)) * (1 / K), np.float64)


def _running(truths: Bools) -> NDArray[np.int8]:
    out = truths.astype(np.int8)
    for r in range(1, K):
        out[r] += out[r - 1]
    return out


def _xlogx(x: Floats) -> Floats:
    return np.asarray(x * np.log2(x + 1e-300), np.float64)


def _numbers(column: object) -> Floats:
    assert isinstance(column, NumberColumn)
    return column.values


def _codes(column: object) -> Codes:
    assert isinstance(column, WordColumn)
    return column.values


def _truths(column: object) -> Bools:
    assert isinstance(column, TruthColumn)
    return np.equal(column.values, 2)
