"""The program trains in short: few steps, few users, and controls that try little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from recpolicy import cli
from recpolicy.dataset.rows import Dataset, Split
from recpolicy.evaluation import baselines
from recpolicy.evaluation.baselines import Baseline
from recpolicy.search import expected
from recpolicy.trainer.evaluation import rerank_control

Fitted: TypeAlias = dict[tuple[str, str, int, int], dict[str, Baseline]]
"""Classic recommenders by data set and places of a list: no policy has a part in them."""

FEW_STRENGTHS = (0.0, 0.8)
SETTINGS = """
validation_users = 50
test_users = 10
[prompt]
history = 20
think = 4
[tiny]
width = 16
layers = 1
[sft]
steps = 2
batch = 8
evaluate_every = 2
[grpo]
steps = 3
prompts_per_step = 2
generations = 2
steer_every = 1
evaluate_every = 3
"""


@contextmanager
def in_short(cache: Path) -> Iterator[None]:
    """Classic recommenders are fitted once for all policies and tuned on few; controls try few strengths and exchanges.

    `cache` is that of runs in this process; programs with a home of their own have their cache there.
    """
    fitted: Fitted = {}
    own = baselines.fit

    def fit(dataset: Dataset, split: Split, k: int) -> dict[str, Baseline]:
        key = dataset.digest, split.by, split.holdout, k
        if key not in fitted:
            fitted[key] = own(dataset, split, k)
        return fitted[key]

    with pytest.MonkeyPatch.context() as around:
        around.setenv("RECPOLICY_CACHE", str(cache))
        around.setattr(baselines, "fit", fit)
        around.setattr(baselines, "TUNED_ON", 50)
        around.setattr(rerank_control, "STRENGTHS", FEW_STRENGTHS)
        around.setattr(rerank_control, "STRONGEST", 1.6)
        around.setattr(expected, "EXCHANGED", 10)
        yield


def train(policy: Path, folder: Path, *more: str) -> Path:
    """The folder of a run by this policy, made by the program in `folder`."""
    (folder / "settings.toml").write_text(SETTINGS)
    run = folder / "run"
    settings = ("--config", str(folder / "settings.toml"), "--out", str(run))
    assert cli.main(["train", str(policy), *settings, *more]) == 0
    return run
