"""Evaluates slates of every system on held-out events: metrics, rules, targets, intervals, verdict (`eval.json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recpolicy import explain
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.slates import offered
from recpolicy.evaluation import baselines, metrics
from recpolicy.evaluation.baselines import Baseline
from recpolicy.evaluation.decision import verdict
from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.targets import outcomes
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import chances, decode, first_items, next_items
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model.sources import Scores

BATCH = 256
CANDIDATES = 100
"""Items of the SFT model's first position that the re-rank control chooses from."""

DRAWS = 1000

AGAINST = ("sft", "prior", "rerank", "ease_rerank", "ease", "ease_recency")
"""Systems that GRPO is compared with user by user."""
BASELINE = "prior"
"""The model that GRPO starts from: what `of baseline` and the verdict refer to."""


@dataclass(frozen=True)
class Examiner:
    """Rows of held-out events with their prompts and legal items, made once and asked often.

    Where a policy is given its hard quotas are kept, too.
    """

    compiled: CompiledPolicy | None
    rows: Rows
    prompts: list[list[int]]
    legal: Bools  # [B, items]
    prior: Scores | None = None  # [B, items]

    @staticmethod
    def of(
        recommender: Recommender,
        prompter: Prompter,
        compiled: CompiledPolicy | None,
        rows: Rows,
        prior: Scores | None = None,
    ) -> Examiner:
        """Prompts and legal items of each row: unseen, in its pool, and where a policy is given not blocked by it.

        `prior` [B, items]: logits that are added to a recommender's own.
        """
        legal = compiled.servable(rows) if compiled else offered(rows, prompter.dataset.items.rows)
        return Examiner(compiled, rows, recommender.encode(prompter.prompts(rows)), legal, prior)

    def few(self, count: int) -> Examiner:
        """The first `count` rows."""
        some = self.rows.take(np.arange(min(count, len(self.rows))))
        prior = None if self.prior is None else self.prior[:count]
        return Examiner(self.compiled, some, self.prompts[:count], self.legal[:count], prior)

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
                prior = None if self.prior is None else self.prior[part]
                item_mask = ItemMask.of(
                    self.compiled, self.rows.take(part), self.legal[part], model.device, prior=prior
                )
                prompts = [self.prompts[i] for i in part]
                own = None if chance is None else chance[batch]
                said.append(
                    decode(model, recommender.form, prompts, item_mask, temperature=temperature, chance=own).cpu()
                )
        return processes.all_gather(said)

    def greedy(self, recommender: Recommender) -> Slates:
        """The model's greedy slate for every row."""
        return _slates(recommender, self.completions(recommender))

    def sampled(self, recommender: Recommender, copies: int, temperature: float, seed: int) -> Slates:
        """Slates sampled as GRPO samples them, [B * copies, K], those of a row adjacent."""
        chance = chances(seed, 0, 0, copies * len(self.prompts), recommender.form.longest)
        return _slates(recommender, self.completions(recommender, copies, temperature, chance))

    def likelihood(self, recommender: Recommender) -> float:
        """Mean log-probability of the rows' next items: as the very next one, and at the first place of an answer.

        Both count alike. The very next is what the model says behind the last item of a history. A next item that is
        not legal counts as no example.
        """
        model, form = recommender.model, recommender.form
        found: list[tuple[float, int]] = []
        with evaluating(model):
            for batch in _own_batches(len(self.prompts)):
                rows, legal = self.rows.take(np.arange(batch.start, batch.stop)), torch.from_numpy(self.legal[batch])
                row = torch.from_numpy(np.repeat(np.arange(len(rows)), rows.next_items.lengths))
                item = torch.from_numpy(rows.next_items.values.astype(np.int64))
                kept = legal[row, item]
                first = first_items(model, form, self.prompts[batch], legal.to(model.device)).cpu()
                after = next_items(model, form, self.prompts[batch], rows.history).cpu()
                after = after.masked_fill(~legal, -torch.inf).log_softmax(-1)
                total = first[row[kept], item[kept]].double().sum() + after[row[kept], item[kept]].double().sum()
                found.append((float(total) / 2, int(kept.sum())))
        sums, counts = zip(*processes.all_gather(found), strict=True)
        mean: float = sum(sums) / max(sum(counts), 1)
        return mean

    def candidates(self, recommender: Recommender) -> tuple[Codes, Floats]:
        """The likeliest items of the slate's first position and their log-probabilities, both [B, CANDIDATES].

        Where fewer are legal the rest have -inf.
        """
        model = recommender.model
        legal = torch.from_numpy(self.legal).to(model.device)
        prior = None if self.prior is None else torch.from_numpy(self.prior).to(model.device)
        found: list[tuple[Codes, Floats]] = []
        with evaluating(model):
            for batch in _own_batches(len(self.prompts)):
                logp = first_items(
                    model, recommender.form, self.prompts[batch], legal[batch], None if prior is None else prior[batch]
                )
                best = logp.topk(min(CANDIDATES, logp.shape[1]))
                found.append((best.indices.cpu().numpy().astype(np.int32), best.values.cpu().double().numpy()))
        items, scores = zip(*processes.all_gather(found), strict=True)
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


def evaluate_systems(
    systems: Mapping[str, Slates],
    compiled: CompiledPolicy,
    view: Dataset,
    rows: Rows,
    *,
    seed: int,
    settings: Mapping[str, Mapping[str, float]],
    curves: Mapping[str, Mapping[float, Slates]],
) -> dict[str, Any]:
    """`eval.json`: every system on the test rows, GRPO's paired differences to those of AGAINST, targets and verdict.

    `curves` holds each control's slates at every strength of the policy.
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
    judged, before = (
        outcomes(compiled, rows, systems[name], systems[BASELINE], seed=seed, draws=DRAWS)
        for name in ("grpo", BASELINE)
    )
    baseline, popular = (measured[name]["metrics"]["ndcg"] for name in (BASELINE, "popularity"))
    decided = verdict(
        judged,
        before,
        metrics.paired(own["reward"], measured[BASELINE]["metrics"]["reward"], seed=seed, draws=DRAWS),
        metrics.paired(baseline, popular, seed=seed, draws=DRAWS),
    )
    return {
        "schema_version": 2,
        "verdict": decided.word,
        "reason": decided.reason,
        "k": compiled.policy.slate,
        "users": len(rows),
        "seed": seed,
        "novelty_base": "distinct users of the training part who took the item, over all users; log base 2",
        "systems": found,
        "grpo_minus": differences,
        "curves": {
            name: [_point(strength, slates, compiled, measures, rows) for strength, slates in curve.items()]
            for name, curve in curves.items()
        },
        "targets": [
            {
                **asdict(outcome),
                "metric": explain.target(target.target),
                "verdict": outcome.verdict,
                "guardrail": is_guardrail(outcome.name),
            }
            for outcome, target in zip(judged, compiled.targets, strict=True)
        ],
    }


def _point(
    strength: float, slates: Slates, compiled: CompiledPolicy, measures: CompiledPolicy, rows: Rows
) -> dict[str, Any]:
    """Means over users of one of the control's slates."""
    found = measure(compiled, measures, rows, slates)
    means = {part: {key: metrics.mean(values) for key, values in per_user.items()} for part, per_user in found.items()}
    return {"strength": strength, **means, "targets": means["targets"] | compiled.population(rows, slates)}


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
