"""Provides reward functions for TRL (tried with 1.16): the columns of the data set say whose list it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recpolicy.adapters.answers import FIELDS, AnswerScorer, Context
from recpolicy.api import LoadedPolicy, Scored
from recpolicy.api.parsers import Parser
from recpolicy.rewards import Completion


class TrlReward:
    """One rule's part of R for each completion, or all of R; None where it does not apply."""

    def __init__(self, scorer: AnswerScorer, rule: str | None) -> None:
        self._scorer, self._rule = scorer, rule
        self.__name__ = rule or scorer.policy.name

    def __call__(self, *, completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        """Scores a batch; of the data set's columns it reads `user_id`, `history`, `next_items` and `now`."""
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        scored = self._scorer.score(texts, contexts(columns, len(texts)))
        values = scored.reward if self._rule is None else scored.parts[self._rule]
        return [None if np.isnan(value) else float(value) for value in values]


def reward_function(policy: LoadedPolicy, parse: Parser) -> TrlReward:
    """Returns one reward function, the whole reward R."""
    return TrlReward(AnswerScorer(policy, parse), None)


def reward_functions(policy: LoadedPolicy, parse: Parser) -> list[TrlReward]:
    """Returns one reward function for each rule; their values add up to R, so their weights are 1."""
    scorer = _Once(policy, parse)
    return [TrlReward(scorer, rule) for rule in policy.rules]


def contexts(columns: dict[str, Any], count: int) -> list[Context]:
    """Returns the context of each row from the columns of a batch."""
    known = {field: columns[field] for field in FIELDS if columns.get(field) is not None}
    return [{field: values[row] for field, values in known.items()} for row in range(count)]


class _Once(AnswerScorer):
    """Scores a batch once for all rules: TRL calls one function after the other with the same texts."""

    def score(self, answers: Sequence[str], contexts: Sequence[Context]) -> Scored:
        """Returns the scores of the batch before where it is the same one."""
        key = (list(answers), list(contexts))
        last = self.__dict__.get("_last")
        if last is None or last[0] != key:
            last = key, super().score(answers, contexts)
            self.__dict__["_last"] = last
        scored: Scored = last[1]
        return scored
