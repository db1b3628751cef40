"""Measures how evenly a column's values are shown in the slates of all users, and what would change that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch
from recpolicy.compiler.encoded_column import Columns, EncodedColumn
from recpolicy.compiler.measures import MeasureState, discount
from recpolicy.compiler.places import PlacesState
from recpolicy.dataset.columns import Floats
from recpolicy.dataset.rows import Slates
from recpolicy.language.policy import Population


@dataclass(frozen=True, eq=False)
class PopulationMetric:
    """A compiled population measure."""

    measure: Literal["coverage", "gini", "largest_share"]
    column: EncodedColumn
    k: int

    def value(self, slates: Slates) -> float:
        """Computes the measure over slates [B, K], in [0, 1]; 0 where nothing is shown or the catalog has no value.

        `coverage` is the share of the catalog's n values shown to anybody. `gini` is
        sum of (2 i - n - 1) x_i / ((n - 1) sum of x), x the exposures in ascending order: the sample Gini coefficient
        times n / (n - 1) (Deltas, Review of Economics and Statistics 2003), 1 where one value has everything.
        `largest_share` is the largest exposure over all exposure.
        """
        return self.value_of(self.exposure(slates))

    def value_of(self, exposure: Floats) -> float:
        """Computes the measure from the exposures of the values, [values]."""
        exposure, n = np.sort(exposure), self.column.size
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

    def exposure(self, slates: Slates) -> Floats:
        """Sums w(r) over the places whose item has a value, shared equally among an item's values, [values]."""
        codes = self.column.codes[slates.items]  # [B, K, longest]
        share = self.column.shares_of(slates.items) * discount(self.k)  # [B, K]
        each = np.broadcast_to(share[..., None], codes.shape)
        return np.bincount(codes.ravel(), each.ravel(), self.column.size + 1)[: self.column.size].astype(np.float64)

    def slopes(self, exposure: Floats) -> Floats:
        """Computes how the measure grows with the exposure of each value, at these exposures, [values].

        Scaled so that a slate's marginals lie in [-1, 1]. With X all exposure and f the measure:

        `largest_share`: X times the derivative, that is 1 - f for the value with the largest exposure (equal ones
        share the 1) and -f for all others.
        `gini`: X times the derivative over 1 + f, that is ((2 i - n - 1) / (n - 1) - f) / (1 + f), i the value's rank
        by exposure; equal ones have their mean rank, which is a subgradient.
        `coverage` is a step at 0 for each value. Its stand-in is the mean of 1 - exp(-x), which rises most for values
        that nobody is shown; n times its derivative, that is exp(-x), in (0, 1].

        Of the first two, where every place has a value, the mean over users of the marginals changes as f does (gini:
        over 1 + f), to first order, when slates change a little. Both are 0 where nothing is shown.
        """
        if self.measure == "coverage":
            return np.exp(-exposure)
        n, f = self.column.size, self.value_of(exposure)
        if not exposure.any():
            return np.zeros(n)
        exposure = exposure.astype(np.float32)  # sums in another order are equal
        if self.measure == "largest_share":
            largest = exposure == exposure.max()
            return np.asarray(largest / np.count_nonzero(largest) - f, np.float64)
        _, same, count = np.unique(exposure, return_inverse=True, return_counts=True)
        rank = (count.cumsum() - (count - 1) / 2)[same]
        return np.asarray(((2 * rank - n - 1) / max(n - 1, 1) - f) / (1 + f), np.float64)

    def of_items(self, slopes: Floats) -> Floats:
        """Computes each item's mean of `slopes` [values] over its values, [items + 1]; the last, a hole, has 0."""
        sums = np.append(slopes, 0.0)[self.column.codes].sum(1)
        return np.asarray(sums * self.column.portions[self.column.lengths], np.float64)

    @property
    def coefficients(self) -> Floats:
        """w(r) over its sum, [K]: what a place counts."""
        w = discount(self.k)
        return np.asarray(w / w.sum(), np.float64)

    def marginals(self, batch: CandidateBatch, exposure_slates: Slates) -> Floats:
        """Computes what each place adds, [B, K]: its coefficient times its item's slope at `exposure_slates`."""
        return self._slopes_at(batch, exposure_slates) * self.coefficients

    def start(self, batch: CandidateBatch, exposure_slates: Slates) -> MeasureState:
        """Starts with empty slates; each place adds what it does in `marginals`."""
        return PlacesState(self._slopes_at(batch, exposure_slates), self.coefficients, None)

    def _slopes_at(self, batch: CandidateBatch, exposure_slates: Slates) -> Floats:
        return batch.of_items(self.of_items(self.slopes(self.exposure(exposure_slates))))


def compile_population(node: Population, columns: Columns, k: int) -> PopulationMetric:
    """Compiles a population measure."""
    return PopulationMetric(node.measure, columns.encoded(node.column.name), k)
