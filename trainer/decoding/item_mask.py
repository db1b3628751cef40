"""A policy, rows and their legal items in, the items that may stand at the next place of slates that grow out."""

from __future__ import annotations

import torch
from torch import Tensor

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.guard import Guard
from recpolicy.compiler.pool import EVERY_ITEM
from recpolicy.dataset.columns import Bools
from recpolicy.dataset.rows import Rows
from recpolicy.user_model.sources import Scores


class Shelf:
    """What each of B slates may take next: legal, not in the slate already, and no hard quota against it."""

    def __init__(
        self, legal: Tensor, guard: Guard | None = None, *, record: int = 0, prior: Tensor | None = None
    ) -> None:
        """`legal` [B, items] bool. `guard` knows of it and keeps hard quotas. `record`: places to remember.

        `prior` [B, items]: logits that are added to the model's own at every place.
        """
        self._open = legal.clone()
        self._guard = guard
        self.prior = prior
        self.opened = torch.zeros(len(legal), record, legal.shape[1], dtype=torch.bool, device=legal.device)
        """What was open at each place that was filled, [B, record, items]: the mask that scoring needs."""
        if guard is not None:
            self._refresh(guard)

    @staticmethod
    def of(
        compiled: CompiledPolicy | None,
        rows: Rows,
        legal: Bools,
        device: torch.device,
        *,
        record: int = 0,
        prior: Scores | None = None,
    ) -> Shelf:
        """For slates of these rows under a policy, or under none."""
        hard = compiled is not None and any(getattr(rule, "hard", False) for rule in compiled.policy.rules)
        guard = compiled.guard(rows, EVERY_ITEM, legal) if compiled is not None and hard else None
        added = None if prior is None else torch.from_numpy(prior).to(device)
        return Shelf(torch.from_numpy(legal).to(device), guard, record=record, prior=added)

    @property
    def open(self) -> Tensor:
        """Items that may stand at the next place, [B, items] bool."""
        return self._open

    def logits(self, rows: Tensor, own: Tensor) -> Tensor:
        """The model's `own` logits of the items at the next place of the rows [N] with the prior's, [N, items]."""
        return own if self.prior is None else own + self.prior[rows]

    def take(self, rows: Tensor, rank: Tensor, items: Tensor) -> None:
        """Put `items[i]` at place `rank[i]` (from 0), the next one, of slate `rows[i]`; no row twice."""
        if self.opened.shape[1]:
            self.opened[rows, rank] = self._open[rows]
        if self._guard is None:
            self._open[rows, items] = False
        else:
            self._guard.take(items.cpu().numpy(), rows.cpu().numpy())
            self._refresh(self._guard)

    def _refresh(self, guard: Guard) -> None:
        self._open = torch.from_numpy(guard.open).to(self._open.device)
