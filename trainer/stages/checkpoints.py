"""Writes and reads checkpoints, from which a training that was killed goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.stateful import Stateful
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from recpolicy.trainer.distributed import processes

STATE = "stage.pt"
"""The stage's own state in a checkpoint. It is written last: a checkpoint without it was torn by a kill."""


@dataclass(frozen=True)
class Checkpoints:
    """One stage's checkpoints: the trainer's folders, with weights, optimizer and random states, and STATE in each."""

    folder: Path
    last: Path | None
    """The checkpoint to go on from; None if the stage has not started."""

    @staticmethod
    def found(folder: Path) -> Checkpoints:
        """Returns the checkpoints in a folder, which may be missing. Removes all but the last complete one."""
        every = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=_step)
        last = max((path for path in every if (path / STATE).is_file()), key=_step, default=None)
        for path in every:
            if path != last:
                shutil.rmtree(path)
        return Checkpoints(folder, last)

    @property
    def step(self) -> int:
        """The step after which the stage goes on; -1 if it has not started."""
        return _step(self.last) if self.last else -1

    def train(self, trainer: Trainer, **parts: Stateful) -> None:
        """Trains from the last checkpoint on, or from the start, and saves `parts` whenever the trainer saves.

        The next steps depend on the `parts`, and the trainer does not save them itself. A training that has ended is
        not continued; the parts are restored as they were at its end. All training data must be one epoch: in a later
        epoch the trainer does not restore the order of the examples.
        """
        if self.last:
            state = load(self.last / STATE, trainer.args.device)
            for name, part in parts.items():
                part.load_state_dict(state[name])
            if state["ended"]:
                return
        trainer.add_callback(_Saving(parts))
        trainer.train(resume_from_checkpoint=str(self.last) if self.last else None)


@dataclass
class _Saving(TrainerCallback):
    """Completes each checkpoint that the trainer writes, then removes the one before."""

    parts: Mapping[str, Stateful]

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Adds the state of the parts to the checkpoint that the trainer has just written."""
        folder = Path(args.output_dir)
        states = {name: part.state_dict() for name, part in self.parts.items()}
        ended = control.should_training_stop
        save(folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / STATE, {**states, "ended": ended})
        if processes.is_main():
            Checkpoints.found(folder)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values completely or not at all. All processes have to call it.

    The main process writes last. The others write only if the model is sharded: then their states differ.
    """
    if (own := _own(path)) != path:
        _write(own, state)
    processes.barrier()
    if processes.is_main():
        _write(path, state)


def _write(path: Path, state: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".part")
    torch.save(dict(state), temporary)
    os.replace(temporary, path)


def _own(path: Path) -> Path:
    """Returns the file of this process; others than the main process have their own if the model is sharded."""
    other = processes.sharded() and not processes.is_main()
    return path.with_name(f"{path.name}-{processes.rank()}") if other else path


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Reads what this process's `save` wrote, with its tensors on the device."""
    location = "cpu" if device.type == "cpu" else device  # several processes call it cpu:0, which torch cannot load to
    state: dict[str, Any] = torch.load(_own(path), map_location=location, weights_only=True)
    return state
