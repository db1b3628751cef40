"""Slates in, what they are worth in training out: rules by their weights, targets by their multipliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation.group_stats import FLOOR, group_centered, shares
from recpolicy.language.policy import Relevance, Reward, level

LATELY = 0.6
"""Decay of the running average of targets over steps: the users of one step are few."""


@dataclass(frozen=True)
class Returns:
    """What each slate earned by each objective: rules in the policy's order, then targets, signs applied."""

    values: Floats  # [B, objectives]; NaN where it is not applicable to the row
    weights: Floats  # [B, objectives]; of targets the multipliers

    @property
    def shares(self) -> Floats:
        """Each weight over the sum of the row's, [B, objectives]; 0 where that is 0."""
        total = self.weights.sum(1, keepdims=True)
        return np.asarray(self.weights / np.where(total > 0, total, 1.0), np.float64)


def returns(
    compiled: CompiledPolicy,
    rows: Rows,
    slates: Slates,
    multipliers: Mapping[str, float],
    exposure_slates: Slates | None,
    progress: float,
) -> Returns:
    """What slates made for `rows` earn when so much of training is done (`progress`, 0 to 1).

    `shown` are the slates of everybody, from which measures over all users take the worth of a further showing.
    """
    targets = compiled.target_marginals(rows, slates, exposure_slates) if compiled.targets else {}
    found = compiled.values(rows, slates)
    values = [rule.sign * found[rule.name] for rule in compiled.rules]
    for target in compiled.targets:
        own = targets.get(target.target.name)
        values.append(np.zeros(len(rows)) if own is None else target.sign * own.sum(1))
    pulls = [np.full(len(rows), multipliers.get(target.target.name, 0.0)) for target in compiled.targets]
    weights = np.array([*compiled.weights(rows, progress).T, *pulls]).reshape(len(values), len(rows)).T
    earned = np.array(values).reshape(len(values), len(rows)).T
    return Returns(earned, np.where(np.isnan(earned), 0.0, weights))


@dataclass
class Objectives:
    """The weights of everything a run optimises. `multipliers` and `shown` are moved on as training goes on."""

    compiled: CompiledPolicy
    group_std: Floats
    """Of each rule and target, as `deviations` has them on slates of the model that training starts from."""
    multipliers: dict[str, float] = field(default_factory=dict)
    exposure_slates: Slates | None = None
    lately: dict[str, float] = field(default_factory=dict)
    """What each target that is a mean over users has of the slates sampled, a running average over steps."""

    def returns(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Returns:
        """What slates earn now."""
        return returns(self.compiled, rows, slates, self.multipliers, self.exposure_slates, progress)

    def worth(self, found: Returns) -> Floats:
        """What each slate is worth, [B]: the mean over objectives, by weight, in their deviations (at least FLOOR).

        Dividing each group's differences by their own deviation instead (GDPO) would let the objectives that are easy
        to move drown those whose groups rarely differ.
        """
        scaled = np.nan_to_num(found.values) / np.maximum(self.group_std, FLOOR)
        return np.asarray((scaled * found.shares).sum(1), np.float64)

    def notice(self, found: Returns) -> None:
        """Average on what the targets have of the slates of one more step."""
        first = len(self.compiled.rules)
        for at, target in enumerate(self.compiled.targets, start=first):
            own, name = found.values[:, at] * target.sign, target.target.name
            if name not in self.compiled.population_metrics and not np.isnan(own).all():
                value = float(np.nanmean(own))
                self.lately[name] = LATELY * self.lately.get(name, value) + (1 - LATELY) * value

    def report(self, found: Returns, generations: int) -> dict[str, float]:
        """What a batch tells of the objectives, by key of a step's log.

        `effective/NAME`: its share of the variance of the slates' advantage, which adds up to 1. `silent/NAME`: share
        of its groups whose slates all have one value. `frac_groups_zero_std`: share of groups where that is so of every
        objective that has weight. An objective that nobody has weight for is left out.
        """
        weights = found.shares
        effective = shares(group_centered(found.values, generations) / np.maximum(self.group_std, FLOOR) * weights)
        groups = np.nan_to_num(found.values).reshape(-1, generations, len(self.names))
        alike = np.ptp(groups, axis=1) < 1e-9  # [groups, objectives]
        weighs = weights[::generations] > 0
        out = {"frac_groups_zero_std": float((alike | ~weighs).all(1).mean())}
        for i, name in enumerate(self.names):
            if weighs[:, i].any():
                out[f"silent/{name}"] = float(alike[weighs[:, i], i].mean())
                if not np.isnan(effective[i]):
                    out[f"effective/{name}"] = float(effective[i])
        return out

    @property
    def names(self) -> tuple[str, ...]:
        """Rules in the policy's order, then targets."""
        return (
            *(rule.name for rule in self.compiled.rules),
            *(target.target.name for target in self.compiled.targets),
        )

    def shadow_price(self, target: str) -> float | None:
        """What one more of a target's measure is worth in relevance where the two now balance; None without relevance.

        Along the advantage's level lines, (w / s) d relevance = (lambda / s') d target.
        """
        of = dict(zip(self.names, np.maximum(self.group_std, FLOOR), strict=True))
        for rule in self.compiled.policy.rules:
            if isinstance(rule, Reward) and isinstance(rule.measure, Relevance):
                own = level(rule.weight.base) / of[rule.name]
                return float(self.multipliers.get(target, 0.0) / of[target] / own) if own > 0 else None
        return None
