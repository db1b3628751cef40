"""Provides reward functions for verl (in the form of 0.9.1), for the file that `custom_reward_function` names.

A row's `ground_truth` is the list of next items, and its `extra_info` the rest of the context. Every rule is a key of
what is returned, so that GDPO can take them apart (`algorithm.gdpo_reward_keys`); none is ever NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recpolicy.adapters.answers import AnswerScorer
from recpolicy.api import LoadedPolicy
from recpolicy.api.parsers import Parser


def compute_score(policy: LoadedPolicy, parse: Parser) -> Callable[..., dict[str, float]]:
    """Returns verl's function of one answer: `score`, the whole reward R, and every rule's part of it by its name."""
    of_batch = compute_scores(policy, parse)

    def score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, float]:
        return of_batch([data_source], [solution_str], [ground_truth], [extra_info or {}])[0]

    return score


def compute_scores(policy: LoadedPolicy, parse: Parser) -> Callable[..., list[dict[str, float]]]:
    """Returns verl's function of a batch (the reward manager `batch`), with the values of `compute_score`."""
    scorer = AnswerScorer(policy, parse)

    def scores(
        data_sources: Sequence[str],
        solution_strs: Sequence[str],
        ground_truths: Sequence[Any],
        extra_infos: Sequence[Mapping[str, Any]],
        **_: Any,
    ) -> list[dict[str, float]]:
        pairs = zip(ground_truths, extra_infos, strict=True)
        contexts = [{**info, **({} if truth is None else {"next_items": truth})} for truth, info in pairs]
        found = scorer.finite(scorer.score(solution_strs, contexts))
        return [{"score": row.pop("reward"), **row} for row in found]

    return scores
