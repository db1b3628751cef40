"""A model in, its weights spread over the processes (FSDP 2) out, and gathered again for what needs all at once.

In the loss a layer's weights are gathered when it runs and dropped behind it. Decoding runs every layer once a token:
there all are gathered once, before, and processes go on without waiting for each other.
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
    """Put the model where this process computes; where FSDP is asked for, this process's part of it.

    That is done once, before any trainer sees the model: to those of three stages in a row it is sharded already.
    Raises UsageError for a model with adapters.
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
    """What this process has of a weight, in the same memory."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def whole(model: nn.Module) -> dict[str, Any] | None:
    """The state dict of a sharded model in one piece, in the first process; others get an empty one. All have to ask.

    Tied weights are there once. None for a model that lies whole in every process.
    """
    if not isinstance(model, FSDPModule):
        return None
    found = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    once, every = ({name for name, _ in model.named_parameters(remove_duplicate=same)} for same in (True, False))
    return {name: weight for name, weight in found.items() if name not in every - once}


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """The model with all its weights in every process, for as long as nothing is trained. All have to ask.

    Within a forward pass of the model, or where they are gathered already, nothing is done.
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
        model()  # FSDP wants the first call of all to be that of the whole model
    try:
        yield
    finally:
        for unit in units:
            unit.set_reshard_after_forward(unit is not model, recurse=False)
        model.reset_iter_state()  # as after a training step that was given up: sharded again, and no call remembered


@contextmanager
def forward(model: nn.Module, run: Callable[..., Any]) -> Iterator[None]:
    """The model with another forward pass, called with all that wraps its own."""
    before = model.__dict__.get("forward")  # TRL and accelerate put theirs there
    model.forward = run
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before
