"""Builds the contexts that GRPO samples: prompts of users at the end of their training parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recpolicy.data import rows_at
from recpolicy.dataset.columns import Ints
from recpolicy.dataset.rows import Dataset, Rows, Split
from recpolicy.evaluation.linear import Scores


@dataclass(frozen=True, eq=False)
class Contexts:
    """Prompts for GRPO, and the row of the reward computer that each one belongs to. A row may have many prompts."""

    prompts: Sequence[str]
    row: Ints
    """Numbers of rows, [prompts]."""
    priors: Scores | None = None
    """Logits that are added to the model's own, [rows, items]; None for a model without a prior."""


def endings(dataset: Dataset, split: Split) -> Rows:
    """Returns a row at the end of each user's training part, without next items: what followed is held out.

    In a split by time they are all at the time at which training ends, as validation rows are.
    """
    users = np.flatnonzero(split.train_end > dataset.start[:-1])
    end = split.train_end[users]
    rows = rows_at(dataset, users, end, 0, end)
    return rows if split.validation_from is None else replace(rows, now=np.full(len(rows), split.validation_from))
