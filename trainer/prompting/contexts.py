"""Holds what GRPO asks a model: prompts of users as they stand at the end of their training parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recpolicy.data import rows_at
from recpolicy.dataset.columns import Ints
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.user_model.sources import Scores


@dataclass(frozen=True, eq=False)
class Contexts:
    """What GRPO asks a model: prompts, and which of the judge's rows each one is of. A row may come up many times."""

    prompts: Sequence[str]
    row: Ints
    """[prompts], numbers of the judge's rows."""
    priors: Scores | None = None
    """[judge's rows, items], logits that are added to the model's own; None for a model without a prior."""


def endings(dataset: Dataset, split: Split) -> Rows:
    """A row at the end of each user's training part, without next items: what followed is held out."""
    users = np.flatnonzero(split.train_end > dataset.start[:-1])
    end = split.train_end[users]
    return rows_at(dataset, users, end, 0, end)
