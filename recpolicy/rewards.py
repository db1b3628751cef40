"""A compiled policy and rows in, one reward function per rule out, in the form TRL's GRPOTrainer calls."""

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
    """What of TRL's `trainer_state` is read."""

    global_step: int
    max_steps: int


def done(state: State) -> float:
    """Share of training that is done, 0 to 1."""
    return min(1.0, state.global_step / max(state.max_steps, 1))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a policy makes of a batch of slates."""

    slates: Codes  # [B, K], as they were read
    row: Ints  # [B]
    values: Floats
    """[B, rules], raw rule values in [0, 1]; NaN: not applicable."""
    parts: Floats
    """[B, rules], their parts of the whole reward R of the language page, to which they sum; a bury's is negative."""
    marginals: Mapping[str, Floats]
    """Per rule [B, K]: what each place adds to its value; NaN: not applicable."""
    weights: Floats
    """[B, rules], as they were when so much of training was done."""
    valid: Slates
    """The slates as they count: an item already seen is a hole."""
    progress: float


class Judge:
    """Scores completions under a policy. Picklable; a batch is read and its rules are evaluated once for all who ask.

    `rows` are the training rows; a batch names its rows by number, so that each completion is scored against its own
    user whatever its prompt says.
    """

    def __init__(self, compiled: CompiledPolicy, rows: Rows, items: int) -> None:
        self.compiled, self.rows, self.items = compiled, rows, items
        self._read: tuple[Sequence[Completion], Codes] | None = None
        self._last: Verdict | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_read": None, "_last": None}

    def judge(self, completions: Sequence[Completion], row: Sequence[int], progress: float = 1.0) -> Verdict:
        """The verdict on completions; `row` numbers each one's training row."""
        if self._read is None or self._read[0] is not completions:
            texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
            self._read = completions, parse(texts, k=self.compiled.policy.slate, items=self.items)
        return self.verdict(self._read[1], row, progress)

    def verdict(self, slates: Codes, row: Sequence[int], progress: float = 1.0) -> Verdict:
        """The verdict on slates, item rows [B, K] as they were read, when `progress` (0 to 1) of training is done."""
        at, last = np.asarray(row, np.int64), self._last
        if (
            last is not None
            and last.progress == progress
            and np.array_equal(last.row, at)
            and np.array_equal(last.slates, slates)
        ):
            return last
        rows, rules = self.rows.take(at), self.compiled.rules
        valid = without_seen(slates, rows, self.items)
        marginals = self.compiled.marginals(rows, valid)
        weights = self.compiled.weights(rows, progress)
        values = np.array([marginals[rule.name].sum(1) for rule in rules]).reshape(len(rules), len(at)).T
        total = weights.sum(1, keepdims=True)
        signed = weights * np.array([rule.sign for rule in rules])
        parts = np.where(np.isnan(values), np.nan, signed * values / np.where(total > 0, total, 1.0))
        self._last = Verdict(slates.copy(), at, values, parts, marginals, weights, valid, progress)
        return self._last


class RuleReward:
    """One rule as a reward function: its weighted part of the whole reward per completion, None off its segment."""

    def __init__(self, judge: Judge, index: int) -> None:
        self.judge, self.index = judge, index
        self.__name__ = judge.compiled.rules[index].name

    def __call__(
        self,
        *,
        completions: Sequence[Completion],
        row: Sequence[int],
        trainer_state: State | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float | None]:
        """Score a batch; `row` numbers each completion's training row. Ramps stand where `trainer_state` says."""
        verdict = self.judge.judge(completions, row, 1.0 if trainer_state is None else done(trainer_state))
        mine = verdict.values[:, self.index]
        if log_metric is not None:
            for value in mine[~np.isnan(mine)].tolist():  # one by one, so that processes share one mean
                log_metric(f"rules/{self.__name__}", value)
        return [None if np.isnan(v) else float(v) for v in verdict.parts[:, self.index]]


def rewards(judge: Judge) -> list[RuleReward]:
    """One reward function per rule of the policy, in its order."""
    return [RuleReward(judge, i) for i in range(len(judge.compiled.rules))]
