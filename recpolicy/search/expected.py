"""Builds slates of the largest expected reward from candidates: greedily, then by exchanges until none helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.partial_slates import divisor
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.search.builder import BATCH, TRIFLE, build, keeps, with_hole

POPULATION_BATCH = 64
"""Rows whose slates are built at once where a target on all users together counts: their slates count for the next."""
PASSES = 3
"""How often every exchange is tried, at most."""
CANDIDATES = 300
"""Likeliest items of a row that its slate is chosen from: what a policy rewards may be far from the likeliest."""
EXCHANGED = 100
"""Of these, likeliest first, that an exchange may bring in."""
AT_ONCE = 2048
"""Slates whose J is computed at once."""


@dataclass(frozen=True)
class Objective:
    """Expected R with the rules that need no label `strength` times as strong, and each target's weighted metric added.

    J = sum over labelled rules of w E[value] + strength sum over the other rules of w value, over the sum of w, plus
    the targets' multipliers times what their metrics have of the slate. At strength 1 without targets J is expected R.
    """

    compiled: CompiledPolicy
    strength: float = 1.0
    multipliers: Mapping[str, float] = field(default_factory=dict)

    def values(self, rows: Rows, slates: Codes, exposure_slates: Slates | None = None) -> Floats:
        """Returns J of whole slates, [B]; the rows must have label probabilities.

        `exposure_slates` are the slates of all users, for targets on all of them together.
        """
        compiled, whole = self.compiled, Slates(slates)
        weights = compiled.weights(rows)
        labelled = np.array([rule.needs_labels for rule in compiled.rules], np.bool_)
        factors = np.where(labelled, 1.0, self.strength) * [rule.sign for rule in compiled.rules]
        out = np.zeros(len(rows))
        for values, share in zip(compiled.values(rows, whole).values(), (weights * factors).T, strict=True):
            out += np.where(share == 0.0, 0.0, np.nan_to_num(values) * share)
        out /= divisor(weights)
        if multipliers := {name: multiplier for name, multiplier in self.multipliers.items() if multiplier}:
            signs = {t.target.name: t.sign for t in compiled.targets}
            for name, marginals in compiled.target_marginals(rows, whole, exposure_slates).items():
                out += multipliers.get(name, 0.0) * signs[name] * np.nan_to_num(marginals).sum(1)
        return out


def slates(
    rows: Rows,
    legal: Bools,
    objective: Objective,
    *,
    start: Slates | None = None,
    exposure_slates: Slates | None = None,
) -> Slates:
    """Builds slates of large J from the CANDIDATES likeliest of the `legal` items [B, items].

    The rows must have label probabilities.

    Each place first takes the candidate that adds most to J, as in maximal marginal relevance (Carbonell and Goldstein,
    SIGIR 1998). Then a candidate takes a place, or two places change their items, as long as J grows: rules on the
    whole list do not depend on the order while relevance does, and no greedy choice sees that. Where `start` has a
    slate that is worth more than the greedy one, the exchanges begin with it. Blocks and hard quotas are kept. A target
    on all users together is measured at `exposure_slates`. Without these it is measured at the slates of the rows
    before, a few rows at a time, as a service would: users who are served at once and see the same exposure would all
    move to the same few items.
    """
    compiled = objective.compiled
    candidates = likeliest(rows, legal, CANDIDATES)
    rows = replace(rows, candidates=None)  # label probabilities have their own
    out = Slates(np.full((len(rows), compiled.policy.slate), -1, np.int32))
    sequential = exposure_slates is None and any(
        objective.multipliers.get(name) for name in compiled.population_metrics
    )
    for part, some in rows.batches(POPULATION_BATCH if sequential else BATCH):
        scorer = _Scorer(objective, some, out if sequential else exposure_slates)
        own = scorer.greedy(candidates[part])
        if start is not None:
            given = start.items[part]
            better = scorer.values(given) > scorer.values(own) + TRIFLE
            better &= keeps(compiled, some, own, given)
            own[better] = given[better]
        out.items[part] = scorer.exchanged(own, candidates[part, :EXCHANGED])
    return out


@dataclass(frozen=True, eq=False)
class _Scorer:
    """The objective for some rows, [B]."""

    objective: Objective
    rows: Rows
    exposure_slates: Slates | None

    def take(self, at: Ints) -> _Scorer:
        """Returns the objective for the named rows."""
        return replace(self, rows=self.rows.take(at))

    def values(self, slates: Codes) -> Floats:
        """Returns J of one slate a row, [B]."""
        return self.objective.values(self.rows, slates, self.exposure_slates)

    def greedy(self, candidates: Codes) -> Codes:
        """Builds slates [B, K] in which each place takes the candidate that adds most to J."""
        compiled, choices = self.objective.compiled, with_hole(candidates)
        partial_slates = compiled.partial_slates(self.rows, choices, self.objective.multipliers, self.exposure_slates)

        def worth(*_: object) -> Floats:
            return (
                partial_slates.expected_gains()
                + self.objective.strength * partial_slates.gains()
                + partial_slates.target_gains()
            )

        return build(partial_slates, choices, compiled.policy.slate, worth)

    def exchanged(self, slates: Codes, brought: Codes) -> Codes:
        """Returns the slates after the exchanges that raise J; `brought` [B, C] may be brought in."""
        out, best, left = slates.copy(), self.values(slates), np.arange(len(slates))
        for _ in range(PASSES):
            some, own, worth = self.take(left), out[left], best[left]
            some._replace_items(own, worth, brought[left])
            some._swap_places(own, worth)
            improved = worth > best[left] + TRIFLE
            out[left], best[left] = own, worth
            left = left[improved]  # no exchange helps the others
            if not len(left):
                break
        return out

    def _replace_items(self, slates: Codes, best: Floats, brought: Codes) -> None:
        """Gives each place in turn the candidate [B, C] that is worth most there, in place, if it is worth more."""
        b, c = brought.shape
        step = max(1, AT_ONCE // max(c, 1))
        for first in range(0, b, step):
            part = slice(first, min(first + step, b))
            each = self.take(np.repeat(np.arange(part.start, part.stop), c))
            for place in range(slates.shape[1]):
                each._replace_item(slates[part], best[part], brought[part], place)

    def _replace_item(self, slates: Codes, best: Floats, brought: Codes, place: int) -> None:
        """The same for one place; `rows` [B * C] has each row as often as it has candidates."""
        (b, c), every = brought.shape, np.arange(len(slates))
        tried = np.repeat(slates[:, None], c, 1)  # [B, C, K]
        tried[:, :, place] = brought
        new = (brought >= 0) & ~(slates[:, None] == brought[:, :, None]).any(2) & (slates[:, [place]] >= 0)
        values = self.values(tried.reshape(-1, slates.shape[1])).reshape(b, c)
        better = new & (values > best[:, None] + TRIFLE)
        row, at = np.nonzero(better)
        better[row, at] = keeps(self.objective.compiled, self.rows.take(row * c), slates[row], tried[row, at])
        values = np.where(better, values, -np.inf)
        at = values.argmax(1)
        adopted = values[every, at] > -np.inf
        slates[adopted], best[adopted] = tried[adopted, at[adopted]], values[adopted, at[adopted]]

    def _swap_places(self, slates: Codes, best: Floats) -> None:
        """Lets every two places change their items, in place, where that is worth more."""
        for one, other in combinations(range(slates.shape[1]), 2):
            tried = slates.copy()
            tried[:, [one, other]] = slates[:, [other, one]]
            values = self.values(tried)
            row = np.flatnonzero(values > best + TRIFLE)
            row = row[keeps(self.objective.compiled, self.rows.take(row), slates[row], tried[row])]
            slates[row], best[row] = tried[row], values[row]


def likeliest(rows: Rows, legal: Bools, count: int) -> Codes:
    """Returns each row's `count` likeliest legal items, best first; -1 where it has fewer.

    [B, count], or [B, items] where there are fewer items. The rows must have label probabilities.
    """
    assert rows.label_probabilities is not None, "candidates are drawn by expected labels"
    scores = np.where(legal, rows.label_probabilities.table[rows.label_probabilities.at], np.float32(-1.0))
    most = min(count, scores.shape[1])
    best = np.argpartition(-scores, most - 1, 1)[:, :most]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1, kind="stable"), 1)
    return np.where(np.take_along_axis(scores, best, 1) >= 0, rows.items_at(best), -1).astype(np.int32)
