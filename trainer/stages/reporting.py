"""Reports what is measured in training to TensorBoard, Weights & Biases and MLflow, through the trainers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from recpolicy.errors import UsageError

PROJECT = "recpolicy"
"""The project of Weights & Biases, the experiment of MLflow; their own environment variables name another."""


def refuse_missing(reporters: Sequence[str]) -> None:
    """Raises UsageError for a reporter that is not installed."""
    for name in reporters:
        if find_spec(name) is None:
            raise UsageError(f"`{name}` is not installed", where="report_to", help=f"pip install {name}")


@dataclass
class Reporting(TrainerCallback):
    """Reports of one stage. In each reporter the stage is one run, named `RUN/STAGE`.

    A trainer reports itself what it logs. Other measurements go through the same trainer.
    """

    reporters: Sequence[str]
    folder: Path
    """The run's."""
    stage: str
    waiting: list[dict[str, float]] = field(default_factory=list)
    trainer: Trainer | None = None

    def arguments(self) -> dict[str, Any]:
        """Returns the trainer's arguments about reporting."""
        if not self.reporters:
            return {"report_to": []}
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.folder / "tensorboard" / self.stage)
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", PROJECT)
        return {"report_to": list(self.reporters), "run_name": f"{self.folder.resolve().name}/{self.stage}"}

    def follow(self, trainer: Trainer) -> None:
        """Sends all further reports through this trainer."""
        if self.reporters:
            self.trainer = trainer
            trainer.add_callback(self)

    def report(self, values: Mapping[str, float]) -> None:
        """Reports what was measured at the current step, or before the first one."""
        if self.reporters:
            self.waiting.append(dict(values))

    def on_step_end(self, *_: Any, **kwargs: Any) -> None:
        """Passes on what was reported since the last call, by the callbacks before this one or before training."""
        assert self.trainer is not None
        due = self.trainer.control.should_log  # the step's own report; each report below would cancel it
        for values in self.waiting:
            Trainer.log(self.trainer, values)  # TRL's own `log` would take the means of a step before its end
        self.trainer.control.should_log = due
        self.waiting.clear()

    on_train_begin = on_step_end

    def on_train_end(self, *_: Any, **kwargs: Any) -> None:
        """Ends the run of this stage: otherwise Weights & Biases would add the next stage to it."""
        if "wandb" in self.reporters:
            import_module("wandb").finish()
