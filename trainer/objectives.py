"""Slates of a batch in, the advantage of every place out: rules by their weights, targets by their multipliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Rows, Slates
from recpolicy.policy import Relevance, Reward, level
from recpolicy.profile import FLOOR, centred, shares
from recpolicy.rewards import Verdict
from recpolicy.table import Floats


@dataclass(frozen=True)
class Returns:
    """What each objective's places earned: rules in the policy's order, then targets, signs applied."""

    marginals: Floats  # [objectives, B, K]; NaN where it is not applicable to the row
    weights: Floats  # [objectives, B]; of targets the multipliers

    @property
    def values(self) -> Floats:
        """Of whole slates, [B, objectives]."""
        return np.asarray(self.marginals.sum(2).T)


def returns(
    compiled: CompiledPolicy,
    rows: Rows,
    verdict: Verdict,
    multipliers: Mapping[str, float],
    shown: Slates | None,
) -> Returns:
    """What the slates of `verdict`, made for `rows`, earn.

    `shown` are the slates of everybody, from which measures over all users take the worth of a further showing.
    """
    b, k = verdict.slates.shape
    targets = compiled.target_marginals(rows, verdict.valid, shown) if compiled.targets else {}
    signs = {target.target.name: 1.0 if target.target.op == ">=" else -1.0 for target in compiled.targets}
    marginals = [rule.sign * verdict.marginals[rule.name] for rule in compiled.rules]
    marginals += [sign * targets[name] if name in targets else np.zeros((b, k)) for name, sign in signs.items()]
    weights = [*verdict.weights.T, *(np.full(b, multipliers.get(name, 0.0)) for name in signs)]
    found = np.array(marginals).reshape(len(marginals), b, k)
    weighed = np.where(np.isnan(found).any(2), 0.0, np.array(weights).reshape(len(weights), b))
    return Returns(found, weighed)


@dataclass
class Objectives:
    """The weights of everything a run optimises. `multipliers` and `shown` are moved on as training goes on."""

    compiled: CompiledPolicy
    deviations: Floats
    """Of each rule and target, as `deviations` has them on slates of the model that training starts from."""
    by_rank: bool = True
    """Whether each place is credited with itself and what follows, or with the whole slate."""
    multipliers: dict[str, float] = field(default_factory=dict)
    shown: Slates | None = None

    def returns(self, rows: Rows, verdict: Verdict) -> Returns:
        """What slates earn now."""
        return returns(self.compiled, rows, verdict, self.multipliers, self.shown)

    def advantages(self, found: Returns, copies: int) -> Floats:
        """What the choice at each place was worth beside the other slates of its row, [B, K].

        For each objective: what the place and those after it earned, less the group's mean of the same, in the
        objective's deviations (at least FLOOR). Over objectives: the mean by weight. `copies` slates of a row are
        adjacent. Dividing each group by its own deviation instead (GDPO) would let the objectives that are easy to
        move drown those whose groups rarely differ.
        """
        to_go = np.nan_to_num(found.marginals)[:, :, ::-1].cumsum(2)[:, :, ::-1]  # [objectives, B, K]
        if not self.by_rank:
            to_go = np.broadcast_to(to_go[:, :, :1], to_go.shape)
        groups = to_go.reshape(len(to_go), -1, copies, to_go.shape[2])
        centred = (groups - groups.mean(2, keepdims=True)).reshape(to_go.shape)
        scaled = centred / np.maximum(self.deviations, FLOOR)[:, None, None]
        total = found.weights.sum(0)
        shares = found.weights / np.where(total > 0, total, 1.0)
        return np.asarray((scaled * shares[:, :, None]).sum(0))

    def report(self, found: Returns, copies: int) -> dict[str, float]:
        """What a batch tells of the objectives, by key of a step's log.

        `effective/NAME`: its share of the variance of the slates' advantage, which adds up to 1. `silent/NAME`: share
        of its groups whose slates all have one value. `silent_prompts`: share of groups where that is so of every
        objective that has weight. An objective that nobody has weight for is left out.
        """
        total = found.weights.sum(0)
        weights = (found.weights / np.where(total > 0, total, 1.0)).T  # [B, objectives]
        effective = shares(centred(found.values, copies) / np.maximum(self.deviations, FLOOR) * weights)
        groups = np.nan_to_num(found.values).reshape(-1, copies, len(self.names))
        alike = np.ptp(groups, axis=1) < 1e-9  # [groups, objectives]
        weighs = weights[::copies] > 0
        out = {"silent_prompts": float((alike | ~weighs).all(1).mean())}
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

    def price(self, target: str) -> float | None:
        """What one more of a target's measure is worth in relevance where the two now balance; None without relevance.

        Along the advantage's level lines, (w / s) d relevance = (lambda / s') d target.
        """
        of = dict(zip(self.names, np.maximum(self.deviations, FLOOR), strict=True))
        for rule in self.compiled.policy.rules:
            if isinstance(rule, Reward) and isinstance(rule.measure, Relevance):
                own = level(rule.weight.base) / of[rule.name]
                return float(self.multipliers.get(target, 0.0) / of[target] / own) if own > 0 else None
        return None
