"""A compiled policy and rows in, one reward function per rule out, in the form TRL's GRPOTrainer calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Rows
from recpolicy.slate import parse, without_seen
from recpolicy.table import Codes, Floats, Ints

Completion: TypeAlias = str | Sequence[dict[str, str]]
"""Text, or a conversation whose last message is the model's."""


class Judge:
    """Scores completions under a policy. Picklable; the rules of one batch share one reading of it.

    `rows` are the training rows; a batch names its rows by number, so that each completion is scored against its own
    user whatever its prompt says.
    """

    def __init__(self, compiled: CompiledPolicy, rows: Rows, items: int) -> None:
        self.compiled, self.rows, self.items = compiled, rows, items
        self._last: tuple[Sequence[Completion], Ints, Floats, Floats] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}

    def ledger(self, slates: Codes, row: Sequence[int]) -> Floats:
        """What each place adds to the whole reward of its slate; `slates` item rows as they were read; both [B, K]."""
        rows = self.rows.take(np.asarray(row, np.int64))
        return self.compiled.total_marginals(rows, without_seen(slates, rows, self.items))

    def judge(self, completions: Sequence[Completion], row: Sequence[int]) -> tuple[Floats, Floats]:
        """Raw rule values in [0, 1] and their parts of the whole reward, both [B, rules]; NaN: not applicable.

        The parts of a completion sum to the whole reward R of the language page; a bury's is negative.
        """
        at: Ints = np.asarray(row, np.int64)
        if self._last is not None and self._last[0] is completions and np.array_equal(self._last[1], at):
            return self._last[2], self._last[3]
        rows = self.rows.take(at)
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        read = parse(texts, k=self.compiled.policy.slate, items=self.items)
        values = self.compiled.values(rows, without_seen(read, rows, self.items))
        raw = np.stack([values[rule.name] for rule in self.compiled.rules], 1)
        weights = self.compiled.weights(rows)
        sign = np.array([rule.sign for rule in self.compiled.rules])
        total = weights.sum(1, keepdims=True)
        parts = np.divide(weights * sign * raw, total, out=np.zeros_like(raw), where=total > 0)
        parts = np.where(np.isnan(raw), np.nan, parts)
        self._last = (completions, at, raw, parts)
        return raw, parts


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
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float | None]:
        """Score a batch; `row` numbers each completion's training row."""
        raw, parts = self.judge.judge(completions, row)
        mine = raw[:, self.index]
        if log_metric is not None and not np.isnan(mine).all():
            log_metric(f"rules/{self.__name__}", float(np.nanmean(mine)))
        return [None if np.isnan(v) else float(v) for v in parts[:, self.index]]


def rewards(judge: Judge) -> list[RuleReward]:
    """One reward function per rule of the policy, in its order."""
    return [RuleReward(judge, i) for i in range(len(judge.compiled.rules))]
