"""Measures what the rules of a compiled policy do in training, on lists sampled from a model.

It measures how much each rule really counts, what it costs in relevance, and what a list that ignores the user can get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy, CompiledRule
from recpolicy.compiler.partial_slates import divisor
from recpolicy.dataset.columns import Codes, Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation import metrics
from recpolicy.evaluation.group_stats import group_centered, group_std, lively, shares
from recpolicy.evaluation.metrics import Interval
from recpolicy.profile.loopholes import Search, label_free, served
from recpolicy.search.rerank import weighted

QUIET = 0.05
"""A rule whose value differs within fewer of the users' groups than this share has no signal."""
FULL = 0.99
"""From this value on a list has all that a rule can give, apart from rounding and the holes of a few users."""

Silence: TypeAlias = Literal["for nobody", "without data", "never", "always", "always the same", "same for each user"]
"""Why a rule has no signal."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """What a model does for B users: lists sampled from it, and its candidates. Also popular items."""

    rows: Rows  # [B]
    slates: Slates  # [B * generations, K], those of a user adjacent
    generations: int
    temperature: float
    candidates: Codes  # [B, C], likeliest items of the first place
    scores: Floats  # [B, C], their log-probabilities; -inf: none
    popular: Slates  # [B, K], the most popular items that each user may be shown

    @property
    def each(self) -> Rows:
        """The row of every list, [B * generations]."""
        return self.rows.take(np.repeat(np.arange(len(self.rows)), self.generations))


@dataclass(frozen=True)
class Price:
    """What a rule brings and costs: lists re-ranked with it, against lists re-ranked by the policy without it."""

    without: float
    value: float
    """Mean value of the rule on the lists without and with it; NaN where it applies to nobody."""
    cost: Interval
    """NDCG lost by it, a mean over users."""


@dataclass(frozen=True)
class RuleProfile:
    """One rule in training. Shares and values are in [0, 1], but `effective` may be negative."""

    name: str
    kind: str
    declared: float
    """Its share of a user's weights, a mean over users."""
    effective: float
    """Its share of the variance of R among one user's lists, by which training tells them apart; NaN without any."""
    deviation: float
    value: float
    """Mean over the sampled lists; NaN where it applies to nobody."""
    lively: float
    """Share of the users it applies to whose lists differ in its value."""
    silence: Silence | None
    """Why it has no signal; None for a rule that has one, and for a rule without a weight."""
    price: Price | None
    """None for a rule with labels, which is relevance itself, and for a rule that does not change these lists."""
    fixed: float | None
    """What one list for all users gets, made for this rule alone; for a bury what it avoids. None where `price` is."""
    popular: float | None
    """What each user's most popular items get; None without labels."""

    @property
    def given_away(self) -> bool:
        """Whether a list that ignores the user has all of it."""
        return self.fixed is not None and self.fixed >= FULL


@dataclass(frozen=True)
class FixedList:
    """The best list found that ignores the user, beside the model's own lists. Rewards are means over users.

    `reward`, `own` and `best` are R over the rules that need no label alone.
    """

    items: tuple[int, ...]
    """Item rows, from the top."""
    reward: float
    own: float
    """Of the lists sampled from the model."""
    best: float
    """Of lists for each user alone: the better of this one and one made greedily."""
    ndcg: float
    own_ndcg: float
    advantage: float
    """Its advantage in training over the user's own lists, with all rules at their declared weights."""
    full: tuple[str, ...]
    """Rules it has all of."""

    @property
    def verdict(self) -> Literal["none", "closed", "open"]:
        """A loophole where it earns at least what the model's own lists do without a label.

        It is closed where the rules with labels outweigh that, so that training would not go there.
        """
        if self.reward < self.own:
            return "none"
        return "open" if self.advantage >= 0 else "closed"


@dataclass(frozen=True)
class Profile:
    """What a policy does in training, on `users` users with `generations` lists each, sampled at `temperature`."""

    users: int
    generations: int
    temperature: float
    rules: tuple[RuleProfile, ...]
    fixed: FixedList | None
    """None for a policy without a rule that needs no label and weighs something."""

    @property
    def dead(self) -> tuple[RuleProfile, ...]:
        """Rules with a weight and without a signal."""
        return tuple(rule for rule in self.rules if rule.silence is not None)

    @property
    def clean(self) -> bool:
        """Whether there is neither a dead rule nor an open loophole."""
        return not self.dead and (self.fixed is None or self.fixed.verdict != "open")


def profile(compiled: CompiledPolicy, rollouts: Rollouts, *, seed: int) -> Profile:
    """Measures a policy on what a model does for users whose next items are known; `seed` draws."""
    rows, generations = rollouts.rows, rollouts.generations
    values = _values(compiled, rollouts.each, rollouts.slates)  # [B * generations, rules]
    weights = compiled.weights(rows)
    signed = weights * [rule.sign for rule in compiled.rules] / divisor(weights)[:, None]  # [B, rules]
    deviation = group_std(values, generations)
    effective = shares(group_centered(values, generations) * np.repeat(signed, generations, 0))
    liveliness = lively(values, generations)
    search = Search.of(compiled, rows, rollouts.slates.items, seed=seed)
    familiar = _values(compiled, rows, rollouts.popular)
    price = prices(compiled, rows, rollouts.candidates, rollouts.scores, seed=seed)
    silent = silences(compiled, rollouts, values)
    rules = tuple(
        RuleProfile(
            name=rule.name,
            kind=rule.kind,
            declared=float(np.abs(signed[:, i]).mean()),
            effective=float(effective[i]),
            deviation=float(deviation[i]),
            value=metrics.mean(values[:, i]),
            lively=float(liveliness[i]),
            silence=silent.get(rule.name),
            price=price.get(rule.name),
            fixed=_fixed_for(compiled, search, rule) if rule.name in price else None,
            popular=metrics.mean(familiar[:, i]) if rule.needs_labels else None,
        )
        for i, rule in enumerate(compiled.rules)
    )
    fixed = _fixed(compiled, rollouts, search, values, signed)
    return Profile(len(rows), generations, rollouts.temperature, rules, fixed)


# ---- how much each rule counts --------------------------------------------------------------------------------------


def silences(compiled: CompiledPolicy, rollouts: Rollouts, values: Floats) -> dict[str, Silence]:
    """Finds the rules with a weight that have no signal, and why; `values` [B * generations, rules]."""
    liveliness = lively(values, rollouts.generations)
    abstained = compiled.abstained(rollouts.each, rollouts.slates)
    reasons: dict[str, Silence] = {}
    for i, rule in enumerate(compiled.rules):
        if liveliness[i] < QUIET and rule.weight.highest > 0:
            known = ~np.isnan(values[:, i])
            reasons[rule.name] = _silence(values[known, i], abstained[rule.name][known] / compiled.policy.slate)
    return reasons


def _silence(values: Floats, abstained: Floats) -> Silence:
    """`values` of the lists a rule applies to, and the share of their places that have no value for it."""
    if not len(values):
        return "for nobody"
    if abstained.mean() >= 1 - QUIET:
        return "without data"
    if np.mean(values < 1e-9) >= 1 - QUIET:
        return "never"
    if np.mean(values > 1 - 1e-9) >= 1 - QUIET:
        return "always"
    same = np.abs(values - np.median(values)) < 1e-9
    return "always the same" if same.mean() >= 1 - QUIET else "same for each user"


# ---- what each rule costs -------------------------------------------------------------------------------------------


def prices(compiled: CompiledPolicy, rows: Rows, candidates: Codes, scores: Floats, *, seed: int) -> dict[str, Price]:
    """Measures what each rule without labels brings and costs, on lists re-ranked from candidates [B, C].

    Left out are rules that change no list, having neither a weight nor a hard quota, and rules that apply to nobody.
    The other rules keep the strength they have beside `scores` when a rule is taken away. NDCG is on the next items.
    """
    slates = weighted(candidates, scores, rows, compiled)
    values, ndcg = compiled.values(rows, slates), metrics.accuracy("ndcg", rows, slates)
    hard = [rule for rule, _ in compiled.hard_quotas]
    out = {}
    for rule in compiled.rules:
        if (
            (rule.weight.highest > 0 or rule in hard)
            and not rule.needs_labels
            and not np.isnan(values[rule.name]).all()
        ):
            rest = replace(compiled, rules=tuple(other for other in compiled.rules if other is not rule))
            others = weighted(candidates, scores, rows, rest)
            cost = metrics.paired(metrics.accuracy("ndcg", rows, others), ndcg, seed=seed)
            without = compiled.values(rows, others)[rule.name]
            out[rule.name] = Price(metrics.mean(without), metrics.mean(values[rule.name]), cost)
    return out


# ---- lists that ignore the user -------------------------------------------------------------------------------------


def _fixed(
    compiled: CompiledPolicy, rollouts: Rollouts, search: Search, values: Floats, weights: Floats
) -> FixedList | None:
    """The search's list beside the model's, which have `values` [B * generations, rules]; `weights` [B, rules]."""
    free, rows = label_free(compiled), rollouts.rows
    if not free.weights(rows).any():
        return None
    items = search.fixed(compiled)
    slates = served(compiled, rows, items)
    reward, got = free.total(rows, slates), _values(compiled, rows, slates)
    usual = values.reshape(len(rows), -1, values.shape[1]).mean(1)
    return FixedList(
        items=tuple(items[items >= 0].tolist()),
        reward=float(reward.mean()),
        own=float(free.total(rollouts.each, rollouts.slates).mean()),
        best=float(np.maximum(reward, free.total(rows, search.own(compiled))).mean()),
        ndcg=metrics.mean(metrics.accuracy("ndcg", rows, slates)),
        own_ndcg=metrics.mean(metrics.accuracy("ndcg", rollouts.each, rollouts.slates)),
        advantage=float((np.nan_to_num(got - usual) * weights).sum(1).mean()),
        full=tuple(
            rule.name
            for i, rule in enumerate(compiled.rules)
            if not rule.needs_labels and rule.weight.highest > 0 and _gained(rule, got[:, i]) >= FULL
        ),
    )


def _fixed_for(compiled: CompiledPolicy, search: Search, rule: CompiledRule) -> float:
    alone = replace(compiled, rules=(rule,))
    slates = served(compiled, search.rows, search.grown(alone))
    return _gained(rule, alone.values(search.rows, slates)[rule.name])


def _gained(rule: CompiledRule, values: Floats) -> float:
    """The mean value, for a bury 1 less it."""
    return 1.0 - metrics.mean(values) if rule.kind == "bury" else metrics.mean(values)


def _values(compiled: CompiledPolicy, rows: Rows, slates: Slates) -> Floats:
    """[B, rules]; NaN where not applicable."""
    values = [*compiled.values(rows, slates).values()]
    return np.array(values, np.float64).reshape(len(values), len(rows)).T
