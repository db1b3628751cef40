"""A model's completions for held-out users in, what their reasoning is worth out: answers with other reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from recpolicy.dataset.rows import Slates
from recpolicy.evaluation import metrics
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.evaluation.evaluator import Examiner
from recpolicy.trainer.models.recommenders import Recommender

SAMPLES = 3
"""Users whose reasoning is shown."""


@dataclass(frozen=True)
class Said:
    """Greedy completions of the examiner's rows."""

    slates: Slates
    reasoning: list[list[int]]
    """Token ids between the tags, one list a row; empty where the model does not reason."""
    texts: list[str]


def said(recommender: Recommender, examiner: Examiner) -> Said:
    """What a model answers to every row, by greedy decoding."""
    form, tokenizer = recommender.form, recommender.tokenizer
    rows = [row for batch in examiner.completions(recommender) for row in batch]
    slates = np.concatenate([form.slates(row[None]).cpu().numpy() for row in rows])
    texts = tokenizer.batch_decode([row[row != form.pad] for row in rows])
    return Said(Slates(slates), [_reasoning(form, row) for row in rows], texts)


def _reasoning(form: AnswerFormat, completion: Tensor) -> list[int]:
    return [token for token, word in zip(completion.tolist(), form.is_word(completion).tolist(), strict=True) if word]


def answering(recommender: Recommender, examiner: Examiner, reasoning: Sequence[list[int]]) -> Slates:
    """The greedy slate of every row after this reasoning in place of the model's own."""
    form = recommender.form
    thought = [
        [*prompt, form.think_open, *words, form.think_close]
        for prompt, words in zip(examiner.prompts, reasoning, strict=True)
    ]
    return replace(examiner, prompts=thought).greedy(replace(recommender, form=replace(form, max_think=0)))


def worth(recommender: Recommender, examiner: Examiner, found: Said, before: Said, seed: int) -> dict[str, Any] | None:
    """What the model's reasoning brought its slates, as in `eval.json`; None for a model that does not reason.

    `own`, `none` and `another_user` are mean NDCG and whole reward of slates behind the model's own reasoning, behind
    an empty one, and behind that of the user before; `own_minus` the paired differences. `words` is the mean length in
    tokens, `changed` the share of users for whom it is another than that of the model `before`, and `samples` the
    reasoning of both models for the first few users.
    """
    if not recommender.form.max_think:
        return None
    compiled, rows = examiner.compiled, examiner.rows
    assert compiled is not None
    reasoning: dict[str, list[list[int]]] = {
        "none": [[] for _ in found.reasoning],
        "another_user": [*found.reasoning[-1:], *found.reasoning[:-1]],
    }
    slates = {"own": found.slates} | {name: answering(recommender, examiner, r) for name, r in reasoning.items()}
    measured = {
        name: {"ndcg": metrics.accuracy("ndcg", rows, s), "reward": compiled.total(rows, s)}
        for name, s in slates.items()
    }
    return {
        **{name: {key: metrics.mean(value) for key, value in m.items()} for name, m in measured.items()},
        "own_minus": {
            name: {key: asdict(metrics.paired(measured["own"][key], measured[name][key], seed=seed)) for key in m}
            for name, m in measured.items()
            if name != "own"
        },
        "words": {"sft": _length(before), "grpo": _length(found)},
        "changed": float(np.mean([a != b for a, b in zip(before.reasoning, found.reasoning, strict=True)])),
        "samples": [
            {"sft": a, "grpo": b}
            for a, b in zip(
                *(recommender.tokenizer.batch_decode(s.reasoning[:SAMPLES]) for s in (before, found)), strict=True
            )
        ],
    }


def _length(found: Said) -> float:
    return float(np.mean([len(words) for words in found.reasoning]))
