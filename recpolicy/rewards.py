"""Computes the rewards of slates under a compiled policy, also as reward functions in the form that TRL calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Codes, Floats, Ints
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.dataset.slates import parse, without_seen

Completion: TypeAlias = str | Sequence[dict[str, str]]
"""Text, or a conversation whose last message is the model's."""


class State(Protocol):
    """The part of TRL's `trainer_state` that is read."""

    global_step: int
    max_steps: int


def progress_of(state: State) -> float:
    """Returns the share of training that is done, 0 to 1."""
    return min(1.0, state.global_step / max(state.max_steps, 1))


@dataclass(frozen=True, eq=False)
class BatchRewards:
    """The rewards of a batch of B slates of K places."""

    row: Ints  # [B]
    values: Floats
    """[B, rules], rule values in [0, 1]; NaN where a rule does not apply."""
    parts: Floats
    """[B, rules], each rule's part of the reward R, to which they sum; negative for a bury."""
    marginals: Mapping[str, Floats]
    """Per rule [B, K]: what each place adds to its value; NaN where it does not apply."""
    weights: Floats
    """[B, rules], the weights at this point of training (ramps)."""
    valid: Slates
    """The slates as they count: an item that the user has seen leaves a hole."""
    progress: float


class RewardComputer:
    """Computes rewards of slates for training rows, which a batch names by number. Picklable."""

    def __init__(self, compiled: CompiledPolicy, rows: Rows, items: int) -> None:
        self.compiled, self.rows, self.items = compiled, rows, items

    def of_texts(self, completions: Sequence[Completion], row: Sequence[int], progress: float = 1.0) -> BatchRewards:
        """Returns the rewards of the slates that completions hold; `row` numbers each one's training row."""
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        return self.of_slates(parse(texts, k=self.compiled.policy.slate, items=self.items), row, progress)

    def of_slates(self, slates: Codes, row: Sequence[int], progress: float = 1.0) -> BatchRewards:
        """Returns the rewards of slates [B, K] of item rows, when a share `progress` (0 to 1) of training is done.

        With w the weights of a slate's row and s the sign of a rule (-1 for a bury, else 1), its part of R is
        s w value / sum of w.
        """
        at, rules = np.asarray(row, np.int64), self.compiled.rules
        rows = self.rows.take(at)
        valid = without_seen(slates, rows, self.items)
        marginals = self.compiled.marginals(rows, valid)
        weights = self.compiled.weights(rows, progress)
        values = np.array([marginals[rule.name].sum(1) for rule in rules]).reshape(len(rules), len(at)).T
        total = weights.sum(1, keepdims=True)
        signed = weights * np.array([rule.sign for rule in rules])
        parts = np.where(np.isnan(values), np.nan, signed * values / np.where(total > 0, total, 1.0))
        return BatchRewards(at, values, parts, marginals, weights, valid, progress)


class _Shared:
    """The rewards of the batch in hand, computed once for all rules: TRL calls one function after the other."""

    def __init__(self, computer: RewardComputer) -> None:
        self.computer = computer
        self._last: tuple[Sequence[Completion], list[int], BatchRewards] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"computer": self.computer, "_last": None}

    def rewards(self, completions: Sequence[Completion], row: Sequence[int], progress: float) -> BatchRewards:
        """Returns the rewards of a batch; computes them where the batch is not the last one."""
        last, rows = self._last, list(row)
        if last is None or last[0] is not completions or last[1] != rows or last[2].progress != progress:
            last = self._last = completions, rows, self.computer.of_texts(completions, rows, progress)
        return last[2]


class RuleReward:
    """One rule as a reward function: its part of R for each completion, None where it does not apply."""

    def __init__(self, shared: _Shared, index: int) -> None:
        self._shared, self._index = shared, index
        self.__name__ = shared.computer.compiled.rules[index].name

    def __call__(
        self,
        *,
        completions: Sequence[Completion],
        row: Sequence[int],
        trainer_state: State | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float | None]:
        """Scores a batch; `row` numbers each completion's training row, `trainer_state` says where ramps stand."""
        progress = 1.0 if trainer_state is None else progress_of(trainer_state)
        rewards = self._shared.rewards(completions, row, progress)
        values = rewards.values[:, self._index]
        if log_metric is not None:
            for value in values[~np.isnan(values)].tolist():  # one by one, so that processes share one mean
                log_metric(f"rules/{self.__name__}", value)
        return [None if np.isnan(v) else float(v) for v in rewards.parts[:, self._index]]


def reward_functions(computer: RewardComputer) -> list[RuleReward]:
    """Returns one reward function per rule of the policy, in its order; they share the work on a batch."""
    shared = _Shared(computer)
    return [RuleReward(shared, i) for i in range(len(computer.compiled.rules))]
