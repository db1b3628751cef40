"""Builds slates of the largest expected reward from candidates: greedily, then by exchanges until none helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.growth import divisor
from recpolicy.compiler.pool import Pool
from recpolicy.compiler.quotas import Demand
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates

BATCH = 256
"""Rows whose slates are built at once."""
CROWD = 64
"""The same where a target on all users together pulls: what these are shown counts for the next."""
PASSES = 3
"""How often every exchange is tried, at most."""
CANDIDATES = 300
"""Likeliest items of a row that its slate is chosen from: what a policy wants may be far from the likeliest."""
EXCHANGED = 100
"""Of these, likeliest first, that an exchange may bring in."""
AT_ONCE = 2048
"""Slates whose J is computed at once."""
TRIFLE = 1e-9


@dataclass(frozen=True)
class Objective:
    """Expected R with the rules that need no label `strength` times as strong, and each target's pull added.

    J = sum over labelled rules of w E[value] + strength sum over the other rules of w value, over the sum of w, plus
    the targets' multipliers times what their metrics have of the slate. At strength 1 without targets J is expected R.
    """

    compiled: CompiledPolicy
    strength: float = 1.0
    multipliers: Mapping[str, float] = field(default_factory=dict)

    def values(self, rows: Rows, slates: Codes, exposure_slates: Slates | None = None) -> Floats:
        """J of whole slates, [B]; rows have chances. `shown`: the slates of everybody, for targets on all of them."""
        compiled, made = self.compiled, Slates(slates)
        weights = compiled.weights(rows)
        labelled = np.array([rule.needs_labels for rule in compiled.rules], np.bool_)
        factors = np.where(labelled, 1.0, self.strength) * [rule.sign for rule in compiled.rules]
        out = np.zeros(len(rows))
        for rule, share in zip(compiled.values(rows, made).values(), (weights * factors).T, strict=True):
            out += np.where(share == 0.0, 0.0, np.nan_to_num(rule) * share)
        out /= divisor(weights)
        if pulls := {name: pull for name, pull in self.multipliers.items() if pull}:
            signs = {t.target.name: t.sign for t in compiled.targets}
            for name, marginals in compiled.target_marginals(rows, made, exposure_slates).items():
                out += pulls.get(name, 0.0) * signs[name] * np.nan_to_num(marginals).sum(1)
        return out


def slates(
    rows: Rows,
    legal: Bools,
    objective: Objective,
    *,
    start: Slates | None = None,
    exposure_slates: Slates | None = None,
) -> Slates:
    """Slates of large J for rows with chances, from the CANDIDATES likeliest of the `legal` items [B, items].

    Greedy by J at each place, as maximal marginal relevance is (Carbonell and Goldstein, SIGIR 1998); then a candidate
    takes a place, or two places change their items, as long as J grows: rules on the whole list do not care for order
    while relevance does, which no greedy choice sees. Where slates to `start` from are given, those that are worth more
    take the place of the greedy ones. Blocks and hard quotas are kept. A target on all users together looks at the
    slates everybody is `shown`, or else at those of the rows before, a few rows at a time, as a service would: users
    who are served at once and see the same exposure would all move to the same few items.
    """
    compiled = objective.compiled
    candidates = likeliest(rows, legal, CANDIDATES)
    out = Slates(np.full((len(rows), compiled.policy.slate), -1, np.int32))
    crowded = exposure_slates is None and any(objective.multipliers.get(name) for name in compiled.population_metrics)
    step = CROWD if crowded else BATCH
    for first in range(0, len(rows), step):
        at = np.arange(first, min(first + step, len(rows)))
        some, own, seen = rows.take(at), candidates[at], out if crowded else exposure_slates
        made = _greedy(own, some, objective, seen)
        if start is not None:
            given = start.items[at]
            better = objective.values(some, given, seen) > objective.values(some, made, seen) + TRIFLE
            better &= _keeps(compiled, some, np.arange(len(at)), made, given)
            made[better] = given[better]
        out.items[at] = _exchanged(made, own, some, objective, seen)
    return out


def _greedy(candidates: Codes, rows: Rows, objective: Objective, exposure_slates: Slates | None) -> Codes:
    b, c = candidates.shape
    pool = np.concatenate([candidates, np.full((b, 1), -1, np.int32)], 1)  # the last is taken where nothing is open
    growth = objective.compiled.growth(rows, pool, objective.multipliers, exposure_slates)
    made = np.full((b, objective.compiled.policy.slate), -1, np.int32)
    for rank in range(made.shape[1]):
        worth = growth.expected() + objective.strength * growth.gains() + growth.pulls()
        open_ = growth.open
        at = np.where(open_.any(1), np.where(open_, worth, -np.inf).argmax(1), c)
        made[:, rank] = pool[np.arange(b), at]
        growth.take(at)
    return made


def _exchanged(
    made: Codes, candidates: Codes, rows: Rows, objective: Objective, exposure_slates: Slates | None
) -> Codes:
    """Slates [B, K] after exchanges."""
    made = made.copy()
    best = objective.values(rows, made, exposure_slates)
    left = np.arange(len(made))
    for _ in range(PASSES):
        some, own, worth = rows.take(left), made[left], best[left]
        _replace_items(own, worth, candidates[left, :EXCHANGED], some, objective, exposure_slates)
        _swap_places(own, worth, some, objective, exposure_slates)
        improved = worth > best[left] + TRIFLE
        made[left], best[left] = own, worth
        left = left[improved]  # no exchange helps the others
        if not len(left):
            break
    return made


def _replace_items(
    made: Codes, best: Floats, brought: Codes, rows: Rows, objective: Objective, exposure_slates: Slates | None
) -> None:
    """Give each place in turn the candidate [B, C] that is worth most there, in place, if it is worth more."""
    b, c = brought.shape
    step = max(1, AT_ONCE // max(c, 1))
    for first in range(0, b, step):
        at = np.arange(first, min(first + step, b))
        part, some = slice(first, first + step), rows.take(np.repeat(at, c))
        for place in range(made.shape[1]):
            _replace_item(made[part], best[part], brought[part], place, some, objective, exposure_slates)


def _replace_item(
    made: Codes,
    best: Floats,
    brought: Codes,
    place: int,
    rows: Rows,
    objective: Objective,
    exposure_slates: Slates | None,
) -> None:
    """The same for one place; `rows` [B * C] has each row as often as it has candidates."""
    (b, c), every = brought.shape, np.arange(len(made))
    tried = np.repeat(made[:, None], c, 1)  # [B, C, K]
    tried[:, :, place] = brought
    new = (brought >= 0) & ~(made[:, None] == brought[:, :, None]).any(2) & (made[:, [place]] >= 0)
    values = objective.values(rows, tried.reshape(-1, made.shape[1]), exposure_slates).reshape(b, c)
    better = new & (values > best[:, None] + TRIFLE)
    row, at = np.nonzero(better)
    better[row, at] = _keeps(objective.compiled, rows, row * c, made[row], tried[row, at])
    values = np.where(better, values, -np.inf)
    at = values.argmax(1)
    adopted = values[every, at] > -np.inf
    made[adopted], best[adopted] = tried[adopted, at[adopted]], values[adopted, at[adopted]]


def _swap_places(made: Codes, best: Floats, rows: Rows, objective: Objective, exposure_slates: Slates | None) -> None:
    """Let every two places change their items, in place, where that is worth more."""
    for one, other in combinations(range(made.shape[1]), 2):
        tried = made.copy()
        tried[:, [one, other]] = made[:, [other, one]]
        values = objective.values(rows, tried, exposure_slates)
        row = np.flatnonzero(values > best + TRIFLE)
        row = row[_keeps(objective.compiled, rows, row, made[row], tried[row])]
        made[row], best[row] = tried[row], values[row]


def _keeps(compiled: CompiledPolicy, rows: Rows, at: Ints, before: Codes, after: Codes) -> Bools:
    """Slates of the rows `at` that keep every block and bound of a hard quota after a change that they did before, [N].

    What they did not keep, such as an at-least with too few items, they come no less near to.
    """
    out = np.ones(len(at), np.bool_)
    if not compiled.blocks and not any(isinstance(rule.plan, Demand) and rule.plan.hard for rule in compiled.rules):
        return out
    rows = rows.take(at)
    if compiled.blocks:
        out &= ~compiled.blocked(rows, Slates(after)) | compiled.blocked(rows, Slates(before))
    then, now = (Pool(compiled.catalog, rows, np.asfortranarray(slates)) for slates in (before, after))
    for rule in compiled.rules:
        if isinstance(rule.plan, Demand) and rule.plan.hard:
            sides = (replace(rule.plan, at_most=None), replace(rule.plan, at_least=None))
            for side in (side for side in sides if side.at_least is not None or side.at_most is not None):
                nearer = side.marginals(now).sum(1) >= side.marginals(then).sum(1) - TRIFLE
                out &= side.met(now) | (~side.met(then) & nearer) | ~rule.applicable(then)
    return out


def likeliest(rows: Rows, legal: Bools, count: int) -> Codes:
    """Each row's `count` likeliest legal items, best first; -1 where it has fewer. [B, count], or all there are."""
    assert rows.chances is not None, "candidates are drawn by expected labels"
    scores = np.where(legal, rows.chances.table[rows.chances.at], np.float32(-1.0))
    most = min(count, scores.shape[1])
    best = np.argpartition(-scores, most - 1, 1)[:, :most]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1, kind="stable"), 1)
    return np.where(np.take_along_axis(scores, best, 1) >= 0, best, -1).astype(np.int32)
