"""Measures what a model's reasoning is worth: the slates after its own, after none, and after another user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from recpolicy.dataset.rows import Slates
from recpolicy.evaluation import metrics
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models.recommenders import Recommender

SAMPLES = 3
"""Number of users whose reasoning is shown."""


@dataclass(frozen=True)
class Answers:
    """Greedy completions of an evaluator's rows."""

    slates: Slates
    reasoning: list[list[int]]
    """Token ids between the tags, one list a row; empty where the model does not reason."""
    texts: list[str]


def answers(recommender: Recommender, evaluator: Evaluator) -> Answers:
    """Returns the model's greedy completion of every row: slate, reasoning and text."""
    form, tokenizer = recommender.form, recommender.tokenizer
    rows = [row for batch in evaluator.completions(recommender) for row in batch]
    slates = np.concatenate([form.slates(row[None]).cpu().numpy() for row in rows])
    texts = tokenizer.batch_decode([row[row != form.pad] for row in rows])
    return Answers(Slates(slates), [row[form.is_word(row)].tolist() for row in rows], texts)


def answering(recommender: Recommender, evaluator: Evaluator, reasoning: Sequence[list[int]]) -> Slates:
    """Returns the greedy slate of every row after this reasoning, which replaces the model's own."""
    form = recommender.form
    prompts = [
        [*prompt, form.think_open, *words, form.think_close]
        for prompt, words in zip(evaluator.prompts, reasoning, strict=True)
    ]
    return replace(evaluator, prompts=prompts).greedy(replace(recommender, form=replace(form, max_think=0)))


def reasoning_value(
    recommender: Recommender, evaluator: Evaluator, own: Answers, before: Answers, seed: int
) -> dict[str, Any] | None:
    """Measures what the model's reasoning adds to its slates, as in `eval.json`; None for a model that does not reason.

    `own`, `none` and `another_user` are the mean NDCG and the mean whole reward of the slates after the model's own
    reasoning, after an empty one, and after that of the user before; `own_minus` are the paired differences. `words` is
    the mean length in tokens. `changed` is the share of users, in [0, 1], whose reasoning differs from that of the
    model `before`. `samples` is the reasoning of both models for the first few users.
    """
    if not recommender.form.max_think:
        return None
    compiled, rows = evaluator.compiled, evaluator.rows
    assert compiled is not None
    replaced: dict[str, list[list[int]]] = {
        "none": [[] for _ in own.reasoning],
        "another_user": [*own.reasoning[-1:], *own.reasoning[:-1]],
    }
    slates = {"own": own.slates} | {name: answering(recommender, evaluator, r) for name, r in replaced.items()}
    measured = {
        name: {"ndcg": metrics.accuracy("ndcg", rows, s), "reward": compiled.total(rows, s)}
        for name, s in slates.items()
    }
    texts = (recommender.tokenizer.batch_decode(a.reasoning[:SAMPLES]) for a in (before, own))
    return {
        **{name: {key: metrics.mean(value) for key, value in m.items()} for name, m in measured.items()},
        "own_minus": {
            name: {key: asdict(metrics.paired(measured["own"][key], measured[name][key], seed=seed)) for key in m}
            for name, m in measured.items()
            if name != "own"
        },
        "words": {"sft": _mean_length(before), "grpo": _mean_length(own)},
        "changed": float(np.mean([a != b for a, b in zip(before.reasoning, own.reasoning, strict=True)])),
        "samples": [{"sft": a, "grpo": b} for a, b in zip(*texts, strict=True)],
    }


def _mean_length(given: Answers) -> float:
    return float(np.mean([len(words) for words in given.reasoning]))
