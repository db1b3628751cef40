"""Masks the items that may stand at the next place of a slate while it is decoded."""

from __future__ import annotations

import torch
from torch import Tensor

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.hard_quotas import HardQuotaMask
from recpolicy.dataset.columns import Bools
from recpolicy.dataset.rows import Rows
from recpolicy.evaluation.linear import Scores


class ItemMask:
    """The items that each of B slates may take next: servable, not in the slate yet, and allowed by hard quotas."""

    def __init__(
        self,
        legal: Tensor,
        guard: HardQuotaMask | None = None,
        *,
        record: int = 0,
        prior: Tensor | None = None,
        candidates: Tensor | None = None,
    ) -> None:
        """Starts from `legal` [B, items] bool; the `guard` of hard quotas was built with the same items.

        `record` is the number of places that `history` covers, `prior` [B, items] the logits that are added to the
        model's at every place. With `candidates` [B, C], the items of each row's columns, all arrays are [B, C].
        """
        self.allowed = legal.clone()
        """Items that may stand at the next place, [B, items] bool."""
        self.history = torch.zeros(len(legal), record, legal.shape[1], dtype=torch.bool, device=legal.device)
        """Items that were allowed at each filled place, [B, record, items] bool: the mask that the loss needs."""
        self.prior, self.candidates = prior, candidates
        self._guard = guard
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
    ) -> ItemMask:
        """Returns the mask for slates of these rows, with the hard quotas of a policy if there is one."""
        guard = compiled.guard(rows, rows.columns, legal) if compiled is not None and compiled.hard_quotas else None
        added = None if prior is None else torch.from_numpy(prior).to(device)
        allowed, columns = torch.from_numpy(legal).to(device), item_columns(rows, device)
        return ItemMask(allowed, guard, record=record, prior=added, candidates=columns)

    def logits(self, rows: Tensor, own: Tensor) -> Tensor:
        """Returns the model's `own` logits [N, items] of the rows [N] plus the prior's, [N, items]."""
        return own if self.prior is None else own + self.prior[rows]

    def items(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Returns the items that stand in these columns of the rows, [N]."""
        return columns if self.candidates is None else self.candidates[rows, columns]

    def advance(self, rows: Tensor, rank: Tensor, items: Tensor) -> None:
        """Puts the item of column `items[i]` at place `rank[i]` (from 0), the next one, of slate `rows[i]`.

        No row may occur twice.
        """
        if self.history.shape[1]:
            self.history[rows, rank] = self.allowed[rows]
        if self._guard is None:
            self.allowed[rows, items] = False
        else:
            self._guard.take(items.cpu().numpy(), rows.cpu().numpy())
            self._refresh(self._guard)

    def _refresh(self, guard: HardQuotaMask) -> None:
        self.allowed = torch.from_numpy(guard.open).to(self.allowed.device)


def item_columns(rows: Rows, device: torch.device) -> Tensor | None:
    """Returns the items of the columns of arrays over rows and items, [B, C]; None: a column is an item."""
    return None if rows.columns is None else torch.from_numpy(rows.columns).long().to(device)
