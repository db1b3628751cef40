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
from recpolicy.evaluation.decision import decide
from recpolicy.evaluation.guardrail import is_guardrail
from recpolicy.evaluation.linear import Scores
from recpolicy.evaluation.metrics import Interval
from recpolicy.evaluation.targets import outcomes
from recpolicy.trainer.decoding.item_mask import ItemMask, item_columns
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import decode, first_items, next_items, uniforms
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter

BATCH = 256
CANDIDATES = 100
"""Number of the likeliest items of a slate's first place."""
DRAWS = 1000
"""Bootstrap draws of an interval."""
AGAINST = ("sft", "prior", "rerank", "ease_rerank", "ease", "ease_recency")
"""The systems that GRPO is compared with, user by user, and the model `before` where a run goes on from another."""
BASELINE = "prior"
"""The model that GRPO starts from: what `of baseline` and the verdict refer to."""


@dataclass(frozen=True)
class Evaluator:
    """Rows of held-out events with their prompts and legal items: built once, used for several models.

    With a policy, its hard quotas are enforced, too.
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
    ) -> Evaluator:
        """Builds the prompts and legal items of each row: not in the history, in the pool, not blocked by the policy.

        `prior` [B, items]: logits that are added to a recommender's own.
        """
        legal = compiled.servable(rows) if compiled else offered(rows, prompter.dataset.items.rows)
        return Evaluator(compiled, rows, recommender.encode(prompter.prompts(rows)), legal, prior)

    def completions(
        self,
        recommender: Recommender,
        copies: int = 1,
        temperature: float = 1.0,
        draws: Tensor | None = None,
    ) -> list[Tensor]:
        """Decodes `copies` adjacent completions of each row, in batches of [<= BATCH, T] ids; greedy without `draws`.

        `draws` [B * copies, longest] as in `decode`. The processes share the rows, and each gets all completions.
        """
        model, completions = recommender.model, []
        every = np.repeat(np.arange(len(self.prompts)), copies)
        with evaluating(model):
            for batch in _own_batches(len(every)):
                part = every[batch]
                prior = None if self.prior is None else self.prior[part]
                mask = ItemMask.of(self.compiled, self.rows.take(part), self.legal[part], model.device, prior=prior)
                prompts = [self.prompts[i] for i in part]
                own = None if draws is None else draws[batch]
                tokens = decode(model, recommender.form, prompts, mask, temperature=temperature, draws=own)
                completions.append(tokens.cpu())
        return processes.all_gather(completions)

    def greedy(self, recommender: Recommender) -> Slates:
        """Returns the model's greedy slate for every row, [B, K]."""
        return _slates(recommender, self.completions(recommender))

    def sampled(self, recommender: Recommender, copies: int, temperature: float, seed: int) -> Slates:
        """Samples slates as GRPO does, [B * copies, K], those of a row adjacent."""
        draws = uniforms(seed, 0, 0, copies * len(self.prompts), recommender.form.longest)
        return _slates(recommender, self.completions(recommender, copies, temperature, draws))

    def likelihood(self, recommender: Recommender) -> float:
        """Computes the mean log-probability of the rows' next items, predicted in two ways of equal weight.

        (log p_next + log p_first) / 2, where p_next is the softmax over legal items behind the last item of the
        history, and p_first that at the first place of an answer; neither uses the prior. A next item that is not
        legal does not count. Candidates count as often as `Candidates.log_weight` says.
        """
        model, form = recommender.model, recommender.form
        sums: list[tuple[float, int]] = []
        with evaluating(model):
            for batch in _own_batches(len(self.prompts)):
                rows, legal = self.rows.take(np.arange(batch.start, batch.stop)), torch.from_numpy(self.legal[batch])
                users = np.repeat(np.arange(len(rows)), rows.next_items.lengths)
                row, column = map(torch.from_numpy, rows.found(users, rows.next_items.values))
                counted = legal[row, column]
                at = row[counted], column[counted]
                candidates, weight = item_columns(rows, model.device), self._log_weight(batch, model.device)
                first = first_items(model, form, self.prompts[batch], legal.to(model.device), weight, candidates).cpu()
                after = next_items(model, form, self.prompts[batch], rows.history, candidates)
                after = (after if weight is None else after + weight).cpu()
                after = after.masked_fill(~legal, -torch.inf).log_softmax(-1)
                total = first[at].double().sum() + after[at].double().sum()
                sums.append((float(total) / 2, int(counted.sum())))
        totals, counts = zip(*processes.all_gather(sums), strict=True)
        mean: float = sum(totals) / max(sum(counts), 1)
        return mean

    def first(self, recommender: Recommender) -> Iterator[Tensor]:
        """Computes log-probabilities of a slate's first place, in this process's batches of [<= BATCH, items].

        Illegal items have -inf. The tensors are on the model's device.
        """
        model = recommender.model
        with evaluating(model):
            for batch in _own_batches(len(self.prompts)):
                legal = torch.from_numpy(self.legal[batch]).to(model.device)
                prior = None if self.prior is None else torch.from_numpy(self.prior[batch]).to(model.device)
                candidates = item_columns(self.rows.take(np.arange(batch.start, batch.stop)), model.device)
                yield first_items(model, recommender.form, self.prompts[batch], legal, prior, candidates)

    def _log_weight(self, batch: slice, device: torch.device) -> Tensor | None:
        """What is added to the logits of candidates, so that a softmax over them is one over all items, [B, C]."""
        candidates = self.rows.candidates
        return None if candidates is None else torch.from_numpy(candidates.log_weight[batch]).to(device)

    def candidates(self, recommender: Recommender) -> tuple[Codes, Floats]:
        """Returns the likeliest items of a slate's first place and their log-probabilities, both [B, CANDIDATES].

        Where fewer are legal, the rest have -inf.
        """
        best = (logp.topk(min(CANDIDATES, logp.shape[1])) for logp in self.first(recommender))
        batches = [(b.indices.cpu().numpy().astype(np.int32), b.values.cpu().double().numpy()) for b in best]
        columns, scores = zip(*processes.all_gather(batches), strict=True)
        return self.rows.items_at(np.concatenate(columns)), np.concatenate(scores)


def _own_batches(rows: int) -> Iterator[slice]:
    """Returns the part of the rows that this process has, BATCH at a time."""
    own = processes.own_rows(rows)
    return (slice(at, min(at + BATCH, own.stop)) for at in own[::BATCH])


def _slates(recommender: Recommender, completions: Sequence[Tensor]) -> Slates:
    return Slates(torch.cat([recommender.form.slates(c) for c in completions]).numpy())


def _measure(
    compiled: CompiledPolicy, measures: CompiledPolicy, rows: Rows, slates: Slates
) -> dict[str, dict[str, Floats]]:
    """Values per user [B]: `metrics` are those of `measures` and two more, `targets` those on a mean over users.

    NaN where one is not applicable.
    """
    return {
        "metrics": {
            **measures.values(rows, slates),
            "reward": compiled.total(rows, slates),
            "holes": (slates.items < 0).mean(1),
        },
        "targets": compiled.target_values(rows, slates),
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
    """Evaluates every system on the test rows and judges GRPO, as `eval.json` has it.

    Means over users have 95 % bootstrap intervals (`metrics.interval`); GRPO is compared with each system of AGAINST by
    paired differences. `systems` holds the slates of each, [B, K], and `settings` what its tuning chose; `curves` holds
    each control's slates at every strength of the policy.
    """
    measures = metrics.measures(view, compiled.policy.slate)
    measured = {name: _measure(compiled, measures, rows, slates) for name, slates in systems.items()}
    summaries: dict[str, Any] = {}
    for name, slates in systems.items():
        satisfied = {rule: met.astype(np.float64) for rule, met in compiled.satisfied(rows, slates).items()}
        values = measured[name] | {"rules": compiled.values(rows, slates), "satisfied": satisfied}
        summary = {
            part: {key: asdict(metrics.interval(of, seed=seed, draws=DRAWS)) for key, of in per_user.items()}
            for part, per_user in values.items()
        }
        summary["metrics"]["coverage"] = {"mean": metrics.coverage(slates, view.items.rows)}
        summary["metrics"]["gini"] = {"mean": metrics.gini(slates, view.items.rows)}
        for target, value in compiled.population(rows, slates).items():
            summary["targets"][target] = {"mean": value}
        summaries[name] = {**summary, "settings": dict(settings.get(name, {}))}

    def paired(system: str, other: str, key: str) -> Interval:
        values, others = measured[system]["metrics"][key], measured[other]["metrics"][key]
        return metrics.paired(values, others, seed=seed, draws=DRAWS)

    judged, before = (
        outcomes(compiled, rows, systems[name], systems[BASELINE], seed=seed, draws=DRAWS)
        for name in ("grpo", BASELINE)
    )
    decision = decide(judged, before, paired("grpo", BASELINE, "reward"), paired(BASELINE, "popularity", "ndcg"))
    return {
        "schema_version": 2,
        "verdict": decision.word,
        "reason": decision.reason,
        "k": compiled.policy.slate,
        "users": len(rows),
        "seed": seed,
        "novelty_base": "distinct users of the training part who took the item, over all users; log base 2",
        "systems": summaries,
        "grpo_minus": {
            other: {key: asdict(paired("grpo", other, key)) for key in ("ndcg", "reward")}
            for other in (*AGAINST, *({"before"} & systems.keys()))
        },
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
    measured = _measure(compiled, measures, rows, slates)
    means = {part: {key: metrics.mean(of) for key, of in per_user.items()} for part, per_user in measured.items()}
    return {"strength": strength, **means, "targets": means["targets"] | compiled.population(rows, slates)}


def baseline_slates(
    models: Mapping[str, Baseline], rows: Rows, compiled: CompiledPolicy
) -> tuple[dict[str, Slates], dict[str, Mapping[str, float]]]:
    """Returns the slates and the tuned settings of the classic recommenders, by name; blocked items are left out."""
    k = compiled.policy.slate
    legal = compiled.legal(rows)
    return (
        {name: baselines.top(model.scores(rows), rows, k, legal) for name, model in models.items()},
        {name: model.settings for name, model in models.items()},
    )
