"""Trains a recommender by GRPO on the rewards and targets of a compiled policy.

It is TRL's GRPOTrainer (Shao et al. 2024) with an advantage for every place of a slate and the loss of Dr. GRPO (Liu et
al. 2025). For B completions y_b of at most T tokens, the loss is

    L = - 1 / (B T) sum over b, t of min(r_bt A_bt, clip(r_bt, 1 - epsilon, 1 + epsilon) A_bt)
        + beta / (B T) sum over b and places k of KL(p_bk || p0_bk)

where r_bt = pi(y_bt) / pi_old(y_bt) under the mask and temperature of sampling, A_bt is the advantage (`credit`) of the
token's place, p_bk the choice of an item at place k, and p0_bk that of the prior alone.

A batch of completions passes six calls:

1. `_sample`: `decoding.rollout.decode` samples slates under an `ItemMask`; a prompt is run once for all of them.
2. `_calculate_rewards`: `RewardComputer.of_slates` computes the rewards of all rules.
3. `_generate_and_score_completions`: `Objectives.returns` and `.worth` add the targets, by their multipliers.
4. `advantages.place_advantages`: the advantage of each place.
5. `_get_per_token_logps_and_entropies`: `log_probabilities` under the mask and temperature of sampling.
6. `_compute_loss`: TRL's loss, plus beta times the divergence from the prior.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate.utils import gather  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from trl import GRPOTrainer

from recpolicy.dataset.columns import Codes, Floats
from recpolicy.dataset.rows import Slates
from recpolicy.evaluation.linear import Scores
from recpolicy.rewards import BatchRewards, RewardComputer, progress_of, reward_functions
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.log_probs import log_probabilities
from recpolicy.trainer.decoding.rollout import decode, uniforms
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages import advantages
from recpolicy.trainer.stages.objectives import Objectives, Returns

A = TypeVar("A", bound=NDArray[Any])


@dataclass
class Batch:
    """The B completions of this process that are being scored, sampled for rows of the reward computer."""

    rows: list[int]  # [B]
    slates: Codes | None = None  # [B, K]
    allowed: Tensor | None = None  # [B, K, items] bool, as `ItemMask.history`
    prior: Tensor | None = None  # [B, items]
    candidates: Tensor | None = None  # [B, C], the items of the columns of the two; None: a column is an item
    rewards: BatchRewards | None = None


class PolicyGRPOTrainer(GRPOTrainer):
    """GRPO over slates. The training data has the columns `prompt` and `row`, a row of `reward_computer`."""

    def __init__(
        self,
        recommender: Recommender,
        reward_computer: RewardComputer,
        objectives: Objectives,
        priors: Scores | None = None,
        beta: float = 0.0,
        by_place: bool = True,
        **settings: Any,
    ) -> None:
        """Sets up the trainer; `priors` [rows, items] are logits, and `beta` weighs the divergence from them.

        Without `by_place` every place has the advantage of the whole slate. `settings` are those of GRPOTrainer.
        """
        self._recommender, self._computer, self._objectives = recommender, reward_computer, objectives
        self._priors, self._beta, self._by_place = priors, beta, by_place
        self._generations: int = settings["args"].num_generations
        self._batch = Batch([])
        self._divergence = torch.zeros(0)  # [B, T], set while log-probabilities are computed
        functions: list[str | PreTrainedModel | Callable[..., list[float | None]]] = [
            *reward_functions(reward_computer)
        ]
        super().__init__(
            model=recommender.trained,
            processing_class=recommender.tokenizer,
            reward_funcs=functions,
            rollout_func=self._sample,
            **settings,
        )

    def _sample(self, prompts: list[str], _: GRPOTrainer) -> dict[str, Any]:
        """Samples a completion for each prompt of the batch."""
        model, form, batch = self.accelerator.unwrap_model(self.model), self._recommender.form, self._batch
        with self._timed("sampling"), prefix_sharing.evaluating(model):
            ids, completion, mask = sample(
                self._recommender,
                self._computer,
                prompts,
                batch.rows,
                self.temperature,
                uniforms(
                    self.args.seed,
                    self.state.global_step + 1,  # 0 is what was sampled before the first
                    self.accelerator.process_index * len(prompts),
                    len(prompts),
                    form.longest,
                ),
                None if self._priors is None else self._priors[batch.rows],
            )
            batch.allowed, batch.prior, batch.candidates = mask.history, mask.prior, mask.candidates
            batch.slates = form.slates(completion).cpu().numpy()
        return {
            "prompt_ids": ids,
            "completion_ids": [[t for t in row if t != form.pad] for row in completion.tolist()],
            "logprobs": None,
        }

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Logs the seconds that a part of the step takes as `time/PART`; TRL logs the whole as `step_time`."""
        began = time.perf_counter()
        yield
        self._note(f"time/{part}", time.perf_counter() - began)

    def _note(self, key: str, value: float) -> None:
        self._metrics["train"][key].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs a step without the values that apply to none of its rows, for which TRL would log None."""
        measured = self._metrics["train"]
        for key in [key for key, values in measured.items() if all(map(math.isnan, values))]:
            del measured[key]
        super().log(logs, start_time)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        """Computes each rule's part of R for the sampled slates, [B of all processes, rules]; NaN off its segment."""
        with self._timed("rewards"):
            assert self._batch.slates is not None
            rewards = self._computer.of_slates(self._batch.slates, self._batch.rows, progress_of(self.state))
            self._batch.rewards = rewards
            for name, values in zip(self.reward_func_names, rewards.values.T, strict=True):
                for value in values[~np.isnan(values)].tolist():  # one by one, so that processes share one mean
                    self._log_metric(f"rules/{name}", value)
            gathered: Tensor = gather(torch.from_numpy(rewards.parts).float().to(self.accelerator.device))
        return gathered

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self._batch = Batch([example["row"] for example in inputs])
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        completion, rewards = output["completion_ids"], batch.rewards
        with self._timed("advantages"):
            assert rewards is not None
            rows = self._computer.rows.take(rewards.row)
            returns = self._objectives.returns(rows, rewards.valid, rewards.progress)
            gathered = Returns(self._all_gather(returns.values), self._all_gather(returns.weights))
            self._objectives.update_running_values(gathered)
            logged = self._objectives.diagnostics(gathered, self._generations)
            for name, value in (logged | {"valid_slates": float((rewards.valid.items >= 0).all(1).mean())}).items():
                self._note(name, value)
            first = self.accelerator.process_index * len(inputs)
            own = slice(first, first + len(inputs))
            whole = advantages.slate_advantages(self._objectives.worth(gathered), self._generations)[own]
            places = np.repeat(whole[:, None], rewards.valid.items.shape[1], 1)
            if self._by_place:
                places = self._credited(batch, rewards, self._objectives.worth(returns), own)
        by_place, of_slate = (torch.from_numpy(x).float().to(completion.device) for x in (places, whole))
        by_token = self._recommender.form.spread(by_place, of_slate, completion)
        given = {"prior": batch.prior, "candidates": batch.candidates}
        given = {key: value for key, value in given.items() if value is not None}
        return output | {"advantages": by_token, "allowed": batch.allowed} | given

    def _credited(self, batch: Batch, rewards: BatchRewards, worth: Floats, own: slice) -> Floats:
        """Computes the advantage of each place of the process's `own` slates, [B, K]; processes may share a group."""
        objectives, at, allowed = self._objectives, np.arange(own.start, own.stop), batch.allowed
        assert allowed is not None
        rows, within = self._computer.rows.take(rewards.row), at % self._generations
        others = np.arange(1, min(advantages.OTHERS, self._generations - 1) + 1)[:, None]
        group = at - within + (within + others) % self._generations  # [others, B]
        bare = replace(rows, candidates=None)
        return advantages.place_advantages(
            rewards.valid.items,
            worth,
            self._all_gather(rewards.valid.items)[group],
            lambda slates, of: objectives.worth(objectives.returns(bare.take(of), Slates(slates), rewards.progress)),
            lambda row, place, item: allowed[row, place, rows.found(row, item)[1]].cpu().numpy(),
        )

    def _all_gather(self, values: A) -> A:
        """Returns the values [B, ...] of the slates of all processes."""
        if self.accelerator.num_processes == 1:
            return values
        gathered: A = self.accelerator.gather(torch.from_numpy(values).to(self.accelerator.device)).cpu().numpy()
        return gathered

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
        prior, candidates = inputs.get("prior"), inputs.get("candidates")  # TRL has permuted the rows
        self._batch = Batch([], allowed=inputs["allowed"], prior=prior, candidates=candidates)
        with self._timed("loss"):
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        divergence = self._divergence.sum() / len(self._divergence)  # summed over the places of a slate
        self._note("divergence", float(divergence.detach()))
        longest, accumulated = self._recommender.form.longest, self.current_gradient_accumulation_steps
        return loss + self._beta * divergence / longest / accumulated

    def _get_per_token_logps_and_entropies(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Computes the completions' log-probabilities [B, T], under the mask of sampling, and entropies [B, T].

        Keeps their divergence from the prior for the loss.
        """
        form = self._recommender.form
        completion = torch.where(attention_mask.bool(), input_ids, form.pad)[:, -logits_to_keep:]
        allowed, prior, candidates = self._batch.allowed, self._batch.prior, self._batch.candidates
        assert allowed is not None

        def score(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            chosen = form.chosen(completion)  # the token before it is read with the prompt; later ones change nothing
            end = ids.shape[1] - logits_to_keep + chosen.stop
            states = prefix_sharing.completion_states(bare, ids[:, :end], mask[:, :end], chosen.stop - chosen.start)

            def read(row: Tensor, at: Tensor, columns: slice | Tensor) -> Tensor:
                if isinstance(columns, Tensor):
                    return prefix_sharing.logits_at(bare, states, columns)[row, at - chosen.start]
                return prefix_sharing.logits(bare, states[row, at - chosen.start, None], columns).squeeze(1)

            return log_probabilities(read, form, completion, allowed, self.temperature, prior, candidates)

        with self.accelerator.autocast():
            logp, entropy, self._divergence = prefix_sharing.inside(model, input_ids, attention_mask, score)
        return logp, entropy if compute_entropy else None, None


def sample(
    recommender: Recommender,
    reward_computer: RewardComputer,
    prompts: Sequence[str],
    rows: Sequence[int],
    temperature: float,
    draws: Tensor,
    prior: Scores | None = None,
) -> tuple[list[list[int]], Tensor, ItemMask]:
    """Samples a completion for each prompt and training row.

    Returns the prompts' token ids, the completions [B, T], and their mask with its history. `draws` is that of
    `decode`, `prior` that of `ItemMask`.
    """
    ids = recommender.encode(list(prompts))
    of = reward_computer.rows.take(np.asarray(rows))
    legal = reward_computer.compiled.servable(of)
    device, places = recommender.model.device, recommender.form.slate
    item_mask = ItemMask.of(reward_computer.compiled, of, legal, device, record=places, prior=prior)
    completion = decode(recommender.model, recommender.form, ids, item_mask, temperature=temperature, draws=draws)
    return ids, completion, item_mask
