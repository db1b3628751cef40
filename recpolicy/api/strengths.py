"""Finds how strongly a policy should move a recommender's own order, on users whose next items are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recpolicy.dataset.columns import Floats
from recpolicy.evaluation import metrics

FIRST, LAST = 1 / 16, 4096.0
"""The smallest strength above 0 that is tried, and the largest."""
WORSE = 3
"""Doublings without a better reward after which the search stops."""


@dataclass(frozen=True)
class Tried:
    """One strength, and what the lists by it are worth; means over users."""

    strength: float
    reward: float
    """R, with relevance by what users took next."""
    ndcg: float


@dataclass(frozen=True)
class FittedStrength:
    """The strength with the largest reward, and all that were tried, by rising strength."""

    strength: float
    tried: tuple[Tried, ...]


def fit(measured: Callable[[float], tuple[Floats, Floats]]) -> FittedStrength:
    """Searches the strength whose lists have the largest mean reward.

    `measured(strength)` returns the reward and the NDCG of each user's list. Strengths double from `FIRST` until the
    reward has not risen for `WORSE` of them; then the halfway points around the best are tried, twice. Of equal rewards
    the smaller strength wins, so a policy that gains nothing moves nothing.
    """
    tried: dict[float, Tried] = {}

    def attempt(strength: float) -> None:
        if strength not in tried:
            reward, ndcg = measured(strength)
            tried[strength] = Tried(strength, metrics.mean(reward), metrics.mean(ndcg))

    def best() -> Tried:
        return max(tried.values(), key=lambda t: (t.reward, -t.strength))

    attempt(0.0)
    strength = FIRST
    while strength <= LAST and strength <= 2**WORSE * max(best().strength, FIRST):
        attempt(strength)
        strength *= 2
    for _ in range(2):
        known = sorted(tried)
        at = known.index(best().strength)
        for beside in known[max(at - 1, 0) : at + 2]:
            attempt((beside + known[at]) / 2)
    return FittedStrength(best().strength, tuple(tried[strength] for strength in sorted(tried)))
