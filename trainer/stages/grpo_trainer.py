"""Trains a recommender by GRPO on the rewards and targets of a compiled policy.

TRL's GRPOTrainer with an advantage for every place of a slate. A batch of completions passes six calls:

1. `_sample`: `decoding.rollout.decode` samples slates under an `ItemMask`; a prompt is run once for all of them.
2. `_calculate_rewards`: `RewardComputer.of_slates` computes the rewards of all rules.
3. `_generate_and_score_completions`: `Objectives.returns` and `.worth` add targets, by their multipliers.
4. `credit.of_places`: the advantage of each place.
5. `_get_per_token_logps_and_entropies`: `log_probabilities` under the mask and temperature of sampling.
6. `_compute_loss`: TRL's loss, plus beta times the divergence from the prior.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from recpolicy.rewards import BatchRewards, RewardComputer, progress_of, reward_functions
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.log_probs import log_probabilities
from recpolicy.trainer.decoding.rollout import chances, decode
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages import credit
from recpolicy.trainer.stages.objectives import Objectives, Returns
from recpolicy.user_model.sources import Scores

A = TypeVar("A", bound=NDArray[Any])


@dataclass
class Batch:
    """The completions in hand: B of this process, sampled for rows of the reward computer."""

    rows: list[int]  # [B]
    slates: Codes | None = None  # [B, K]
    allowed: Tensor | None = None  # [B, K, items] bool, as `ItemMask.history`
    prior: Tensor | None = None  # [B, items]
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
        """Takes, beside TRL's `settings`, the prior of each row [rows, items] and the weight of the divergence from it.

        Without `by_place` every place has the advantage of the whole slate.
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
        """Samples a completion for each of the prompts of the batch."""
        model, form, batch = self.accelerator.unwrap_model(self.model), self._recommender.form, self._batch
        with self._timed("sampling"), prefix_sharing.evaluating(model):
            ids, completion, batch.allowed, batch.prior = sample(
                self._recommender,
                self._computer,
                prompts,
                batch.rows,
                self.temperature,
                chances(
                    self.args.seed,
                    self.state.global_step + 1,  # 0 is what was sampled before the first
                    self.accelerator.process_index * len(prompts),
                    len(prompts),
                    form.longest,
                ),
                None if self._priors is None else self._priors[batch.rows],
            )
            batch.slates = form.slates(completion).cpu().numpy()
        return {
            "prompt_ids": ids,
            "completion_ids": [[t for t in row if t != form.pad] for row in completion.tolist()],
            "logprobs": None,
        }

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Log the seconds that a part of the step takes as `time/PART`; TRL logs the whole as `step_time`."""
        began = time.perf_counter()
        yield
        self._note(f"time/{part}", time.perf_counter() - began)

    def _note(self, key: str, value: float) -> None:
        self._metrics["train"][key].append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step without the values that are about none of its rows, for which TRL would log None."""
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
            self._objectives.notice(gathered)
            for name, value in self._objectives.report(gathered, self._generations).items():
                self._note(name, value)
            self._note("valid_slates", float((rewards.valid.items >= 0).all(1).mean()))
            first = self.accelerator.process_index * len(inputs)
            own = slice(first, first + len(inputs))
            whole = credit.of_slates(self._objectives.worth(gathered), self._generations)[own]
            places = np.repeat(whole[:, None], rewards.valid.items.shape[1], 1)
            if self._by_place:
                places = self._credited(batch, rewards, self._objectives.worth(returns), own)
        by_place, of_slate = (torch.from_numpy(x).float().to(completion.device) for x in (places, whole))
        advantages = self._recommender.form.spread(by_place, of_slate, completion)
        scored = output | {"advantages": advantages, "allowed": batch.allowed}
        return scored if batch.prior is None else scored | {"prior": batch.prior}

    def _credited(self, batch: Batch, rewards: BatchRewards, worth: Floats, own: slice) -> Floats:
        """Computes the advantage of each place of the process's `own` slates, [B, K]; processes may share a group."""
        objectives, at, allowed = self._objectives, np.arange(own.start, own.stop), batch.allowed
        assert allowed is not None
        rows, within = self._computer.rows.take(rewards.row), at % self._generations
        others = np.arange(1, min(credit.OTHERS, self._generations - 1) + 1)[:, None]
        group = at - within + (within + others) % self._generations  # [others, B]
        return credit.of_places(
            rewards.valid.items,
            worth,
            self._all_gather(rewards.valid.items)[group],
            lambda slates, of: objectives.worth(objectives.returns(rows.take(of), Slates(slates), rewards.progress)),
            lambda row, place, item: allowed[row, place, item].cpu().numpy(),
        )

    def _all_gather(self, values: A) -> A:
        """The values [B, ...] of all processes' slates."""
        if self.accelerator.num_processes == 1:
            return values
        found: A = self.accelerator.gather(torch.from_numpy(values).to(self.accelerator.device)).cpu().numpy()
        return found

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
        self._batch = Batch([], allowed=inputs["allowed"], prior=inputs.get("prior"))  # TRL has permuted the rows
        with self._timed("loss"):
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        apart = self._divergence.sum() / len(self._divergence)  # over the places of a slate
        self._note("divergence", float(apart.detach()))
        return loss + self._beta * apart / self._recommender.form.longest / self.current_gradient_accumulation_steps

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
        """Log-probabilities [B, T] of the completions under the mask they were sampled with, and entropies [B, T].

        Their divergence from the prior is kept for the loss.
        """
        form = self._recommender.form
        completion = torch.where(attention_mask.bool(), input_ids, form.pad)[:, -logits_to_keep:]
        allowed, prior = self._batch.allowed, self._batch.prior
        assert allowed is not None

        def score(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            chosen = form.chosen(completion)  # the token before goes with the prompt, and those behind change nothing
            end = ids.shape[1] - logits_to_keep + chosen.stop
            states = prefix_sharing.completion_states(bare, ids[:, :end], mask[:, :end], chosen.stop - chosen.start)

            def read(row: Tensor, at: Tensor, among: slice) -> Tensor:
                return prefix_sharing.logits(bare, states[row, at - chosen.start, None], among).squeeze(1)

            return log_probabilities(read, form, completion, allowed, self.temperature, prior)

        with self.accelerator.autocast():
            logp, entropy, self._divergence = prefix_sharing.inside(model, input_ids, attention_mask, score)
        return logp, entropy if compute_entropy else None, None


def sample(
    recommender: Recommender,
    reward_computer: RewardComputer,
    prompts: Sequence[str],
    rows: Sequence[int],
    temperature: float,
    chance: Tensor,
    prior: Scores | None = None,
) -> tuple[list[list[int]], Tensor, Tensor, Tensor | None]:
    """A completion for each prompt and training row: prompt ids, completions [B, T], open [B, K, items], prior.

    `chance` as in `decode`; the prior as in `ItemMask`.
    """
    ids = recommender.encode(list(prompts))
    of = reward_computer.rows.take(np.asarray(rows))
    legal = reward_computer.compiled.servable(of)
    device, places = recommender.model.device, recommender.form.slate
    item_mask = ItemMask.of(reward_computer.compiled, of, legal, device, record=places, prior=prior)
    completion = decode(recommender.model, recommender.form, ids, item_mask, temperature=temperature, chance=chance)
    return ids, completion, item_mask.history, item_mask.prior
