"""Slates of every system on held-out events in, their metrics, rules and intervals out (`eval.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recpolicy import baselines, metrics
from recpolicy.baselines import Baseline
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Dataset, Rows, Slates, Split
from recpolicy.rerank import rerank
from recpolicy.slate import unseen
from recpolicy.table import Bools, Codes, Floats
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.prompts import Prompter
from recpolicy.trainer.rollout import decode, evaluating, first_items

BATCH = 256
CANDIDATES = 100
"""Items of the SFT model's first position that the re-rank control chooses from."""

MUS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""Weights of the policy against the model's score that the re-rank control tries."""

DRAWS = 1000

AGAINST = ("sft", "rerank", "ease", "ease_recency")
"""Systems that GRPO is compared with user by user."""


@dataclass(frozen=True)
class Examiner:
    """Rows of held-out events with their prompts and legal items, made once and asked often."""

    rows: Rows
    prompts: list[list[int]]
    legal: Bools  # [B, items]

    @staticmethod
    def of(recommender: Recommender, prompter: Prompter, compiled: CompiledPolicy | None, rows: Rows) -> Examiner:
        """Prompts and legal items of each row: unseen, and where a policy is given not blocked by it."""
        legal = unseen(rows, prompter.dataset.items.rows)
        if compiled is not None:
            legal &= compiled.legal(rows)
        return Examiner(rows, recommender.encode(prompter.prompts(rows)), legal)

    def completions(self, recommender: Recommender) -> list[Tensor]:
        """Greedy completions, in batches of [<= BATCH, T] token ids."""
        model = recommender.model
        legal = torch.from_numpy(self.legal).to(model.device)
        with evaluating(model):
            return [
                decode(model, recommender.form, self.prompts[at : at + BATCH], legal[at : at + BATCH])
                for at in range(0, len(self.prompts), BATCH)
            ]

    def greedy(self, recommender: Recommender) -> Slates:
        """The model's greedy slate for every row."""
        slates = [recommender.form.slates(c) for c in self.completions(recommender)]
        return Slates(torch.cat(slates).cpu().numpy())

    def candidates(self, recommender: Recommender) -> tuple[Codes, Floats]:
        """The likeliest items of the slate's first position and their log-probabilities, both [B, CANDIDATES].

        Where fewer are legal the rest have -inf.
        """
        model = recommender.model
        legal = torch.from_numpy(self.legal).to(model.device)
        scores, items = [], []
        with evaluating(model):
            for at in range(0, len(self.prompts), BATCH):
                logp = first_items(model, recommender.form, self.prompts[at : at + BATCH], legal[at : at + BATCH])
                best = logp.topk(min(CANDIDATES, logp.shape[1]))
                scores.append(best.values.cpu().double().numpy())
                items.append(best.indices.cpu().numpy().astype(np.int32))
        return np.concatenate(items), np.concatenate(scores)


@dataclass(frozen=True)
class Control:
    """The re-rank control: what a team would ship instead of training.

    The SFT model's candidates are re-ranked for the policy at `mu`, which had the best whole reward on validation;
    `sweep` is what every `mu` gave there.
    """

    recommender: Recommender
    compiled: CompiledPolicy
    mu: float
    sweep: tuple[Mapping[str, float], ...]

    @staticmethod
    def tuned(recommender: Recommender, compiled: CompiledPolicy, validation: Examiner) -> Control:
        """Try every `mu` on the validation rows."""
        items, scores = validation.candidates(recommender)
        return Control(recommender, compiled, *sweep(items, scores, validation.rows, compiled))

    def slates(self, examiner: Examiner) -> Slates:
        """Its slate for every row."""
        items, scores = examiner.candidates(self.recommender)
        return rerank(items, scores, examiner.rows, self.compiled, self.mu)


def sweep(
    items: Codes, scores: Floats, rows: Rows, compiled: CompiledPolicy
) -> tuple[float, tuple[Mapping[str, float], ...]]:
    """The weight of the policy that gives candidates [B, C], re-ranked, the best whole reward; and what each gave."""
    tried = []
    for mu in MUS:
        slates = rerank(items, scores, rows, compiled, mu)
        ndcg, reward = metrics.accuracy("ndcg", rows, slates), compiled.total(rows, slates)
        tried.append({"mu": mu, "reward": float(reward.mean()), "ndcg": float(np.nanmean(ndcg))})
    return max(tried, key=lambda t: t["reward"])["mu"], tuple(tried)


def measure(
    compiled: CompiledPolicy, measures: CompiledPolicy, rows: Rows, slates: Slates
) -> dict[str, dict[str, Floats]]:
    """Per user [B], metrics being those of `measures` and a few more; NaN where not applicable.

    `{"metrics": ..., "rules": ..., "satisfied": ...}`.
    """
    return {
        "metrics": {
            **measures.values(rows, slates),
            "reward": compiled.total(rows, slates),
            "holes": (slates.items < 0).mean(1),
        },
        "rules": compiled.values(rows, slates),
        "satisfied": {name: met.astype(np.float64) for name, met in compiled.satisfied(rows, slates).items()},
    }


def judge(
    systems: Mapping[str, Slates],
    compiled: CompiledPolicy,
    view: Dataset,
    split: Split,
    *,
    seed: int,
    settings: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """`eval.json`: every system on the test rows, and GRPO's paired differences to the systems of AGAINST."""
    rows = split.test
    measures = metrics.measures(view, compiled.policy.slate)
    measured = {name: measure(compiled, measures, rows, slates) for name, slates in systems.items()}
    found: dict[str, Any] = {}
    for name, slates in systems.items():
        summary = {
            part: {key: asdict(metrics.interval(values, seed=seed, draws=DRAWS)) for key, values in per_user.items()}
            for part, per_user in measured[name].items()
        }
        summary["metrics"]["coverage"] = {"mean": metrics.coverage(slates, view.items.rows)}
        summary["metrics"]["gini"] = {"mean": metrics.gini(slates, view.items.rows)}
        found[name] = {**summary, "settings": dict(settings.get(name, {}))}
    own = measured["grpo"]["metrics"]
    differences = {
        other: {
            key: asdict(metrics.paired(own[key], measured[other]["metrics"][key], seed=seed, draws=DRAWS))
            for key in ("ndcg", "reward")
        }
        for other in AGAINST
    }
    return {
        "schema_version": 1,
        "k": compiled.policy.slate,
        "users": len(rows),
        "seed": seed,
        "split": {"holdout": split.holdout, "notes": list(split.notes)},
        "novelty_base": "distinct users of the training part who took the item, over all users; log base 2",
        "systems": found,
        "grpo_minus": differences,
        "targets": [],
    }


def baseline_slates(
    models: Mapping[str, Baseline], split: Split, compiled: CompiledPolicy
) -> tuple[dict[str, Slates], dict[str, Mapping[str, float]]]:
    """Test slates and tuned settings of the classic recommenders, blocked items left out."""
    k, rows = compiled.policy.slate, split.test
    legal = compiled.legal(rows)
    return (
        {name: baselines.top(model.scores(rows), rows, k, legal) for name, model in models.items()},
        {name: model.settings for name, model in models.items()},
    )
