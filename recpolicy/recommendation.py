"""What a deployed model recommends, and how items that came after its training stand; data alone, without torch."""

from __future__ import annotations

from dataclasses import dataclass

ALIKE = 20
"""Items most like an arrival that it is ranked among."""


@dataclass(frozen=True)
class Recommendation:
    """What one user is to be shown."""

    user: int
    items: tuple[int, ...]
    """Item rows, the best first; fewer than K where no more may be shown."""
    reasoning: str


@dataclass(frozen=True)
class Arrival:
    """How an item that came after training stands; medians are over the users it may be shown to, NaN without any."""

    item: int
    users: int
    """Users it may be shown to: it is not blocked for them, and they have not taken it yet."""
    slates: int
    """Slates that show it."""
    alike: tuple[int, ...]
    """The items most like it, at most ALIKE of those that the model knows well."""
    rank_alike: float
    """Median rank, from 1, among those of them that may be shown, by the probability of the first place."""
    of_alike: float
    """Median number of these, itself included."""
    rank: float
    """Median rank in the catalog."""
    of: float
    """Median number of items that may be shown."""
