"""Moves the multipliers of a policy's targets while a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Slates
from recpolicy.evaluation.group_stats import FLOOR
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.evaluation.aims import Aim
from recpolicy.trainer.evaluation.validation import ValidationResult
from recpolicy.trainer.stages.multipliers import Controller
from recpolicy.trainer.stages.objectives import Objectives


@dataclass
class MultiplierCallback(TrainerCallback):
    """Measures the policy's targets every few steps on greedy slates and moves their multipliers.

    It measures the model as it is now, not the running average of its weights, which lags behind. Between two
    measurements, a target is assumed to move as it moves on the slates that are sampled in training: a model that makes
    for a target at full speed may go from nothing to far beyond it within twenty steps.
    """

    measure: Callable[[], ValidationResult]
    controller: Controller
    objectives: Objectives
    every: int
    report: Callable[[int, ValidationResult], None]
    aims: tuple[Aim, ...] = ()
    """From the last measurement."""
    then: dict[str, float] = field(default_factory=dict)
    """The running values of the targets at the last measurement."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measures the targets when it is time; otherwise estimates them from the sampled slates."""
        if not self.objectives.compiled.targets:
            return
        if state.global_step % self.every == 0:
            self.move(state.global_step, processes.broadcast(self.measure()))
            return
        now = self.objectives.running_values
        self.then = self.then or dict(now)
        moved = {name: value - self.then.get(name, value) for name, value in now.items()}
        estimated = [replace(aim, value=aim.value + moved.get(aim.name, 0.0)) for aim in self.aims]
        self.objectives.multipliers = self.controller.multipliers_for(estimated)

    def move(self, step: int, result: ValidationResult) -> None:
        """Updates every multiplier from a measurement of the model."""
        self.objectives.multipliers = self.controller.update(result.aims)
        self.aims, self.then = result.aims, dict(self.objectives.running_values)
        self.objectives.exposure_slates = result.slates
        self.report(step, result)

    def state_dict(self) -> dict[str, Any]:
        """Returns the multipliers and all that they depend on."""
        exposure_slates = self.objectives.exposure_slates
        return {
            "deviations": torch.from_numpy(self.objectives.group_std),
            "scale": self.controller.scale,
            "sums": dict(self.controller.sums),
            "multipliers": dict(self.objectives.multipliers),
            "running_values": dict(self.objectives.running_values),
            "aims": [astuple(aim) for aim in self.aims],
            "then": dict(self.then),
            "exposure_slates": None if exposure_slates is None else torch.from_numpy(exposure_slates.items),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.calibrate(state["deviations"].cpu().numpy(), state["scale"])
        self.controller.sums = dict(state["sums"])
        self.objectives.multipliers, self.objectives.running_values = (
            dict(state["multipliers"]),
            dict(state["running_values"]),
        )
        self.aims, self.then = tuple(Aim(*aim) for aim in state["aims"]), dict(state["then"])
        self.objectives.exposure_slates = (
            None if state["exposure_slates"] is None else Slates(state["exposure_slates"].cpu().numpy())
        )

    def calibrate(self, group_std: Floats, scale: float) -> None:
        """Sets the deviations of all objectives and the sum of the rules' weights; see `grpo.calibrate`."""
        self.objectives.group_std, self.controller.scale = group_std, scale
        named = zip(self.objectives.names, np.maximum(group_std, FLOOR).tolist(), strict=True)
        self.controller.group_std = dict(named)
