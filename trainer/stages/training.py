"""Sets up the training of a stage: the arguments, reports and checkpoints that all stages have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.stateful import Stateful
from transformers import PrinterCallback, Trainer, TrainerCallback

from recpolicy.trainer.config import Grpo, Sft
from recpolicy.trainer.distributed import processes
from recpolicy.trainer.stages.checkpoints import Checkpoints
from recpolicy.trainer.stages.reporting import Reporting

LOGGED = 10
"""Steps between two reports of the loss."""

TIMED_STEPS = 5
"""Steps after which the remaining time of a stage is estimated."""

LONG = 30 * 60
"""Remaining seconds from which the user is informed."""


@dataclass
class TimeEstimate(TrainerCallback):
    """Informs the user early if a stage is going to take long."""

    tell: Callable[[str], None]
    first: int = -1
    began: float = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes the time when the first step begins."""
        if self.first < 0:
            self.first, self.began = state.global_step, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Estimates the remaining time after PACED steps."""
        taken, left = state.global_step - self.first, state.max_steps - state.global_step
        if taken == TIMED_STEPS:
            seconds = (time.monotonic() - self.began) / taken * left
            if seconds >= LONG:
                self.tell(
                    f"about {seconds / 3600:.1f} hours for {left:,} steps more; docs/training.md says what is faster"
                )


@dataclass(frozen=True)
class Training:
    """How one stage is trained: from which checkpoint, with which seed, and where it is reported."""

    checkpoints: Checkpoints
    reporting: Reporting
    seed: int
    tell: Callable[[str], None]
    """Shows a message to the user."""

    def arguments(self, settings: Sft | Grpo, batch: int, key: str) -> dict[str, Any]:
        """Returns the arguments that all trainers have in common.

        `batch` is the number of rows a step, of all processes together; `key` is the setting that gives it.
        Raises UsageError if the processes cannot share the batch evenly.
        """
        return {
            "output_dir": str(self.checkpoints.folder),
            "max_steps": settings.steps,
            "per_device_train_batch_size": processes.batch(batch, key),
            "learning_rate": settings.learning_rate,
            "lr_scheduler_type": "constant_with_warmup",
            "seed": self.seed,
            "bf16": False,  # a model has the precision that it was loaded with
            "activation_checkpointing": False,  # and does this itself
            "use_cpu": not torch.cuda.is_available(),
            "save_strategy": "steps",
            "save_steps": settings.evaluate_every,
            "logging_strategy": "steps",
            "logging_steps": LOGGED,
            "disable_tqdm": True,
            "log_level_replica": "error",  # the main process logs what there is to log
            **self.reporting.arguments(),
        }

    def carry_out(self, trainer: Trainer, **parts: Stateful) -> None:
        """Trains from the last checkpoint on, as if never interrupted; `parts` are those of `Checkpoints.train`."""
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(TimeEstimate(self.tell))
        self.reporting.follow(trainer)
        self.checkpoints.train(trainer, **parts)
