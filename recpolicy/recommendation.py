"""Holds what a deployed model recommends, and the ranks of items that arrived after its training; without torch."""

from __future__ import annotations

from dataclasses import dataclass

ALIKE = 20
"""Number of similar items that an arrival is ranked among."""


@dataclass(frozen=True)
class Recommendation:
    """The items to show to one user."""

    user: int
    items: tuple[int, ...]
    """Item rows, the best first; fewer than K where no more may be shown."""
    reasoning: str


@dataclass(frozen=True)
class Arrival:
    """The ranks of an item that arrived after training.

    Medians are over the users it may be shown to; they are NaN where there is no such user.
    """

    item: int
    users: int
    """Number of users it may be shown to: it is not blocked for them, and they have not taken it."""
    slates: int
    """Number of slates that show it."""
    alike: tuple[int, ...]
    """The items most similar to it, at most ALIKE of those that the model knows well."""
    rank_alike: float
    """Median rank, from 1, by the probability of the first place, among those similar items that may be shown."""
    of_alike: float
    """Median number of these items, this one included."""
    rank: float
    """Median rank in the catalog, from 1."""
    of: float
    """Median number of items that may be shown."""
