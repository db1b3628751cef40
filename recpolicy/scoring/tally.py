"""Sums scores batch by batch, and computes their means with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.dataset.columns import Floats
from recpolicy.scoring.scores import Scores


@dataclass(frozen=True)
class Mean:
    """A mean over slates, half the width of its 95 % interval (`margin`, NaN for one user), and the count of slates."""

    mean: float
    margin: float
    slates: int


class Tally:
    """Sums over scores for a summary. Its size depends only on the number of users."""

    def __init__(self, users: int) -> None:
        """`users` is the number of users in the data."""
        self.slates = 0
        self._users = users
        self._totals: dict[str, float] = {}
        self._by_user: dict[str, Floats] = {}  # [2, users]: sum and count of a column's values

    def add(self, scores: Scores) -> None:
        """Adds scores to the sums."""
        self.slates += len(scores)
        counted = {
            **scores.counts,
            **{f"{rule}.abstained": counts for rule, counts in scores.abstained.items()},
            **{f"{rule}.satisfied": truths for rule, truths in scores.satisfied.items()},
        }
        for name, counts in counted.items():
            self._totals[name] = self._totals.get(name, 0.0) + float(counts.sum())
        user, own = np.unique(scores.user, return_inverse=True)  # the users of this batch alone, of many in the data
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
        """Returns the sum of a column of counts or truths; a truth that is not applicable counts as false."""
        return self._totals.get(column, 0.0)

    def mean(self, column: str) -> Mean:
        """Computes the mean of `reward` or a `RULE.value` over the slates that have one, with its interval.

        Slates of one user are similar, so the interval is that of a mean over clusters (Liang and Zeger 1986), with the
        factor g / (g - 1) for g users.
        """
        sums, counts = self._by_user.get(column, np.zeros((2, 1)))
        slates, users = int(counts.sum()), int((counts > 0).sum())
        mean = sums.sum() / slates if slates else np.nan
        spread = ((sums - counts * mean) ** 2).sum() * users / (users - 1) if users > 1 else np.nan
        return Mean(float(mean), float(1.96 * np.sqrt(spread) / slates) if slates else np.nan, slates)
