"""Fits linear functions from the attributes of items to numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recpolicy.dataset.columns import Floats, Ints
from recpolicy.trainer.models.item_attributes import BLOCK, Attributes

PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-1, 4.5, 0.5))


@dataclass(frozen=True)
class Regression:
    """Linear functions of attributes: `mean + (x - centre) @ slopes`."""

    centre: Floats  # [width]
    mean: Floats  # [targets]
    slopes: Floats  # [width, targets]

    def of(self, x: Floats) -> Floats:
        """Computes the values for attributes `x` [items, width], [items, targets]."""
        return self.mean + (x - self.centre) @ self.slopes


def fit(attributes: Attributes, rows: Ints, targets: Floats) -> Regression:
    """Fits ridge regression of `targets` [rows, targets] on the attributes of these items.

    The slopes are (X^T X + penalty I)^-1 X^T Y of centered X and Y. The penalty is the one of PENALTIES with the least
    leave-one-out errors, in closed form from the diagonal of the hat matrix (Allen's PRESS, Technometrics 1974).
    """
    mask = np.isin(attributes.item, rows)
    centre = np.bincount(attributes.feature[mask], attributes.value[mask], attributes.width) / len(rows)
    mean = targets.mean(0)

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for at in range(0, len(rows), BLOCK):
            yield attributes.of(rows[at : at + BLOCK]) - centre, targets[at : at + BLOCK] - mean

    gram, cross = np.zeros((attributes.width, attributes.width)), np.zeros((attributes.width, targets.shape[1]))
    for x, y in blocks():
        gram += x.T @ x
        cross += x.T @ y
    strength, directions = np.linalg.eigh(gram)
    strength, cross = np.maximum(strength, 0.0)[:, None], directions.T @ cross
    errors = np.zeros(len(PENALTIES))
    for x, y in blocks():
        z = x @ directions
        for i, penalty in enumerate(PENALTIES):
            leverage = 1 / len(rows) + z**2 @ (1 / (strength + penalty))  # [block, 1]
            errors[i] += (((y - z @ (cross / (strength + penalty))) / (1 - leverage)) ** 2).sum()
    penalty = PENALTIES[int(errors.argmin())]
    return Regression(centre, mean, directions @ (cross / (strength + penalty)))
