"""Searches for loopholes of a compiled policy: one list for all users that earns a large reward.

The list is fixed: every user is shown the same items at the same places, with a hole where an item is blocked for the
user or in the user's history. A recommender that ignores the user can earn as much as such a list does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recpolicy.compiler import CompiledPolicy, PartialSlates
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.search.builder import build, with_hole
from recpolicy.search.rerank import rerank

ITEMS = 2000
"""Most items that lists are searched among: those of `likely` first, then some drawn at random."""
USERS = 100
"""Most users that a search looks at; what it finds is measured on all."""
ROUNDS = 2
"""How often every place of the list is looked at again once it is full."""
TRIED = 20
"""Items tried at each place then: those that would gain most at the end of the list."""

TIE = 1e-9
"""Gains that differ by less count as equal: then the item that more users may be shown is taken."""


@dataclass(frozen=True, eq=False)
class Search:
    """Users, and what they may be shown out of the items that are looked at."""

    rows: Rows
    items: Codes  # [C]
    allowed: Bools  # [B, C]: neither blocked nor taken before

    @staticmethod
    def of(compiled: CompiledPolicy, rows: Rows, likely: Codes, *, seed: int) -> Search:
        """Builds a search among at most ITEMS items, first those of `likely` (any shape, holes are skipped)."""
        rng, every = np.random.default_rng(seed), compiled.catalog.items
        shown, counts = np.unique(likely[likely >= 0], return_counts=True)
        first = shown[np.argsort(-counts, kind="stable")]
        others = rng.permutation(np.setdiff1d(np.arange(every), first))
        items = np.sort(np.concatenate([first, others])[:ITEMS]).astype(np.int32)
        return Search(rows, items, compiled.servable(rows)[:, items])

    def fixed(self, compiled: CompiledPolicy) -> Codes:
        """Finds a list [K] with a large mean reward for the rules of `compiled` that need no label.

        Each place first gets the item that adds most. Then, ROUNDS times, each place gets another item, or changes with
        another place, where that is better. The reward is a lower bound: a better list may exist.
        """
        some, free = self._some(), label_free(compiled)
        chosen = some._extended(free)
        reward = some._reward(free, chosen[None])[0]
        for r in [*range(len(chosen))] * ROUNDS:
            tried = np.concatenate([some._with_another(free, chosen, r), _exchanged(chosen, r)])
            rewards = some._reward(free, tried)
            if rewards.max(initial=-np.inf) > reward + TIE:
                chosen, reward = tried[rewards.argmax()], rewards.max()
        return self._items(chosen, compiled.policy.slate)

    def grown(self, compiled: CompiledPolicy) -> Codes:
        """Builds a list [K] like `fixed`, place by place only."""
        return self._items(self._some()._extended(label_free(compiled)), compiled.policy.slate)

    def own(self, compiled: CompiledPolicy) -> Slates:
        """Builds for each user a list of large reward for the rules that need no label, greedily, [B, K]."""
        scores = np.where(self.allowed, 0.0, -np.inf)
        return rerank(np.tile(self.items, (len(self.rows), 1)), scores, self.rows, label_free(compiled), 1.0)

    # ---- inside: lists are positions in `items` ---------------------------------------------------------------------

    def _some(self) -> Search:
        step = -(-len(self.rows) // USERS)
        at = np.arange(0, len(self.rows), max(step, 1))
        return replace(self, rows=self.rows.take(at), allowed=self.allowed[at])

    def _partial_slates(self, free: CompiledPolicy) -> tuple[PartialSlates, Codes]:
        candidates = with_hole(np.where(self.allowed, self.items, np.int32(-1)))
        return free.partial_slates(self.rows, candidates), candidates

    def _extended(self, free: CompiledPolicy) -> Codes:
        (partial_slates, candidates), chosen = self._partial_slates(free), list[int]()

        def worth(_: int, open_: Bools) -> Floats:
            values = self._worth(partial_slates, open_, chosen)
            chosen.append(int(values.argmax()))
            return values

        build(partial_slates, candidates, min(free.policy.slate, len(self.items)), worth)
        return np.array(chosen, np.int32)

    def _with_another(self, free: CompiledPolicy, chosen: Codes, r: int) -> Codes:
        """The list with the TRIED items at place r that would gain most behind all the others, [<= TRIED, K]."""
        others, (partial_slates, candidates) = np.delete(chosen, r), self._partial_slates(free)
        every = np.arange(len(self.items))
        build(
            partial_slates, candidates, len(others), lambda place, _: np.equal(every, others[place]).astype(np.float64)
        )
        worth = self._worth(partial_slates, partial_slates.open, others)
        best = np.argsort(-worth, kind="stable")[: min(TRIED, np.isfinite(worth).sum())]
        tried = np.tile(chosen, (len(best), 1))
        tried[:, r] = best
        return tried

    def _items(self, chosen: Codes, k: int) -> Codes:
        return np.append(self.items[chosen], np.full(k - len(chosen), -1)).astype(np.int32)

    def _worth(self, partial_slates: PartialSlates, open_: Bools, chosen: Codes | list[int]) -> Floats:
        """Mean gain of each item at the next place, [C]; -inf for those chosen and those that few may be shown."""
        open_ = open_[:, :-1]
        reach = open_.mean(0)
        gains = np.where(open_, partial_slates.gains()[:, :-1], 0.0).mean(0) + TIE * reach
        free = np.ones(len(self.items), np.bool_)
        free[chosen] = False
        common = free & (reach >= 0.5)
        return np.where(common if common.any() else free, gains, -np.inf)

    def _reward(self, free: CompiledPolicy, lists: Codes) -> Floats:
        """Mean reward of each of the lists [L, K'], [L]."""
        k = free.policy.slate
        at = np.repeat(np.arange(len(self.rows)), len(lists))  # user by user
        shown = np.where(self.allowed[:, lists], self.items[lists], -1).reshape(len(at), -1)
        slates = np.full((len(at), k), -1, np.int32)
        slates[:, : shown.shape[1]] = shown
        rewards: Floats = free.total(self.rows.take(at), Slates(slates)).reshape(len(self.rows), -1).mean(0)
        return rewards


def _exchanged(chosen: Codes, r: int) -> Codes:
    """The list with places r and s exchanged, for each s behind r, [., K]."""
    behind = np.arange(r + 1, len(chosen))
    out = np.tile(chosen, (len(behind), 1))
    out[:, r], out[np.arange(len(behind)), behind] = chosen[behind], chosen[r]
    return out


def label_free(compiled: CompiledPolicy) -> CompiledPolicy:
    """Returns the policy with only those of its rules that need no label."""
    return replace(compiled, rules=tuple(rule for rule in compiled.rules if not rule.needs_labels))


def served(compiled: CompiledPolicy, rows: Rows, items: Codes) -> Slates:
    """Returns a list [K] as each row's user is shown it, [B, K]: holes for what is blocked or was taken before."""
    allowed = compiled.servable(rows)
    return Slates(np.where(allowed[:, items] & (items >= 0), items, -1).astype(np.int32))
