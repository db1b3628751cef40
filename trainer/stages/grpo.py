"""A recommender and a compiled policy in, the recommender moved by the policy's rewards and targets out.

TRL's GRPOTrainer with four methods overridden (and a fifth timed): completions are sampled under the mask of legal
items and scored under the same mask and temperature, each prompt run once for all its completions; and every place of
a slate has an advantage of its own, in which rules count by their weights and targets by their multipliers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from accelerate.utils import gather  # type: ignore[import-untyped]
from datasets import Dataset as PromptDataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Rows, Slates
from recpolicy.evaluation.group_stats import deviations
from recpolicy.evaluation.targets import Score
from recpolicy.rewards import Judge, Verdict, done, rewards
from recpolicy.trainer.config import Config, Grpo
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.item_mask import Shelf
from recpolicy.trainer.decoding.log_probs import log_probabilities
from recpolicy.trainer.decoding.rollout import chances, decode
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.evaluation.validation import Standing, Validation
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.contexts import Contexts
from recpolicy.trainer.stages import credit
from recpolicy.trainer.stages.monitor import Alarms
from recpolicy.trainer.stages.multiplier_callback import Steering
from recpolicy.trainer.stages.multipliers import Controller
from recpolicy.trainer.stages.objectives import Objectives, Returns
from recpolicy.trainer.stages.sft import BestOnValidation
from recpolicy.trainer.stages.training import Training
from recpolicy.user_model.sources import Scores

A = TypeVar("A", bound=NDArray[Any])

CALIBRATION = 32
"""Prompts whose slates tell the objectives' deviations before the first step."""


class PolicyGRPOTrainer(GRPOTrainer):
    """GRPO over slates. The training data has the columns `prompt` and `row`; rewards are those of `judge`."""

    def __init__(
        self,
        recommender: Recommender,
        judge: Judge,
        objectives: Objectives,
        priors: Scores | None = None,
        beta: float = 0.0,
        by_place: bool = True,
        **settings: Any,
    ) -> None:
        """Takes, beside TRL's `settings`, the prior of each row of the judge and the weight of the divergence from it.

        Without `by_place` every place is credited with the whole slate.
        """
        self._recommender, self._judge, self._objectives, self._priors = recommender, judge, objectives, priors
        self._copies: int = settings["args"].num_generations
        self._rows: list[int] = []  # [B] of the batch in hand
        self._slates = np.zeros((0, 0), np.int32)  # [B, K], of the same
        self._verdict: Verdict | None = None  # of the same
        self._opened = torch.zeros(0)  # [B, K, items] bool, of the same
        self._prior: Tensor | None = None  # [B, items], of the same
        functions: list[str | PreTrainedModel | Callable[..., list[float | None]]] = [*rewards(judge)]
        self._beta, self._by_place = beta, by_place
        self._divergence = torch.zeros(0)  # [B, T], of the batch in hand
        super().__init__(
            model=recommender.trained,
            processing_class=recommender.tokenizer,
            reward_funcs=functions,
            rollout_func=self._sample,
            **settings,
        )

    def _sample(self, prompts: list[str], _: GRPOTrainer) -> dict[str, Any]:
        """A completion for each of the prompts, which belong to `_rows`."""
        model = self.accelerator.unwrap_model(self.model)
        with self._timed("sampling"), prefix_sharing.evaluating(model):
            ids, completion, self._opened, self._prior = sample(
                self._recommender,
                self._judge,
                prompts,
                self._rows,
                self.temperature,
                chances(
                    self.args.seed,
                    self.state.global_step + 1,  # 0 is what was sampled before the first
                    self.accelerator.process_index * len(prompts),
                    len(prompts),
                    self._recommender.form.longest,
                ),
                None if self._priors is None else self._priors[self._rows],
            )
            self._slates = self._recommender.form.slates(completion).cpu().numpy()
        pad = self._recommender.form.pad
        return {
            "prompt_ids": ids,
            "completion_ids": [[t for t in row if t != pad] for row in completion.tolist()],
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
        """Each rule's part of R for the slates as sampled, [B of all processes, rules]; NaN where not applicable."""
        with self._timed("rewards"):
            verdict = self._verdict = self._judge.verdict(self._slates, self._rows, done(self.state))
            for name, values in zip(self.reward_func_names, verdict.values.T, strict=True):
                for value in values[~np.isnan(values)].tolist():  # one by one, so that processes share one mean
                    self._log_metric(f"rules/{name}", value)
            found: Tensor = gather(torch.from_numpy(verdict.parts).float().to(self.accelerator.device))
        return found

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = [example["row"] for example in inputs]
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        completion = output["completion_ids"]
        with self._timed("advantages"):
            verdict = self._verdict
            assert verdict is not None
            rows = self._judge.rows.take(verdict.row)
            returns = self._objectives.returns(rows, verdict.valid, verdict.progress)
            everybodys = Returns(self._everybodys(returns.values), self._everybodys(returns.weights))
            self._objectives.notice(everybodys)
            for name, value in self._objectives.report(everybodys, self._copies).items():
                self._note(name, value)
            self._note("valid_slates", float((verdict.valid.items >= 0).all(1).mean()))
            first = self.accelerator.process_index * len(inputs)
            own = slice(first, first + len(inputs))
            whole = credit.of_slates(self._objectives.worth(everybodys), self._copies)[own]
            places = np.repeat(whole[:, None], verdict.slates.shape[1], 1)
            if self._by_place:
                places = self._credited(rows, verdict, self._objectives.worth(returns), own)
        by_place, of_slate = (torch.from_numpy(x).float().to(completion.device) for x in (places, whole))
        advantages = self._recommender.form.spread(by_place, of_slate, completion)
        found = output | {"advantages": advantages, "opened": self._opened}
        return found if self._prior is None else found | {"prior": self._prior}

    def _credited(self, rows: Rows, verdict: Verdict, worth: Floats, own: slice) -> Floats:
        """What each place of the process's `own` slates was worth, [B, K]; a group may be split between processes."""
        objectives, at = self._objectives, np.arange(own.start, own.stop)
        within = at % self._copies
        others = np.arange(1, min(credit.OTHERS, self._copies - 1) + 1)[:, None]
        group = at - within + (within + others) % self._copies  # [others, B]
        return credit.of_places(
            verdict.valid.items,
            worth,
            self._everybodys(verdict.valid.items)[group],
            lambda slates, of: objectives.worth(objectives.returns(rows.take(of), Slates(slates), verdict.progress)),
            lambda row, place, item: self._opened[row, place, item].cpu().numpy(),
        )

    def _everybodys(self, values: A) -> A:
        """The values [B, ...] of all processes' slates."""
        if self.accelerator.num_processes == 1:
            return values
        found: A = self.accelerator.gather(torch.from_numpy(values).to(self.accelerator.device)).cpu().numpy()
        return found

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
        self._opened, self._prior = inputs["opened"], inputs.get("prior")  # TRL has permuted the rows since
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
        told = torch.where(attention_mask.bool(), input_ids, form.pad)[:, -logits_to_keep:]

        def score(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            chosen = form.chosen(told)  # the token before goes with the prompt, and those behind change nothing
            end = ids.shape[1] - logits_to_keep + chosen.stop
            states = prefix_sharing.completion_states(bare, ids[:, :end], mask[:, :end], chosen.stop - chosen.start)

            def read(row: Tensor, at: Tensor, among: slice) -> Tensor:
                return prefix_sharing.logits(bare, states[row, at - chosen.start, None], among).squeeze(1)

            return log_probabilities(read, form, told, self._opened, self.temperature, self._prior)

        with self.accelerator.autocast():
            logp, entropy, self._divergence = prefix_sharing.inside(model, input_ids, attention_mask, score)
        return logp, entropy if compute_entropy else None, None


def sample(
    recommender: Recommender,
    judge: Judge,
    prompts: Sequence[str],
    rows: Sequence[int],
    temperature: float,
    chance: Tensor,
    prior: Scores | None = None,
) -> tuple[list[list[int]], Tensor, Tensor, Tensor | None]:
    """A completion for each prompt and training row: prompt ids, completions [B, T], open [B, K, items], prior.

    `chance` as in `decode`; the prior as in `Shelf`.
    """
    ids = recommender.encode(list(prompts))
    of = judge.rows.take(np.asarray(rows))
    legal = judge.compiled.servable(of)
    device, places = recommender.model.device, recommender.form.slate
    shelf = Shelf.of(judge.compiled, of, legal, device, record=places, prior=prior)
    found = decode(recommender.model, recommender.form, ids, shelf, temperature=temperature, chance=chance)
    return ids, found, shelf.opened, shelf.prior


class Metrics(TrainerCallback):
    """Hands what TRL logs at every step on, numbers only."""

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """TRL's log of one step, or its summary at the end, which is left out."""
        logs = kwargs["logs"]
        if "silent_prompts" in logs:
            self.report(state.global_step, {k: float(v) for k, v in logs.items()})


@dataclass(frozen=True)
class Trained:
    """How a training by GRPO ended."""

    best: Score
    stopped: str | None
    """Why it was stopped before its last step, None where it was not."""


class Watcher(Protocol):
    """Who is told how GRPO goes on."""

    def validated(self, step: int, score: Score) -> None:
        """The running average of the weights was measured."""

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """One step was taken; what TRL logged."""

    def steered(self, step: int, standing: Standing, objectives: Objectives) -> None:
        """Targets were measured on the model as it stands, and their multipliers moved."""


def train(
    recommender: Recommender,
    contexts: Contexts,
    judge: Judge,
    validation: Validation,
    config: Config,
    training: Training,
    watcher: Watcher,
) -> Trained:
    """Move the recommender in place by the judge's policy, ending with the weights that were best on validation.

    The judge's rows are those of the contexts. Best is what lacks least of the targets, and among those that lack
    nothing the largest whole reward. The model it starts from takes part, as step 0; a training that goes on from a
    checkpoint has to be given the one it began with.
    Raises UsageError where no list of the first steps was worth more than another.
    """
    settings = config.grpo
    best = BestOnValidation(
        lambda: validation.of(recommender).score,
        settings.averaging,
        settings.evaluate_every,
        settings.steps,
        watcher.validated,
    )
    objectives = Objectives(judge.compiled, np.ones(0))
    controller = Controller({}, 1.0)
    steering = Steering(
        lambda: validation.of(recommender),
        controller,
        objectives,
        settings.steer_every,
        lambda step, standing: watcher.steered(step, standing, objectives),
    )
    if training.checkpoints.last is None:
        start = validation.of(recommender)
        best.begin(recommender.trained, start.score)
        objectives.shown = start.slates
        steering.calibrate(*calibrated(recommender, contexts, judge, objectives, config))
        if judge.compiled.targets:
            steering.move(0, start)
    alarms = Alarms(controller)
    trainer = PolicyGRPOTrainer(
        recommender,
        judge,
        objectives,
        contexts.priors,
        settings.beta,
        settings.credit == "place",
        args=arguments(settings, recommender.form.longest, training),
        train_dataset=PromptDataset.from_dict({"prompt": list(contexts.prompts), "row": contexts.row.tolist()}),
        callbacks=[steering, best, Metrics(watcher.stepped), alarms],
    )
    training.carry_out(trainer, best=best, steering=steering, alarms=alarms)
    return Trained(best.restore(recommender.trained), alarms.stopped)


def calibrated(
    recommender: Recommender,
    contexts: Contexts,
    judge: Judge,
    objectives: Objectives,
    config: Config,
) -> tuple[Floats, float]:
    """The objectives' deviations on slates of the model as it stands, and the mean sum of the rules' weights.

    Every rule has the deviation of R, so that the rules' sum is R itself; a target has its own. The sum is that of a
    policy all of whose ramps have ended; 1 where no rule has weight.
    """
    copies = config.grpo.generations
    first = np.repeat(np.arange(min(CALIBRATION, len(contexts.prompts))), copies)
    rows = contexts.row[first].tolist()
    prior = None if contexts.priors is None else contexts.priors[rows]
    chance = chances(config.seed, 0, 0, len(rows), recommender.form.longest)
    with prefix_sharing.evaluating(recommender.model):
        prompts = [contexts.prompts[at] for at in first.tolist()]
        _, completion, *_ = sample(recommender, judge, prompts, rows, config.grpo.temperature, chance, prior)
    verdict = judge.verdict(recommender.form.slates(completion).cpu().numpy(), rows)
    found = objectives.returns(judge.rows.take(verdict.row), verdict.valid)
    spread = deviations(found.values, copies)
    rules = len(judge.compiled.rules)
    spread[:rules] = deviations(np.nan_to_num(verdict.parts).sum(1, keepdims=True), copies)
    return processes.agreed((spread, float(verdict.weights.sum(1).mean()) or 1.0))


def arguments(settings: Grpo, longest: int, training: Training) -> GRPOConfig:
    """TRL's arguments for these settings; completions have at most `longest` tokens."""
    return GRPOConfig(
        **training.arguments(settings, settings.prompts * settings.generations, "grpo.prompts")
        | {"logging_steps": 1, "lr_scheduler_type": "linear"},
        num_generations=settings.generations,
        max_completion_length=longest,
        temperature=settings.temperature,
        warmup_steps=10,
        weight_decay=0.0,
        loss_type="dr_grpo",
        disable_dropout=True,
    )
