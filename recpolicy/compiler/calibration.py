"""Compares the mix of a column's values in slates with the mix in users' histories: calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.encoded_column import CountingMeasure
from recpolicy.compiler.measures import MeasureState, increments, picked, running, stepwise_marginals
from recpolicy.compiler.value_weights import add, entries, xlogx
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints


class CalibrationState:
    """(T / K) x (1 - divergence of the history P from Q, the T items so far that have a value).

    The divergence is a sum over values (`_jensen_terms`). Where Q is 0 a term is P / 2, so only the slate's own values
    need to be looked at, unless an item without a value has brought in the whole catalog's.
    """

    def __init__(self, measure: CalibrationMeasure, batch: CandidateBatch) -> None:
        column = measure.column
        self._codes, self._shares = column.codes_at(batch), column.shares_at(batch)
        self._missing, self._size, self._k = column.missing_at(batch), column.size, measure.k
        self._fill = None if measure.fill is None else np.append(measure.fill, 0.0)
        history = batch.once(("history", column.name), lambda: column.mass(batch.rows.history))
        rows = len(history)
        self._history = np.concatenate([history, np.zeros((rows, 1))], 1)  # P: [B, size + 1], the last for no value
        self._mass = np.zeros((rows, column.size + 1))  # T Q of the items with a value
        self._filled = np.zeros(rows)  # items without one, which stand for the catalog
        self._total = np.zeros(rows)  # T
        self._value = np.zeros(rows)
        self._support = np.full((rows, 0), column.size)  # each of the slate's values once, else `size`

    def gains(self, over: slice) -> Floats:
        """Returns what each of the candidates `over` would add at the next place, [B, C']."""
        return self._grown(self._codes[:, over], self._shares[:, over], self._missing[:, over]) - self._value[:, None]

    def take(self, at: Ints) -> None:
        """Puts candidate `at[b]` at the next place of row b's slate."""
        codes, shares, missing = picked(self._codes, at), picked(self._shares, at), picked(self._missing, at)
        self._value = self._grown(codes[:, None], shares[:, None], missing[:, None])[:, 0]
        new = np.where(entries(self._mass, codes[:, None])[:, 0] > 0, self._size, codes)
        self._support = np.concatenate([self._support, new], 1)
        add(self._mass, codes, shares)
        self._total += shares > 0
        if self._fill is not None:
            self._filled += missing
            self._total += missing

    def _grown(self, codes: Codes, shares: Floats, missing: Bools) -> Floats:
        """Value of each slate with one more item, of codes [B, C, L], shares and missing [B, C]."""
        total = self._total[:, None] + 1.0
        base = self._base(total)
        p, before = entries(self._history, codes), entries(self._mass, codes)
        counts = shares > 0
        if self._fill is not None:
            before = before + self._filled[:, None, None] * self._fill[codes]
            counts = counts | missing
        before = before / total[..., None]
        change = _jensen_terms(p, before + (shares / total)[..., None]) - _jensen_terms(p, before)
        divergence = base[:, None] + np.where(codes < self._size, change, 0.0).sum(2)
        if self._fill is not None and (rows := np.flatnonzero(missing.any(1))).size:
            dense = self._dense(rows, self._filled[rows] + 1.0, total[rows])
            divergence[rows] = np.where(missing[rows], dense[:, None], divergence[rows])
        value = total / self._k * (1.0 - np.clip(divergence, 0.0, 1.0))
        return np.where(counts, value, self._value[:, None])

    def _base(self, total: Floats) -> Floats:
        """The divergence were the items so far spread over `total` [B, 1] of them, [B]."""
        support = self._support[:, None]
        p, mass = entries(self._history, support)[:, 0], entries(self._mass, support)[:, 0]
        base = _jensen_terms(p, mass / total).sum(1) + 0.5 * (self._history.sum(1) - p.sum(1))
        rows = np.flatnonzero(self._filled)
        if rows.size:
            base[rows] = self._dense(rows, self._filled[rows], total[rows])
        return np.asarray(base, np.float64)

    def _dense(self, rows: Ints, filled: Floats, total: Floats) -> Floats:
        """The same with every value of the catalog in the slate, for some of the rows."""
        assert self._fill is not None
        mass = self._mass[rows] + filled[:, None] * self._fill
        return np.asarray(_jensen_terms(self._history[rows], mass / total).sum(1), np.float64)


@dataclass(frozen=True, eq=False)
class CalibrationMeasure(CountingMeasure):
    """1 - Jensen-Shannon divergence (base 2; Lin 1991) between the user's history and the slate.

    Both are distributions over the column's values in which each item weighs the same (Steck, RecSys 2018, without
    smoothing). Scaled by T / K as `Entropy` is; the divergence is convex, so no marginal is negative.
    """

    fill: Floats | None
    """[size], the catalog's mean distribution; None where a missing item contributes nothing."""

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K]."""
        out = increments(self._values(batch))
        if self.fill is not None and self.column.unknown_in(batch):  # they bring in every value of the catalog
            assert batch.items is not None
            rows = np.flatnonzero(self.missing(batch).any(1))
            some = CandidateBatch(batch.catalog, batch.rows.take(rows), batch.items[rows])
            out[rows] = stepwise_marginals(self.start(some), some)
        return out

    def _values(self, batch: CandidateBatch) -> Floats:
        """Of every prefix of slates of items with a value, [B, K]. Values they do not hold add P / 2 each."""
        (slots, n), shares = self.column.slots_at(batch), self.column.shares_at(batch)
        k, _, b = slots.shape
        history = self._history(batch, slots, n)  # P: [n, B]
        rest = 0.5 * (1.0 - history.sum(0)) + 0.5 * xlogx(history).sum(0)
        each, cells = shares.T[:, None] * (slots < n), slots * b + np.arange(b)
        total = running(shares > 0).astype(np.float64)  # T
        mass, out = np.zeros((n + 1) * b), np.zeros((k, b))
        for r in range(k):
            mass[cells[r]] += each[r]  # T Q; an item has no value twice
            mix = mass[: n * b].reshape(n, b) / np.maximum(total[:, r], 1.0)
            divergence = rest + (0.5 * xlogx(mix) - xlogx(0.5 * (history + mix))).sum(0)
            out[r] = total[:, r] / self.k * (1.0 - np.clip(divergence, 0.0, 1.0))
        return out.T

    def _history(self, batch: CandidateBatch, slots: Ints, n: int) -> Floats:
        """What part of each row's history the values of its slate have, [n, B]."""
        column, history = self.column, batch.rows.history
        if n == column.size:
            return column.mass(history).T
        b, wide = slots.shape[2], column.size + 1
        row = np.repeat(np.arange(b), history.lengths)
        codes, shares = column.codes[history.values], column.shares_of(history.values)  # [events, L], [events]
        own = column.codes_at(batch).transpose(1, 2, 0).reshape(n, b)
        first = slots.reshape(n, b) == np.arange(n)[:, None]  # each value of a slate once
        keys = (np.arange(b) * wide + own)[first]
        order = np.argsort(keys)
        keys, cells = keys[order], np.flatnonzero(first)[order]
        query = (row[:, None] * wide + codes).ravel()
        match = np.minimum(np.searchsorted(keys, query), max(len(keys) - 1, 0))
        hit = (codes < column.size).ravel()
        hit &= keys[match] == query if len(keys) else False
        mass = np.bincount(cells[match[hit]], np.repeat(shares, column.longest)[hit], n * b).reshape(n, b)
        return np.asarray(mass / np.maximum(np.bincount(row, shares > 0, b), 1.0), np.float64)

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates."""
        return CalibrationState(self, batch)

    def applicable(self, batch: CandidateBatch) -> Bools:
        """Finds the rows whose history has a value, [B]."""
        history = batch.rows.history
        row = np.repeat(np.arange(len(history)), history.lengths)
        return np.bincount(row, self.column.shares_of(history.values), len(history)) > 0


def _jensen_terms(p: Floats, q: Floats) -> Floats:
    """The terms of the Jensen-Shannon divergence, value by value."""
    return np.asarray(0.5 * xlogx(p) + 0.5 * xlogx(q) - xlogx(0.5 * (p + q)), np.float64)
