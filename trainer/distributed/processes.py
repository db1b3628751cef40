"""What a run needs to know of the processes it is spread over: a single one is the first and all of them.

They are started by `accelerate launch` or `torchrun`, a process a device. All of them run the whole program; what is
done for many rows is shared out, and what is decided is decided by the first for all.
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
    "fsdp_auto_wrap_policy": "NO_WRAP",  # `sharding` has wrapped the layers before accelerate comes to it
    "fsdp_state_dict_type": "SHARDED_STATE_DICT",
    "fsdp_cpu_ram_efficient_loading": "false",  # would leave all processes but the first without weights
    "fsdp_activation_checkpointing": "false",  # llm.gradient_checkpointing does it
    "fsdp_offload_params": "false",
}
"""The settings of accelerate's FSDP with which a model is sharded as it is trained and saved here."""


def _state() -> PartialState:
    """This process among the others, which it meets on the first call."""
    return PartialState(cpu=not torch.cuda.is_available())


def count() -> int:
    """How many there are."""
    found: int = _state().num_processes
    return found


def rank() -> int:
    """Which of them this is, from 0."""
    found: int = _state().process_index
    return found


def sharded() -> bool:
    """Whether each is to keep a part of a model's weights (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def device() -> torch.device:
    """Where this one computes."""
    found: torch.device = _state().device
    return found


def first() -> bool:
    """Whether this one is the first, which writes, prints and decides."""
    found: bool = _state().is_main_process
    return found


@contextmanager
def together() -> Iterator[None]:
    """The whole of a program that all processes run.

    Whichever fails first says why. The others, which fail for the same reason or because it is gone, keep silent.
    Raises UsageError where they are to share the weights in a way that is not provided for.
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
    for key, wanted in FSDP.items():
        if (found := os.environ.get(key.upper(), "")).lower() != wanted.lower():
            raise UsageError(
                f"{key} is {found or 'not set'}, and has to be {wanted}",
                where="accelerate",
                help="set FSDP up as in examples/accelerate/fsdp.yaml: see docs/scale.md",
            )


def main_process_first() -> AbstractContextManager[None]:
    """Where the first process goes before the others, which find what it has made."""
    ahead: AbstractContextManager[None] = _state().main_process_first()
    return ahead


def wait() -> None:
    """Go on when all are here."""
    _state().wait_for_everyone()


def on_main(do: Callable[[], T]) -> T:
    """What the first process finds when it does this, which the others do not; they wait. All have to ask."""
    return broadcast(do() if first() else None)  # type: ignore[return-value]


def own(rows: int) -> range:
    """Which of so many rows this process sees to: neighbours, none of them another's."""
    rank, all_ = _state().process_index, count()
    return range(rows * rank // all_, rows * (rank + 1) // all_)


def all_gather(found: Sequence[T]) -> list[T]:
    """What all processes found, one after the other. All have to ask."""
    return list(found) if count() == 1 else list(gather_object(list(found)))


def broadcast(value: T) -> T:
    """The first process's value, in all of them: they go on alike even if they round differently.

    All have to ask.
    """
    if count() == 1:
        return value
    told = [value]
    broadcast_object_list(told)
    return told[0]


def batch_share(examples: int) -> float:
    """What a mean over so many examples of this process's counts in the mean over everybody's; 1 on average.

    DDP averages gradients over processes, whatever share of the examples each has. All have to ask.
    """
    every = all_gather([examples])
    return examples * len(every) / max(sum(every), 1) if len(every) > 1 else 1.0


def batch(rows: int, setting: str) -> int:
    """A process's part of a batch of so many rows. Raises UsageError naming the setting where they do not go around."""
    if rows % count():
        raise UsageError(
            f"{rows} rows a step cannot be shared out evenly among {count()} processes",
            where=setting,
            help=f"make it a multiple of {count()}: the settings say how many rows all processes take together",
        )
    return rows // count()
