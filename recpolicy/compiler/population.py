"""The slates of all users together in, how evenly a column's values are shown out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.compiler.coded import Coded, Columns
from recpolicy.compiler.scan import discount
from recpolicy.dataset import Slates
from recpolicy.policy import Population
from recpolicy.table import Floats


@dataclass(frozen=True, eq=False)
class Crowd:
    """A compiled population measure."""

    measure: Literal["coverage", "gini", "largest_share"]
    column: Coded
    k: int

    def value(self, slates: Slates) -> float:
        """The measure over slates [B, K], in [0, 1]; 0 where nothing is shown or the catalog has no value.

        `coverage` is the share of the catalog's n values shown to anybody. `gini` is
        sum of (2 i - n - 1) x_i / ((n - 1) sum of x), x the exposures in ascending order: the sample Gini coefficient
        times n / (n - 1) (Deltas, Review of Economics and Statistics 2003), 1 where one value has everything.
        `largest_share` is the largest exposure over all exposure.
        """
        exposure, n = np.sort(self._exposure(slates)), self.column.size
        total = exposure.sum()
        if total == 0.0:
            return 0.0
        match self.measure:
            case "coverage":
                return float(np.count_nonzero(exposure) / n)
            case "gini":
                return float(((2 * np.arange(1, n + 1) - n - 1) * exposure).sum() / (max(n - 1, 1) * total))
            case "largest_share":
                return float(exposure[-1] / total)

    def _exposure(self, slates: Slates) -> Floats:
        """Sum of w(r) over the places whose item has a value, shared equally among an item's values; per value."""
        codes = self.column.codes[slates.items]  # [B, K, longest]
        share = self.column.shares_of(slates.items) * discount(self.k)  # [B, K]
        each = np.broadcast_to(share[..., None], codes.shape)
        found = np.bincount(codes.ravel(), each.ravel(), self.column.size + 1)[: self.column.size]
        return found.astype(np.float64)


def crowd(node: Population, columns: Columns, k: int) -> Crowd:
    """Compile a population measure."""
    return Crowd(node.measure, columns.coded(node.column.name), k)
