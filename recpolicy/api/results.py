"""Holds what the methods of a loaded policy return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recpolicy.dataset.columns import Bools, Floats
from recpolicy.evaluation.decision import Decision
from recpolicy.evaluation.metrics import Interval
from recpolicy.evaluation.targets import Outcome


@dataclass(frozen=True)
class RowProblem:
    """What is wrong with one row. Without its user it has no values; without some items the others count."""

    row: int
    """From 0."""
    reason: str


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of B lists, by the names of the rules."""

    reward: Floats
    """[B], R in [-1, 1]; NaN where no rule with a weight applies, and for an unknown user."""
    rules: Mapping[str, Floats]
    """[B] each, values in [0, 1]; NaN where the rule does not apply."""
    parts: Mapping[str, Floats]
    """[B] each, the rule's part of R, negative for a bury; the parts add up to R. NaN where the rule does not apply."""
    weights: Mapping[str, Floats]
    """[B] each, the weights of the rules for the row's user; R divides by their sum."""
    ranks: Mapping[str, Floats]
    """[B, K] each, what each place adds to the rule's value."""
    satisfied: Mapping[str, Bools]
    """[B] each, of quotas only: whether the demand holds."""
    blocked: Bools
    """[B], whether the list holds an item that a block forbids this user."""
    seen: Bools
    """[B], whether the list holds an item of the user's history; its place is a hole."""
    problems: tuple[RowProblem, ...]

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class Reranked:
    """Lists that a policy made of candidates."""

    lists: list[list[str]]
    """The ids of each row's items, the best place first; fewer than K where candidates do not suffice."""
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True)
class Evaluated:
    """What lists are worth on users whose next items are known; intervals are of 95 %, over users."""

    users: int
    accuracy: Mapping[str, Interval]
    """NDCG, hit rate, recall, precision and MRR at K, over rows with next items."""
    reward: Interval
    rules: Mapping[str, Interval]
    targets: tuple[Outcome, ...]
    blocked: float
    """Share of lists that hold a blocked item."""
    less_baseline: Mapping[str, Interval]
    """Paired differences to the baseline: `reward`, `ndcg` and every rule; empty without a baseline."""
    decision: Decision | None
    """Whether to ship these lists instead of the baseline; None without one."""
    problems: tuple[RowProblem, ...]
