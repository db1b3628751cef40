"""Scores in as they pass, their means and the intervals of those out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.dataset.columns import Floats
from recpolicy.scoring.scores import Scores


@dataclass(frozen=True)
class Mean:
    """A mean over slates, `margin` to each side of it its 95 % interval (NaN of one user), and how many slates."""

    mean: float
    margin: float
    slates: int


class Tally:
    """Sums over scores as they pass: what a summary needs, of a size that depends on the users alone."""

    def __init__(self, users: int) -> None:
        """`users` in the data."""
        self.slates = 0
        self._users = users
        self._totals: dict[str, float] = {}
        self._by_user: dict[str, Floats] = {}  # [2, users]: sum and count of a column's values

    def add(self, scores: Scores) -> None:
        """Count scores."""
        self.slates += len(scores)
        counted = {
            **scores.counts,
            **{f"{rule}.abstained": found for rule, found in scores.abstained.items()},
            **{f"{rule}.satisfied": found for rule, found in scores.satisfied.items()},
        }
        for name, counts in counted.items():
            self._totals[name] = self._totals.get(name, 0.0) + float(counts.sum())
        user, own = np.unique(scores.user, return_inverse=True)  # columns of few users, however many the data have
        slates = np.bincount(own, minlength=len(user))
        for name, values in {"reward": scores.reward, **{f"{r}.value": v for r, v in scores.values.items()}}.items():
            sums = self._by_user.setdefault(name, np.zeros((2, self._users)))
            unknown = np.isnan(values)
            if unknown.any():
                sums[0, user] += np.bincount(own, np.where(unknown, 0.0, values), len(user))
                sums[1, user] += np.bincount(own, ~unknown, len(user))
            else:
                sums[0, user] += np.bincount(own, values, len(user))
                sums[1, user] += slates

    def total(self, column: str) -> float:
        """The sum of a column of counts or truths; false where not applicable."""
        return self._totals.get(column, 0.0)

    def mean(self, column: str) -> Mean:
        """The mean of `reward` or a `RULE.value` over the slates that have one.

        Slates of one user resemble each other, so the interval is that of a mean over clusters: Liang and Zeger 1986,
        with the factor g / (g - 1) for g users.
        """
        sums, counts = self._by_user.get(column, np.zeros((2, 1)))
        slates, users = int(counts.sum()), int((counts > 0).sum())
        mean = sums.sum() / slates if slates else np.nan
        spread = ((sums - counts * mean) ** 2).sum() * users / (users - 1) if users > 1 else np.nan
        return Mean(float(mean), float(1.96 * np.sqrt(spread) / slates) if slates else np.nan, slates)
