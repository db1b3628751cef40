"""Computes what slates are worth in training: rules by their weights, targets by their multipliers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation.group_stats import FLOOR, group_centered, shares
from recpolicy.language.policy import Relevance, Reward, level

RUNNING_DECAY = 0.6
"""Decay of the running averages of targets over steps: the users of one step are few."""


@dataclass(frozen=True)
class Returns:
    """What each slate earns by each objective: rules in the policy's order, then targets, signs applied."""

    values: Floats  # [B, objectives]; NaN where it is not applicable to the row
    weights: Floats  # [B, objectives]; of targets the multipliers

    @property
    def shares(self) -> Floats:
        """Each weight over the sum of the row's, [B, objectives]; 0 where that is 0."""
        total = self.weights.sum(1, keepdims=True)
        return np.asarray(self.weights / np.where(total > 0, total, 1.0), np.float64)


@dataclass
class Objectives:
    """All that a run optimises. The multipliers, exposure slates and running values change during training."""

    compiled: CompiledPolicy
    group_std: Floats
    """Deviation of each rule and target within a group of slates, for the model that training starts from."""
    multipliers: dict[str, float] = field(default_factory=dict)
    exposure_slates: Slates | None = None
    """Slates of all users. Measures over all users take from them what one more showing of an item is worth."""
    running_values: dict[str, float] = field(default_factory=dict)
    """Value of each target that is a mean over users on the sampled slates, a running average over steps."""

    def returns(self, rows: Rows, slates: Slates, progress: float = 1.0) -> Returns:
        """Computes what the slates of `rows` earn now; `progress` is the share of training that is over, 0 to 1."""
        compiled = self.compiled
        marginals = compiled.target_marginals(rows, slates, self.exposure_slates) if compiled.targets else {}
        by_rule = compiled.values(rows, slates)
        columns = [rule.sign * by_rule[rule.name] for rule in compiled.rules]
        for target in compiled.targets:
            own = marginals.get(target.target.name)
            columns.append(np.zeros(len(rows)) if own is None else target.sign * own.sum(1))
        multipliers = [np.full(len(rows), self.multipliers.get(target.target.name, 0.0)) for target in compiled.targets]
        weights, values = (
            np.array(parts).reshape(len(columns), len(rows)).T
            for parts in ([*compiled.weights(rows, progress).T, *multipliers], columns)
        )
        return Returns(values, np.where(np.isnan(values), 0.0, weights))

    def worth(self, returns: Returns) -> Floats:
        """Computes the worth of each slate, worth_b = sum over o of (w_bo / sum w_b) v_bo / max(sigma_o, FLOOR), [B].

        v_bo is the value of objective o, w_bo its weight or multiplier, and sigma_o its `group_std`. Dividing each
        group's differences by their own deviation instead (GDPO) would let the objectives that are easy to move drown
        those whose groups rarely differ.
        """
        scaled = np.nan_to_num(returns.values) / np.maximum(self.group_std, FLOOR)
        return np.asarray((scaled * returns.shares).sum(1), np.float64)

    def update_running_values(self, returns: Returns) -> None:
        """Adds the targets' values on the slates of one more step to their running averages."""
        for target, column in zip(self.compiled.targets, returns.values[:, len(self.compiled.rules) :].T, strict=True):
            own, name = column * target.sign, target.target.name
            if name not in self.compiled.population_metrics and not np.isnan(own).all():
                value = float(np.nanmean(own))
                old = self.running_values.get(name, value)
                self.running_values[name] = RUNNING_DECAY * old + (1 - RUNNING_DECAY) * value

    def diagnostics(self, returns: Returns, generations: int) -> dict[str, float]:
        """Computes what the log of a step says about the objectives, by key.

        `effective/NAME`: the objective's share of the variance of the slates' advantage; the shares sum to 1.
        `silent/NAME`: the share of its groups whose slates all have one value. `frac_groups_zero_std`: the share of
        groups where this holds for every objective that has weight. Objectives without weight in any row are left out.
        """
        weights = returns.shares
        effective = shares(group_centered(returns.values, generations) / np.maximum(self.group_std, FLOOR) * weights)
        groups = np.nan_to_num(returns.values).reshape(-1, generations, len(self.names))
        constant = np.ptp(groups, axis=1) < 1e-9  # [groups, objectives]
        weighs = weights[::generations] > 0
        out = {"frac_groups_zero_std": float((constant | ~weighs).all(1).mean())}
        for i, name in enumerate(self.names):
            if weighs[:, i].any():
                out[f"silent/{name}"] = float(constant[weighs[:, i], i].mean())
                if not np.isnan(effective[i]):
                    out[f"effective/{name}"] = float(effective[i])
        return out

    @property
    def names(self) -> tuple[str, ...]:
        """Rules in the policy's order, then targets."""
        rules, targets = self.compiled.rules, self.compiled.targets
        return (*(rule.name for rule in rules), *(target.target.name for target in targets))

    def shadow_price(self, target: str) -> float | None:
        """Computes what one more unit of a target is worth in relevance, (lambda / sigma') / (w / sigma).

        Along the level lines of the advantage, (w / sigma) d relevance = (lambda / sigma') d target. Returns None for a
        policy without relevance.
        """
        of = dict(zip(self.names, np.maximum(self.group_std, FLOOR), strict=True))
        for rule in self.compiled.policy.rules:
            if isinstance(rule, Reward) and isinstance(rule.measure, Relevance):
                own = level(rule.weight.base) / of[rule.name]
                return float(self.multipliers.get(target, 0.0) / of[target] / own) if own > 0 else None
        return None
