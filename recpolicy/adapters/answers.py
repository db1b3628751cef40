"""Scores the answers of a language model by a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from recpolicy.api import LoadedPolicy, Scored
from recpolicy.api.parsers import Parser
from recpolicy.errors import UsageError

Context: TypeAlias = Mapping[str, Any]
"""`user_id`, `history`, `next_items` and `now` of one answer; what is absent is not known."""

FIELDS = ("user_id", "history", "next_items", "now")


@dataclass(frozen=True, eq=False)
class AnswerScorer:
    """Reads a list from each answer and scores it. Picklable where the parser is."""

    policy: LoadedPolicy
    parse: Parser
    """Reads the ids in a text, the best place first (`recpolicy.api.parsers`)."""

    def score(self, answers: Sequence[str], contexts: Sequence[Context]) -> Scored:
        """Scores answers, each with its context. Raises UsageError where their numbers differ."""
        if len(answers) != len(contexts):
            raise UsageError(f"{len(contexts)} contexts for {len(answers)} answers", help="give one for each answer")
        given = {field: [_listed(context.get(field)) for context in contexts] for field in FIELDS}
        known = {field: values for field, values in given.items() if any(value is not None for value in values)}
        following = known.get("next_items")
        return self.policy.score(
            [self.parse(answer) for answer in answers],
            user=known.get("user_id"),
            history=known.get("history"),
            next_items=None if following is None else [value or [] for value in following],
            now=known.get("now"),
        )

    def finite(self, scored: Scored) -> list[dict[str, float]]:
        """Returns `reward` and every rule's part of it for each answer, without NaN: 0 where a rule does not apply."""
        columns = {"reward": scored.reward, **scored.parts}
        filled = {name: np.nan_to_num(values).tolist() for name, values in columns.items()}
        return [{name: values[row] for name, values in filled.items()} for row in range(len(scored))]


def _listed(value: Any) -> Any:
    """NumPy arrays, which data sets of some libraries hold, as lists."""
    return value.tolist() if isinstance(value, np.ndarray) else value
