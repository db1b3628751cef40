"""Slates of every system on held-out events in, their metrics, rules and intervals out (`eval.json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recpolicy import baselines, metrics, words
from recpolicy.baselines import Baseline
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Dataset, Rows, Slates
from recpolicy.demands import outcomes
from recpolicy.slate import offered
from recpolicy.table import Bools, Codes, Floats
from recpolicy.trainer import processes
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.prefix import evaluating
from recpolicy.trainer.prompts import Prompter
from recpolicy.trainer.rollout import chances, decode, first_items
from recpolicy.trainer.shelf import Shelf

BATCH = 256
CANDIDATES = 100
"""Items of the SFT model's first position that the re-rank control chooses from."""

DRAWS = 1000

AGAINST = ("sft", "rerank", "ease", "ease_recency")
"""Systems that GRPO is compared with user by user."""


@dataclass(frozen=True)
class Examiner:
    """Rows of held-out events with their prompts and legal items, made once and asked often.

    Where a policy is given its hard quotas are kept, too.
    """

    compiled: CompiledPolicy | None
    rows: Rows
    prompts: list[list[int]]
    legal: Bools  # [B, items]

    @staticmethod
    def of(recommender: Recommender, prompter: Prompter, compiled: CompiledPolicy | None, rows: Rows) -> Examiner:
        """Prompts and legal items of each row: unseen, in its pool, and where a policy is given not blocked by it."""
        legal = compiled.servable(rows) if compiled else offered(rows, prompter.dataset.items.rows)
        return Examiner(compiled, rows, recommender.encode(prompter.prompts(rows)), legal)

    def few(self, count: int) -> Examiner:
        """The first `count` rows."""
        some = self.rows.take(np.arange(min(count, len(self.rows))))
        return Examiner(self.compiled, some, self.prompts[:count], self.legal[:count])

    def completions(
        self,
        recommender: Recommender,
        copies: int = 1,
        temperature: float = 1.0,
        chance: Tensor | None = None,
    ) -> list[Tensor]:
        """Completions, `copies` of a row adjacent, in batches of [<= BATCH, T] ids; greedy without `chance`.

        `chance` [B * copies, longest] as in `decode`. Processes share the rows, and all get all completions.
        """
        model, said = recommender.model, []
        every = np.repeat(np.arange(len(self.prompts)), copies)
        with evaluating(model):
            for batch in _own_batches(len(every)):
                part = every[batch]
                shelf = Shelf.of(self.compiled, self.rows.take(part), self.legal[part], model.device)
                prompts = [self.prompts[i] for i in part]
                own = None if chance is None else chance[batch]
                said.append(decode(model, recommender.form, prompts, shelf, temperature=temperature, chance=own).cpu())
        return processes.everybodys(said)

    def greedy(self, recommender: Recommender) -> Slates:
        """The model's greedy slate for every row."""
        return _slates(recommender, self.completions(recommender))

    def sampled(self, recommender: Recommender, copies: int, temperature: float, seed: int) -> Slates:
        """Slates sampled as GRPO samples them, [B * copies, K], those of a row adjacent."""
        chance = chances(seed, 0, 0, copies * len(self.prompts), recommender.form.longest)
        return _slates(recommender, self.completions(recommender, copies, temperature, chance))

    def candidates(self, recommender: Recommender) -> tuple[Codes, Floats]:
        """The likeliest items of the slate's first position and their log-probabilities, both [B, CANDIDATES].

        Where fewer are legal the rest have -inf.
        """
        model = recommender.model
        legal = torch.from_numpy(self.legal).to(model.device)
        found: list[tuple[Codes, Floats]] = []
        with evaluating(model):
            for batch in _own_batches(len(self.prompts)):
                logp = first_items(model, recommender.form, self.prompts[batch], legal[batch])
                best = logp.topk(min(CANDIDATES, logp.shape[1]))
                found.append((best.indices.cpu().numpy().astype(np.int32), best.values.cpu().double().numpy()))
        items, scores = zip(*processes.everybodys(found), strict=True)
        return np.concatenate(items), np.concatenate(scores)


def _own_batches(rows: int) -> Iterator[slice]:
    """This process's part of the rows, BATCH at a time."""
    own = processes.own(rows)
    return (slice(at, min(at + BATCH, own.stop)) for at in own[::BATCH])


def _slates(recommender: Recommender, completions: Sequence[Tensor]) -> Slates:
    return Slates(torch.cat([recommender.form.slates(c) for c in completions]).numpy())


def measure(
    compiled: CompiledPolicy, measures: CompiledPolicy, rows: Rows, slates: Slates
) -> dict[str, dict[str, Floats]]:
    """Per user [B], metrics being those of `measures` and a few more; NaN where not applicable.

    `{"metrics": ..., "targets": ...}`; measures over all users are not among them.
    """
    return {
        "metrics": {
            **measures.values(rows, slates),
            "reward": compiled.total(rows, slates),
            "holes": (slates.items < 0).mean(1),
        },
        "targets": compiled.target_values(rows, slates),
    }


def rules(compiled: CompiledPolicy, rows: Rows, slates: Slates) -> dict[str, dict[str, Floats]]:
    """What each rule finds per user [B], and whether it is satisfied: `{"rules": ..., "satisfied": ...}`."""
    satisfied = compiled.satisfied(rows, slates)
    return {
        "rules": compiled.values(rows, slates),
        "satisfied": {name: met.astype(np.float64) for name, met in satisfied.items()},
    }


def judge(
    systems: Mapping[str, Slates],
    compiled: CompiledPolicy,
    view: Dataset,
    rows: Rows,
    *,
    seed: int,
    settings: Mapping[str, Mapping[str, float]],
    curve: Mapping[float, Slates],
) -> dict[str, Any]:
    """`eval.json`: every system on the test rows, GRPO's paired differences to those of AGAINST, and the targets.

    `curve` holds the re-ranked control's slates at every weight of the policy.
    """
    measures = metrics.measures(view, compiled.policy.slate)
    measured = {name: measure(compiled, measures, rows, slates) for name, slates in systems.items()}
    found: dict[str, Any] = {}
    for name, slates in systems.items():
        summary = {
            part: {key: asdict(metrics.interval(values, seed=seed, draws=DRAWS)) for key, values in per_user.items()}
            for part, per_user in (measured[name] | rules(compiled, rows, slates)).items()
        }
        summary["metrics"]["coverage"] = {"mean": metrics.coverage(slates, view.items.rows)}
        summary["metrics"]["gini"] = {"mean": metrics.gini(slates, view.items.rows)}
        for target, value in compiled.population(rows, slates).items():
            summary["targets"][target] = {"mean": value}
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
        "novelty_base": "distinct users of the training part who took the item, over all users; log base 2",
        "systems": found,
        "grpo_minus": differences,
        "rerank_curve": [_point(mu, slates, compiled, measures, rows) for mu, slates in curve.items()],
        "targets": [
            {**asdict(outcome), "metric": words.target(target.target), "verdict": outcome.verdict}
            for outcome, target in zip(
                outcomes(compiled, rows, systems["grpo"], systems["sft"], seed=seed, draws=DRAWS),
                compiled.targets,
                strict=True,
            )
        ],
    }


def _point(mu: float, slates: Slates, compiled: CompiledPolicy, measures: CompiledPolicy, rows: Rows) -> dict[str, Any]:
    """Means over users of one of the control's slates."""
    found = measure(compiled, measures, rows, slates)
    means = {part: {key: metrics.mean(values) for key, values in per_user.items()} for part, per_user in found.items()}
    return {"mu": mu, **means, "targets": means["targets"] | compiled.population(rows, slates)}


def baseline_slates(
    models: Mapping[str, Baseline], rows: Rows, compiled: CompiledPolicy
) -> tuple[dict[str, Slates], dict[str, Mapping[str, float]]]:
    """Test slates and tuned settings of the classic recommenders, blocked items left out."""
    k = compiled.policy.slate
    legal = compiled.legal(rows)
    return (
        {name: baselines.top(model.scores(rows), rows, k, legal) for name, model in models.items()},
        {name: model.settings for name, model in models.items()},
    )
