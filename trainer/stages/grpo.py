"""Runs GRPO: calibrates objectives, steers targets, keeps the best weights on validation, stops early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from datasets import Dataset as PromptDataset
from transformers import TrainerCallback
from trl import GRPOConfig

from recpolicy.dataset.columns import Floats
from recpolicy.evaluation.group_stats import group_std
from recpolicy.evaluation.targets import Score
from recpolicy.rewards import RewardComputer
from recpolicy.trainer.config import Config, Grpo
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.rollout import chances
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.contexts import Contexts
from recpolicy.trainer.stages.grpo_trainer import PolicyGRPOTrainer, sample
from recpolicy.trainer.stages.monitor import TrainingMonitor
from recpolicy.trainer.stages.multiplier_callback import MultiplierCallback
from recpolicy.trainer.stages.multipliers import Controller
from recpolicy.trainer.stages.objectives import Objectives
from recpolicy.trainer.stages.sft import BestOnValidation
from recpolicy.trainer.stages.training import Training

CALIBRATION = 32
"""Prompts whose slates tell the objectives' deviations before the first step."""


class Metrics(TrainerCallback):
    """Hands what TRL logs at every step on, numbers only."""

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """TRL's log of one step, or its summary at the end, which is left out."""
        logs = kwargs["logs"]
        if "frac_groups_zero_std" in logs:
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

    def targets_measured(self, step: int, standing: ValidationResult, objectives: Objectives) -> None:
        """Targets were measured on the model as it stands, and their multipliers moved."""


def train(
    recommender: Recommender,
    contexts: Contexts,
    reward_computer: RewardComputer,
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
        settings.ema_decay,
        settings.evaluate_every,
        settings.steps,
        watcher.validated,
    )
    objectives = Objectives(reward_computer.compiled, np.ones(0))
    controller = Controller({}, 1.0)
    multiplier_callback = MultiplierCallback(
        lambda: validation.of(recommender),
        controller,
        objectives,
        settings.steer_every,
        lambda step, standing: watcher.targets_measured(step, standing, objectives),
    )
    if training.checkpoints.last is None:
        start = validation.of(recommender)
        best.begin(recommender.trained, start.score)
        objectives.exposure_slates = start.slates
        multiplier_callback.calibrate(*calibrated(recommender, contexts, reward_computer, objectives, config))
        if reward_computer.compiled.targets:
            multiplier_callback.move(0, start)
    monitor = TrainingMonitor(controller)
    trainer = PolicyGRPOTrainer(
        recommender,
        reward_computer,
        objectives,
        contexts.priors,
        settings.beta,
        settings.credit == "place",
        args=arguments(settings, recommender.form.longest, training),
        train_dataset=PromptDataset.from_dict({"prompt": list(contexts.prompts), "row": contexts.row.tolist()}),
        callbacks=[multiplier_callback, best, Metrics(watcher.stepped), monitor],
    )
    training.carry_out(trainer, best=best, multiplier_callback=multiplier_callback, monitor=monitor)
    return Trained(best.restore(recommender.trained), monitor.stopped)


def calibrated(
    recommender: Recommender,
    contexts: Contexts,
    reward_computer: RewardComputer,
    objectives: Objectives,
    config: Config,
) -> tuple[Floats, float]:
    """The objectives' deviations on slates of the model as it stands, and the mean sum of the rules' weights.

    Every rule has the deviation of R, so that the rules' sum is R itself; a target has its own. The sum is that of a
    policy all of whose ramps have ended; 1 where no rule has weight.
    """
    generations = config.grpo.generations
    first = np.repeat(np.arange(min(CALIBRATION, len(contexts.prompts))), generations)
    rows = contexts.row[first].tolist()
    prior = None if contexts.priors is None else contexts.priors[rows]
    chance = chances(config.seed, 0, 0, len(rows), recommender.form.longest)
    with prefix_sharing.evaluating(recommender.model):
        prompts = [contexts.prompts[at] for at in first.tolist()]
        _, completion, *_ = sample(recommender, reward_computer, prompts, rows, config.grpo.temperature, chance, prior)
    rewards = reward_computer.of_slates(recommender.form.slates(completion).cpu().numpy(), rows)
    found = objectives.returns(reward_computer.rows.take(rewards.row), rewards.valid)
    spread = group_std(found.values, generations)
    rules = len(reward_computer.compiled.rules)
    spread[:rules] = group_std(np.nan_to_num(rewards.parts).sum(1, keepdims=True), generations)
    return processes.broadcast((spread, float(rewards.weights.sum(1).mean()) or 1.0))


def arguments(settings: Grpo, longest: int, training: Training) -> GRPOConfig:
    """TRL's arguments for these settings; completions have at most `longest` tokens."""
    return GRPOConfig(
        **training.arguments(settings, settings.prompts_per_step * settings.generations, "grpo.prompts_per_step")
        | {"logging_steps": 1, "lr_scheduler_type": "linear"},
        num_generations=settings.generations,
        max_completion_length=longest,
        temperature=settings.temperature,
        warmup_steps=10,
        weight_decay=0.0,
        loss_type="dr_grpo",
        disable_dropout=True,
    )
