"""Provides reward functions for OpenRLHF (in the form of 0.11.2): as `reward_func` of a Python file, or behind HTTP.

A row's `label` is its context as JSON: `{"user_id": "u1", "next_items": ["i7"]}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from recpolicy.adapters.answers import AnswerScorer
from recpolicy.api import LoadedPolicy
from recpolicy.api.parsers import Parser
from recpolicy.errors import UsageError


def reward_func(policy: LoadedPolicy, parse: Parser) -> Callable[..., dict[str, Any]]:
    """Returns OpenRLHF's function of queries (prompt and answer), prompts and labels.

    `rewards` and `scores` are R of each answer, `extra_logs` the part of each rule; all are plain lists, so that the
    result can be sent as JSON, too. With one query in the batch they are numbers: OpenRLHF asks for one at a time.
    """
    scorer = AnswerScorer(policy, parse)

    def rewards(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], **_: Any) -> dict[str, Any]:
        answers = [query.removeprefix(prompt) for query, prompt in zip(queries, prompts, strict=True)]
        found = scorer.finite(scorer.score(answers, [_context(label) for label in labels]))
        columns: dict[str, Any] = found[0]
        if len(queries) > 1:
            columns = {name: [row[name] for row in found] for name in found[0]}
        reward = columns.pop("reward")
        return {"rewards": reward, "scores": reward, "extra_logs": columns}

    return rewards


def _context(label: str) -> dict[str, Any]:
    try:
        context = json.loads(label)
    except (ValueError, TypeError):
        context = None
    if not isinstance(context, dict):
        help = 'write the context as JSON: {"user_id": "u1", "next_items": ["i7"]}'
        raise UsageError(f"the label {label!r:.60} is no JSON object", help=help)
    return context
