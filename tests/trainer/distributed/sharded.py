"""The program, or ten steps of GRPO, in one of two processes on CPUs over which FSDP spreads the weights.

accelerate takes up FSDP only where it finds GPUs: here it is told that the CPUs are such. All else is as on GPUs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from accelerate import PartialState  # type: ignore[import-untyped]
from accelerate.utils import DistributedType  # type: ignore[import-untyped]

from recpolicy.cli import main
from tests.trainer.distributed.together import own_parts

EXAMPLE = Path(__file__).parents[3] / "examples" / "accelerate" / "fsdp.yaml"


def surroundings() -> dict[str, str]:
    """What `accelerate launch` puts into the environment for the example's configuration."""
    settings = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["fsdp_config"]
    return {key.upper(): str(value) for key, value in settings.items()} | {"ACCELERATE_USE_FSDP": "true"}


def take_for_gpus() -> None:
    """Let accelerate do with CPUs what it does with GPUs."""
    own = PartialState.__init__

    def begin(self: PartialState, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin


if __name__ == "__main__":
    os.environ |= surroundings()
    take_for_gpus()
    if sys.argv[1] == "train":
        sys.exit(main())
    own_parts(Path(sys.argv[1]), sys.argv[2:])
