"""Runs GRPO: calibrates objectives, moves multipliers, keeps the best weights on validation, stops early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from datasets import Dataset as PromptDataset
from trl import GRPOConfig

from recpolicy.dataset.columns import Floats
from recpolicy.evaluation.group_stats import group_std
from recpolicy.evaluation.targets import Score
from recpolicy.rewards import RewardComputer
from recpolicy.trainer.config import Config, Grpo
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.decoding.rollout import uniforms
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.evaluation.validation import Validation, ValidationResult
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.contexts import Contexts
from recpolicy.trainer.stages.grpo_trainer import PolicyGRPOTrainer, sample
from recpolicy.trainer.stages.monitor import TrainingMonitor
from recpolicy.trainer.stages.multiplier_callback import MultiplierCallback
from recpolicy.trainer.stages.multipliers import Controller
from recpolicy.trainer.stages.objectives import Objectives
from recpolicy.trainer.stages.sft import BestCheckpoint
from recpolicy.trainer.stages.training import Training

CALIBRATION = 32
"""Prompts whose slates give the objectives' deviations before the first step."""


@dataclass(frozen=True)
class Trained:
    """How a training by GRPO ended."""

    best: Score
    stopped: str | None
    """Why it was stopped before its last step; None if it was not."""


class ProgressListener(Protocol):
    """Receives the progress of GRPO."""

    def validated(self, step: int, score: Score) -> None:
        """Receives the score of the running average of the weights."""

    def stepped(self, step: int, values: Mapping[str, float]) -> None:
        """Receives what TRL logged of one step."""

    def targets_measured(self, step: int, result: ValidationResult, objectives: Objectives) -> None:
        """Receives the targets of the model as it is now, with the multipliers that follow from them."""


def train(
    recommender: Recommender,
    contexts: Contexts,
    reward_computer: RewardComputer,
    validation: Validation,
    config: Config,
    training: Training,
    listener: ProgressListener,
) -> Trained:
    """Trains the recommender in place by GRPO; it ends with the weights that were best on validation.

    The rows of the reward computer are those of the contexts. The best weights lack least of the targets; among those
    that lack nothing, they have the largest reward. The model at the start takes part, as step 0. To resume from a
    checkpoint, pass the model that the training began with.
    Raises UsageError if no list of the first steps was worth more than another.
    """
    settings = config.grpo
    measure = partial(validation.of, recommender)
    best = BestCheckpoint(
        lambda: measure().score, settings.ema_decay, settings.evaluate_every, settings.steps, listener.validated
    )
    objectives = Objectives(reward_computer.compiled, np.ones(0))
    controller = Controller({}, 1.0)
    multiplier_callback = MultiplierCallback(
        measure,
        controller,
        objectives,
        settings.steer_every,
        lambda step, result: listener.targets_measured(step, result, objectives),
    )
    if training.checkpoints.last is None:
        start = measure()
        best.begin(recommender.trained, start.score)
        objectives.exposure_slates = start.slates
        multiplier_callback.calibrate(*calibrate(recommender, contexts, reward_computer, objectives, config))
        if reward_computer.compiled.targets:
            multiplier_callback.move(0, start)
    monitor = TrainingMonitor(controller, listener.stepped)
    trainer = PolicyGRPOTrainer(
        recommender,
        reward_computer,
        objectives,
        contexts.priors,
        settings.beta,
        settings.credit == "place",
        args=arguments(settings, recommender.form.longest, training),
        train_dataset=PromptDataset.from_dict({"prompt": list(contexts.prompts), "row": contexts.row.tolist()}),
        callbacks=[multiplier_callback, best, monitor],
    )
    training.carry_out(trainer, best=best, multiplier_callback=multiplier_callback, monitor=monitor)
    return Trained(best.restore(recommender.trained), monitor.stopped)


def calibrate(
    recommender: Recommender,
    contexts: Contexts,
    reward_computer: RewardComputer,
    objectives: Objectives,
    config: Config,
) -> tuple[Floats, float]:
    """Computes the objectives' deviations on slates of the model, and the mean sum of the rules' weights.

    A deviation is that of the values in a group of slates (`group_std`). Every rule has the deviation of R, so that the
    rules' sum is R itself; a target has its own. The sum is that of a policy all of whose ramps have ended, or 1 if no
    rule has weight.
    """
    generations = config.grpo.generations
    first = np.repeat(np.arange(min(CALIBRATION, len(contexts.prompts))), generations)
    rows = contexts.row[first].tolist()
    prior = None if contexts.priors is None else contexts.priors[rows]
    draws = uniforms(config.seed, 0, 0, len(rows), recommender.form.longest)
    with prefix_sharing.evaluating(recommender.model):
        prompts = [contexts.prompts[at] for at in first.tolist()]
        _, completion, *_ = sample(recommender, reward_computer, prompts, rows, config.grpo.temperature, draws, prior)
    rewards = reward_computer.of_slates(recommender.form.slates(completion).cpu().numpy(), rows)
    returns = objectives.returns(reward_computer.rows.take(rewards.row), rewards.valid)
    spread = group_std(returns.values, generations)
    rules = len(reward_computer.compiled.rules)
    spread[:rules] = group_std(np.nan_to_num(rewards.parts).sum(1, keepdims=True), generations)
    return processes.broadcast((spread, float(rewards.weights.sum(1).mean()) or 1.0))


def arguments(settings: Grpo, longest: int, training: Training) -> GRPOConfig:
    """Returns TRL's arguments for these settings; completions have at most `longest` tokens."""
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
