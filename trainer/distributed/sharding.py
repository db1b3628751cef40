"""Spreads the weights of a model over the processes (FSDP 2), and gathers them where all are needed at once.

In the loss, a layer's weights are gathered before it runs and dropped after it. Decoding runs every layer once a token:
there, all weights are gathered once, before, and the processes do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from recpolicy.errors import UsageError
from recpolicy.trainer.distributed import processes


def placed(model: PreTrainedModel | PeftModel) -> None:
    """Puts the model, or with FSDP this process's part of it, on the device of this process.

    This is done once, before any trainer sees the model. Raises UsageError for FSDP of a model with adapters.
    """
    if not processes.sharded():
        model.to(processes.device())  # type: ignore[arg-type]  # transformers wraps the method without its types
        return
    if isinstance(model, PeftModel):
        raise UsageError(
            "FSDP spreads what training needs beside the weights, and adapters (LoRA) need almost nothing of it",
            where="accelerate",
            help="use plain processes (examples/accelerate/gpus.yaml), or `llm.lora_rank = 0` to train all weights",
        )
    layers = model._no_split_modules or ()
    for module in [m for m in model.modules() if type(m).__name__ in layers]:
        fully_shard(module)
    fully_shard(model)


def own(weight: Tensor) -> Tensor:
    """Returns this process's part of a weight, in the same memory."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def whole(model: nn.Module) -> dict[str, Any] | None:
    """Returns the full state dict of a sharded model in the main process, and an empty one in the others.

    Tied weights occur once. Returns None for a model that is not sharded. All processes have to call it.
    """
    if not isinstance(model, FSDPModule):
        return None
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    once, every = ({name for name, _ in model.named_parameters(remove_duplicate=same)} for same in (True, False))
    return {name: weight for name, weight in state.items() if name not in every - once}


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Gathers all weights of the model in every process, for a block that trains nothing.

    Does nothing within a forward pass of the model, or if they are gathered already. All processes have to call it.
    """
    if not isinstance(model, FSDPModule) or not isinstance(next(model.parameters()), DTensor):
        yield
        return
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]

    def gather() -> None:
        for unit in units:
            unit.unshard()

    model.set_reshard_after_forward(False)
    with forward(model, gather):
        model()  # FSDP expects that the whole model is called before its parts
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(unit is not model, recurse=False)
        model.reset_iter_state()  # as after an abandoned training step: sharded again, and no call remembered


@contextmanager
def forward(model: nn.Module, run: Callable[..., Any]) -> Iterator[None]:
    """Replaces the model's forward pass by `run` for a block; what wraps the model's own then wraps `run`."""
    before = model.__dict__.get("forward")  # TRL and accelerate put theirs there
    model.forward = run
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before
