"""A trainer and what else its stage goes by in, checkpoints from which a training that was killed goes on out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from recpolicy.trainer.distributed import processes

STATE = "stage.pt"
"""The stage's own state in a checkpoint. It is written last: a checkpoint without it was torn by a kill."""


class Stateful(Protocol):
    """A part of a stage, beside the trainer's own, on which its next steps depend."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes while it trains, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be as it was when `state_dict` gave this."""


@dataclass(frozen=True)
class Checkpoints:
    """One stage's checkpoints: the trainer's folders, with weights, optimizer and random states, and STATE in each."""

    folder: Path
    last: Path | None
    """The one to go on from; None where the stage has yet to begin."""

    @staticmethod
    def found(folder: Path) -> Checkpoints:
        """Those in a folder, which may be missing. All but the last whole one are removed."""
        every = sorted(folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=_step)
        last = max((path for path in every if (path / STATE).is_file()), key=_step, default=None)
        for path in every:
            if path != last:
                shutil.rmtree(path)
        return Checkpoints(folder, last)

    @property
    def step(self) -> int:
        """The step after which the stage goes on; -1 where it has yet to begin."""
        return _step(self.last) if self.last else -1

    def train(self, trainer: Trainer, **parts: Stateful) -> None:
        """Train from the last checkpoint on, or from the beginning, and save `parts` whenever the trainer saves.

        A training that had come to its end is not taken up again; the parts are as they were then. All training data
        must be one epoch: in a later one the trainer does not find back to the order of the examples.
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
    """Makes a checkpoint that the trainer has written whole, then removes the one before."""

    parts: Mapping[str, Stateful]

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir)
        states = {name: part.state_dict() for name, part in self.parts.items()}
        ended = control.should_training_stop
        save(folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / STATE, {**states, "ended": ended})
        if processes.first():
            Checkpoints.found(folder)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values whole or not at all, once all processes have written what they had to.

    All have to ask. The first writes; where the model is sharded, and their states differ, the others do, too, before.
    """
    if (own := _own(path)) != path:
        _write(own, state)
    processes.wait()
    if processes.first():
        _write(path, state)


def _write(path: Path, state: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".part")
    torch.save(dict(state), temporary)
    os.replace(temporary, path)


def _own(path: Path) -> Path:
    """Where this process's state is, beside the first's."""
    other = processes.sharded() and not processes.first()
    return path.with_name(f"{path.name}-{processes.rank()}") if other else path


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """What this process's `save` wrote, with its tensors on the device."""
    there = "cpu" if device.type == "cpu" else device  # several processes call it cpu:0, which torch cannot load to
    state: dict[str, Any] = torch.load(_own(path), map_location=there, weights_only=True)
    return state
