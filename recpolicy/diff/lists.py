"""Compares the lists that two policies make for the same users of a data set, without any training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.data import split, training_view
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.evaluation import baselines, metrics
from recpolicy.evaluation.baselines import Ease, Factors
from recpolicy.evaluation.metrics import Interval
from recpolicy.language.policy import Policy
from recpolicy.search.rerank import weighted

CANDIDATES = 100
"""Items from which a list is made: EASE's best for the user, without those taken before or blocked."""

PENALTY = 200.0
"""The penalty of EASE, fixed: the best one of the baselines on MovieLens-100K."""

EXAMPLES = 3


@dataclass(frozen=True)
class Mean:
    """A number before and now, each a mean over users; NaN where it applies to no user."""

    old: float
    new: float


@dataclass(frozen=True)
class RuleMean:
    """A rule's mean value on the lists of both policies; of a quota also the share of lists that meet it.

    `version`: which policy says what the rule is, where they differ: "before" or "now", else "".
    """

    name: str
    version: str
    value: Mean
    met: Mean | None


@dataclass(frozen=True)
class Example:
    """A user whose list changed; item rows in order, without empty places."""

    user: str
    old: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """The differences between the lists of two policies for the same users."""

    users: int
    """Lists compared."""
    of: int
    """All test users, from whom the users were drawn."""
    changed: int
    reordered: int
    """Changed lists that hold the same items in another order."""
    exchanged: float
    """Items that others replace, a mean over changed lists."""
    moved: float
    """Places that an item in both lists moves, a mean over these items in changed lists; 0 where there are none."""
    rules: tuple[RuleMean, ...]
    ndcg: Mean
    ndcg_change: Interval
    novelty: Mean
    coverage: Mean
    examples: tuple[Example, ...]


def compare(old: Policy, new: Policy, dataset: Dataset, *, users: int, seed: int = 0) -> Comparison:
    """Compares the lists of both policies for a fixed sample of test users.

    A list is the greedy maximum of the policy's whole reward R, in which EASE's score replaces the rules that need
    labels: the score is scaled to [0, 1] over the user's candidates and earns the weights' share of these rules, 1/K at
    each place. Raises UsageError for data without test users.
    """
    parts = split(dataset)
    view = training_view(dataset, parts)
    rows = parts.test.sample(users, seed)
    _, singular, right = np.linalg.svd(baselines.taken(dataset, parts), full_matrices=False)
    ease = Ease(Factors(right.T, singular**2), PENALTY, None)
    scores = np.asarray(ease.scores(rows), np.float64)
    before, now = compile(old, view), compile(new, view)
    lists = [_lists(compiled, rows, scores) for compiled in (before, now)]
    change = _changes(*lists)
    measured = [
        metrics.measures(view, compiled.policy.slate).values(rows, slates)
        for compiled, slates in zip((before, now), lists, strict=True)
    ]
    ndcg, novelty = ([m[name] for m in measured] for name in ("ndcg", "novelty"))
    return Comparison(
        users=len(rows),
        of=len(parts.test),
        changed=int(change.changed.sum()),
        reordered=int((change.changed & (change.exchanged == 0)).sum()),
        exchanged=float(change.exchanged[change.changed].mean()) if change.changed.any() else 0.0,
        moved=change.moved,
        rules=_rules(before, now, rows, lists),
        ndcg=_mean(*ndcg),
        ndcg_change=metrics.paired(ndcg[1], ndcg[0], seed=seed),
        novelty=_mean(*novelty),
        coverage=Mean(*(metrics.coverage(slates, dataset.items.rows) for slates in lists)),
        examples=tuple(
            Example(dataset.user_ids[int(rows.user[b])], _shown(lists[0], b), _shown(lists[1], b))
            for b in np.flatnonzero(change.changed)[:EXAMPLES]
        ),
    )


def _lists(compiled: CompiledPolicy, rows: Rows, scores: Floats) -> Slates:
    """The policy's lists of each user's best candidates by `scores` [B, items]."""
    most = max(CANDIDATES, compiled.policy.slate)
    candidates = baselines.top(scores.astype(np.float32), rows, most, compiled.legal(rows)).items
    best = np.where(candidates >= 0, np.take_along_axis(scores, np.maximum(candidates, 0), 1), -np.inf)
    return weighted(candidates, best, rows, compiled)


@dataclass(frozen=True, eq=False)
class _Changes:
    changed: Bools  # [B]
    exchanged: Floats  # [B], items of the old list that the new one does not hold
    moved: float


def _changes(old: Slates, new: Slates) -> _Changes:
    same = (old.items[:, :, None] == new.items[:, None, :]) & (old.items >= 0)[:, :, None]  # [B, K, K']
    changed = np.ones(len(same), np.bool_)
    if old.items.shape == new.items.shape:
        changed = (old.items != new.items).any(1)
    b, was, now = np.nonzero(same)
    moves = np.abs(was - now)[changed[b]]
    exchanged = (old.items >= 0).sum(1) - same.sum((1, 2)).astype(np.float64)
    return _Changes(changed, exchanged, float(moves.mean()) if len(moves) else 0.0)


def _rules(old: CompiledPolicy, new: CompiledPolicy, rows: Rows, lists: list[Slates]) -> tuple[RuleMean, ...]:
    """Every rule of either policy, by the policy that defines it; one row for a rule that is the same in both."""
    before = {rule.name: rule for rule in old.policy.rules}
    now = {rule.name: rule for rule in new.policy.rules}
    unchanged = {name for name in before.keys() & now.keys() if _same(before[name], now[name])}
    if old.policy.slate != new.policy.slate or old.policy.blocks != new.policy.blocks:
        unchanged = set()
    means = []
    for compiled, version in ((new, "now"), (old, "before")):
        fitted = [_fitted(slates, compiled.policy.slate) for slates in lists]
        values = [compiled.values(rows, slates) for slates in fitted]
        met = [compiled.satisfied(rows, slates) for slates in fitted]
        for rule in compiled.rules:
            if rule.name in unchanged and version == "before":
                continue
            quota = Mean(*(float(m[rule.name].mean()) for m in met)) if rule.kind == "quota" else None
            label = "" if rule.name in unchanged else version
            means.append(RuleMean(rule.name, label, _mean(*(v[rule.name] for v in values)), quota))
    order = list(dict.fromkeys(rule.name for rule in means))
    return tuple(sorted(means, key=lambda rule: (order.index(rule.name), rule.version == "now")))


def _same(a: object, b: object) -> bool:
    """Whether two rules have the same demand; their weights and names do not matter."""
    ignored = {"weight", "name", "because", "span"}
    return type(a) is type(b) and all(getattr(b, k) == v for k, v in vars(a).items() if k not in ignored)


def _fitted(slates: Slates, k: int) -> Slates:
    """The slates cut to the first `k` places, or extended by empty ones."""
    out = np.full((len(slates.items), k), -1, np.int32)
    width = min(k, slates.items.shape[1])
    out[:, :width] = slates.items[:, :width]
    return Slates(out)


def _mean(old: Floats, new: Floats) -> Mean:
    return Mean(*(float(v[~np.isnan(v)].mean()) if (~np.isnan(v)).any() else float("nan") for v in (old, new)))


def _shown(slates: Slates, row: int) -> tuple[int, ...]:
    items: Codes = slates.items[row]
    return tuple(items[items >= 0].tolist())
