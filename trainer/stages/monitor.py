"""Reports what TRL logs of each GRPO step, and stops a training that no longer learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback

from recpolicy.errors import UsageError
from recpolicy.trainer.stages.multipliers import CAP, Controller

PATIENCE = 20
"""Steps a bad sign has to last."""

AT_THE_CAP = 100
"""Steps a multiplier may stay at its largest."""

COLLAPSED = 0.05
"""Share of the first steps' entropy below which the samples of a prompt are as good as one."""


@dataclass
class TrainingMonitor(TrainerCallback):
    """Stops GRPO when it has nothing to learn from, or has collapsed; `stopped` then gives the reason."""

    controller: Controller
    report: Callable[[int, Mapping[str, float]], None]
    """Receives the number and the log of every step."""
    stopped: str | None = None
    entropy: list[float] = field(default_factory=list)
    lasted: dict[str, int] = field(default_factory=dict)
    """Steps that each sign has lasted so far."""

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reports and checks the log of one step. Raises UsageError if no step so far had any signal."""
        logs: Mapping[str, float] = kwargs["logs"]
        if "frac_groups_zero_std" not in logs:  # the summary at the end
            return
        step = state.global_step
        self.report(step, {key: float(value) for key, value in logs.items()})
        self.entropy.append(logs.get("entropy", math.nan))
        first = sum(self.entropy[:5]) / len(self.entropy[:5])
        silent = self._lasts("silent", logs.get("frac_groups_zero_std", 0.0) == 1.0)
        if silent >= PATIENCE:
            if silent == step:
                raise UsageError(
                    f"in the first {step} steps all lists of every prompt earned the same reward",
                    where="grpo",
                    help=_constant(logs),
                )
            self._stop(control, f"for {silent} steps all lists of every prompt have earned the same reward")
        if self._lasts("entropy", self.entropy[-1] < COLLAPSED * first) >= PATIENCE:
            now = f"its choices have an entropy of {self.entropy[-1]:.2g}, at the start {first:.2g}"
            self._stop(control, f"the model has collapsed to one list a prompt: {now}")
        if not math.isfinite(logs.get("loss", 0.0)) or not math.isfinite(logs.get("grad_norm", 0.0)):
            self._stop(control, "the loss is not a number any more: lower `grpo.learning_rate`")
        for name, value in self.controller.sums.items():
            if self._lasts(f"cap/{name}", value >= CAP) >= AT_THE_CAP:
                what = f"target `{name}` has had its largest multiplier for {AT_THE_CAP} steps and is not reached"
                self._stop(control, f"{what}: lower its bound, or what the rest of the policy asks against it")

    def state_dict(self) -> dict[str, Any]:
        """Returns what was seen so far."""
        return {"stopped": self.stopped, "entropy": list(self.entropy), "lasted": dict(self.lasted)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.stopped, self.entropy, self.lasted = state["stopped"], list(state["entropy"]), dict(state["lasted"])

    def _lasts(self, sign: str, present: bool) -> int:
        self.lasted[sign] = self.lasted.get(sign, 0) + 1 if present else 0
        return self.lasted[sign]

    def _stop(self, control: Any, why: str) -> None:
        self.stopped = self.stopped or why
        control.should_training_stop = True


def _constant(logs: Mapping[str, float]) -> str:
    rules = [f"`{key[6:]}` is {value:.3g}" for key, value in logs.items() if key.startswith("rules/")]
    prefix = f"every list has the same value: {', '.join(rules)}; " if rules else ""
    return f"{prefix}give the policy a rule or a target that tells lists apart, or raise `grpo.temperature`"
