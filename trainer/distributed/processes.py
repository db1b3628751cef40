"""Answers what a run has to know about its processes, and passes values between them.

The processes are started by `accelerate launch` or `torchrun`, one a device. All of them run the whole program. They
share out what is computed for many rows; the main process decides for all. A single process is the main one. Functions
that pass values between processes have to be called by all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import (  # type: ignore[import-untyped]
    DeepSpeedPlugin,
    DistributedType,
    broadcast_object_list,
    gather_object,
)
from torch.distributed import distributed_c10d

from recpolicy.errors import UsageError

T = TypeVar("T")

FSDP = {
    "fsdp_version": "2",
    "fsdp_auto_wrap_policy": "NO_WRAP",  # `sharding` has wrapped the layers before accelerate sees the model
    "fsdp_state_dict_type": "SHARDED_STATE_DICT",
    "fsdp_cpu_ram_efficient_loading": "false",  # would leave all processes but the main one without weights
    "fsdp_activation_checkpointing": "false",  # llm.gradient_checkpointing does it
    "fsdp_offload_params": "false",
}
"""The settings of accelerate's FSDP with which a model is sharded as it is trained and saved here."""


def _state() -> PartialState:
    """Returns accelerate's state of this process; the first call joins the others."""
    return PartialState(cpu=not torch.cuda.is_available())


def count() -> int:
    """Returns the number of processes."""
    return int(_state().num_processes)


def rank() -> int:
    """Returns the number of this process, from 0."""
    return int(_state().process_index)


def sharded() -> bool:
    """Returns whether each process keeps only a part of the model's weights (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def device() -> torch.device:
    """Returns the device on which this process computes."""
    return torch.device(_state().device)


def is_main() -> bool:
    """Returns whether this is the main process, which writes, prints and decides."""
    return bool(_state().is_main_process)


@contextmanager
def process_group() -> Iterator[None]:
    """Runs the whole of a program in all processes, and leaves the process group at the end.

    Only the process that fails first shows its error. The others fail for the same reason, or because it is gone.
    Raises UsageError for a way to share the weights that is not supported.
    """
    state = _state()
    try:
        _refuse_other_sharding()
        yield
    except BaseException:
        if count() > 1 and distributed_c10d._get_default_store().add("recpolicy failed", 1) > 1:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        raise
    state.destroy_process_group()


def _refuse_other_sharding() -> None:
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true" and DeepSpeedPlugin().zero_stage == 3:
        raise UsageError(
            "ZeRO-3 leaves each process a part of the weights, and would fetch the others for every token of a slate",
            where="accelerate",
            help="use FSDP, which gathers them once for many slates, ZeRO-2 or plain processes: see docs/scale.md",
        )
    if not sharded():
        return
    if _state().distributed_type in (DistributedType.NO, DistributedType.MULTI_CPU):
        raise UsageError(
            "FSDP spreads a model over several GPUs, a process each, and these were not started",
            where="accelerate",
            help="on a CPU use plain processes: examples/accelerate/cpu.yaml",
        )
    for key, required in FSDP.items():
        if (value := os.environ.get(key.upper(), "")).lower() != required.lower():
            raise UsageError(
                f"{key} is {value or 'not set'}, and has to be {required}",
                where="accelerate",
                help="set FSDP up as in examples/accelerate/fsdp.yaml: see docs/scale.md",
            )


def main_process_first() -> AbstractContextManager[None]:
    """Runs the block in the main process before the others, which then find what it has written."""
    block: AbstractContextManager[None] = _state().main_process_first()
    return block


def barrier() -> None:
    """Waits until all processes are here."""
    _state().wait_for_everyone()


def on_main(do: Callable[[], T]) -> T:
    """Calls `do` in the main process alone, while the others wait; returns its result in all of them."""
    return broadcast(do() if is_main() else None)  # type: ignore[return-value]


def own_rows(rows: int) -> range:
    """Returns this process's part of `rows` rows: adjacent ones, and each row belongs to one process."""
    return range(rows * rank() // count(), rows * (rank() + 1) // count())


def all_gather(values: Sequence[T]) -> list[T]:
    """Returns the values of all processes, in the order of the processes."""
    return list(values) if count() == 1 else list(gather_object(list(values)))


def broadcast(value: T) -> T:
    """Returns the main process's value in all processes: they go on the same way even if they round differently."""
    if count() == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def batch_share(examples: int) -> float:
    """Computes the weight of this process's mean over `examples` examples, P n_p / max(sum of all n, 1).

    P is the number of processes, n_p the examples of this one; the weight is 1 on average. DDP averages gradients over
    processes with equal weights, however many examples each has.
    """
    every = all_gather([examples])
    return examples * len(every) / max(sum(every), 1) if len(every) > 1 else 1.0


def batch(rows: int, setting: str) -> int:
    """Returns a process's part of a batch of rows. Raises UsageError with the setting if they do not divide evenly."""
    if rows % count():
        raise UsageError(
            f"{rows} rows a step cannot be shared out evenly among {count()} processes",
            where=setting,
            help=f"make it a multiple of {count()}: the settings say how many rows all processes take together",
        )
    return rows // count()
