"""What is measured in training in, the trainers' own reports to TensorBoard, Weights & Biases and MLflow out."""

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
    """Raise UsageError for a reporter that is not installed."""
    for name in reporters:
        if find_spec(name) is None:
            raise UsageError(f"`{name}` is not installed", where="report_to", help=f"pip install {name}")


@dataclass
class Reporting(TrainerCallback):
    """Reports of one stage, which is one run there, named `RUN/STAGE`.

    What a trainer logs it reports itself. What is measured beside it, the run's log has `told`, takes the same way.
    """

    reporters: Sequence[str]
    folder: Path
    """The run's."""
    stage: str
    waiting: list[dict[str, float]] = field(default_factory=list)
    trainer: Trainer | None = None

    def arguments(self) -> dict[str, Any]:
        """What the trainer's arguments are to say of it."""
        if not self.reporters:
            return {"report_to": []}
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.folder / "tensorboard" / self.stage)
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", PROJECT)
        return {"report_to": list(self.reporters), "run_name": f"{self.folder.resolve().name}/{self.stage}"}

    def follow(self, trainer: Trainer) -> None:
        """Report by this trainer from now on."""
        if self.reporters:
            self.trainer = trainer
            trainer.add_callback(self)

    def tell(self, values: Mapping[str, float]) -> None:
        """Report what was measured at the step in hand, or before the first."""
        if self.reporters:
            self.waiting.append(dict(values))

    def on_train_begin(self, *_: Any, **kwargs: Any) -> None:
        """Report what was measured before."""
        self._report()

    def on_step_end(self, *_: Any, **kwargs: Any) -> None:
        """Report what the callbacks before this one have measured."""
        self._report()

    def on_train_end(self, *_: Any, **kwargs: Any) -> None:
        """End the run of this stage: Weights & Biases would add the next stage to it."""
        if "wandb" in self.reporters:
            import_module("wandb").finish()

    def _report(self) -> None:
        assert self.trainer is not None
        due = self.trainer.control.should_log  # the step's own report, of which any other takes the place
        for values in self.waiting:
            Trainer.log(self.trainer, values)  # TRL's own would take the means of a step before its end
        self.trainer.control.should_log = due
        self.waiting.clear()
