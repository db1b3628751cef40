"""Scores in as they pass, their means and the intervals of those out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recpolicy.dataset import Dataset
from recpolicy.table import Floats, Ints


@dataclass(frozen=True)
class Mean:
    """A mean over slates, `margin` to each side of it its 95 % interval (NaN of one user), and how many slates."""

    mean: float
    margin: float
    slates: int


class Tally:
    """Sums over scores as they pass: what a summary needs, of a size that depends on the users alone."""

    def __init__(self, dataset: Dataset) -> None:
        self.slates = 0
        self._users = dataset.users.rows
        self._sums: dict[str, Floats] = {}  # [2, users]: sum and count of a column's values

    def add(self, scores: pa.Table, user: Ints) -> None:
        """Count scores, and `user`, [B], whose they are."""
        self.slates += scores.num_rows
        for name in scores.column_names:
            if name != "user_id" and not name.endswith(".ranks"):
                values = np.asarray(scores.column(name).cast(pa.float64()).fill_null(np.nan))
                known = ~np.isnan(values)
                sums = self._sums.setdefault(name, np.zeros((2, self._users)))
                sums[0] += np.bincount(user[known], values[known], self._users)
                sums[1] += np.bincount(user[known], minlength=self._users)

    def total(self, column: str) -> float:
        """The sum of a column."""
        return float(self._sums[column][0].sum()) if self.slates else 0.0

    def mean(self, column: str) -> Mean:
        """The mean of a column over the slates that have a value.

        Slates of one user resemble each other, so the interval is that of a mean over clusters: Liang and Zeger 1986,
        with the factor g / (g - 1) for g users.
        """
        sums, counts = self._sums.get(column, np.zeros((2, 1)))
        slates, users = int(counts.sum()), int((counts > 0).sum())
        mean = sums.sum() / slates if slates else np.nan
        spread = ((sums - counts * mean) ** 2).sum() * users / (users - 1) if users > 1 else np.nan
        return Mean(float(mean), float(1.96 * np.sqrt(spread) / slates) if slates else np.nan, slates)
