"""Scores slates by a compiled policy, as arrays and as a record batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.partial_slates import divisor
from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.scoring.slates import Logged


@dataclass(frozen=True)
class Scores:
    """The scores of B slates, by the names of the rules."""

    user: Ints  # [B], row of the users table
    reward: Floats  # [B], R in [-1, 1]; NaN where no rule with a weight is applicable
    counts: Mapping[str, NDArray[Any]]
    """[B] each: `blocked` (a truth); places that are `holes`, and of them `unknown` and `repeated` items; places with
    an item of the history, `seen`; items `beyond` the last place; next items that are unknown, `unknown_next`."""
    values: Mapping[str, Floats]  # [B] in [0, 1], NaN where the rule is not applicable
    abstained: Mapping[str, Ints]  # [B], places without a value
    satisfied: Mapping[str, Bools]  # [B], of quotas only
    ranks: Mapping[str, Floats]  # [B, K] marginals; empty unless requested

    def __len__(self) -> int:
        return len(self.user)

    def table(self, user_id: pa.Array) -> pa.RecordBatch:
        """Builds a table with a row for each slate. docs/scoring.md lists the columns; null is not applicable."""
        columns: dict[str, pa.Array] = {
            "user_id": user_id.cast(pa.string()),
            "reward": pa.array(self.reward, from_pandas=True),
        }
        columns |= {name: pa.array(count) for name, count in self.counts.items()}
        for rule, value in self.values.items():
            columns[f"{rule}.value"] = pa.array(value, from_pandas=True)  # NaN becomes null
            columns[f"{rule}.abstained"] = pa.array(self.abstained[rule])
            if rule in self.satisfied:
                columns[f"{rule}.satisfied"] = pa.array(self.satisfied[rule], mask=np.isnan(value))
            if rule in self.ranks:
                columns[f"{rule}.ranks"] = _lists(self.ranks[rule])
        return pa.record_batch(columns)


def judge(compiled: CompiledPolicy, logged: Logged, *, ranks: bool) -> Scores:
    """Scores slates; with `ranks`, also the part of each place."""
    rows, slates = logged.rows, logged.slates
    marginals = compiled.marginals(rows, slates)
    values = {name: by_place.sum(1) for name, by_place in marginals.items()}
    counts = {
        "blocked": compiled.blocked(rows, slates),
        "holes": (slates.items < 0).sum(1),
        **{name: getattr(logged, name) for name in ("unknown", "repeated", "seen", "beyond", "unknown_next")},
    }
    return Scores(
        rows.user,
        _reward(compiled, compiled.weights(rows), values),
        counts,
        values,
        compiled.abstained(rows, slates),
        compiled.satisfied(rows, slates),
        marginals if ranks else {},
    )


def joined(parts: Sequence[Scores]) -> Scores:
    """Concatenates the scores of several parts, at least one."""
    return Scores(
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.reward for part in parts]),
        _concatenated([part.counts for part in parts]),
        _concatenated([part.values for part in parts]),
        _concatenated([part.abstained for part in parts]),
        _concatenated([part.satisfied for part in parts]),
        _concatenated([part.ranks for part in parts]),
    )


def _concatenated(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _reward(compiled: CompiledPolicy, weights: Floats, values: Mapping[str, Floats]) -> Floats:
    """R, [B]: weighted values, buries subtracted, over the sum of the row's `weights` [B, rules]; NaN where it is 0."""
    out = np.zeros(len(weights))
    for rule, weight in zip(compiled.rules, weights.T, strict=True):
        out += rule.sign * weight * np.where(weight == 0, 0.0, values[rule.name])  # NaN only where the weight is 0
    return np.where(weights.any(1), out / divisor(weights), np.nan)


def _lists(marginals: Floats) -> pa.Array:
    flat = pa.array(marginals.ravel(), from_pandas=True)
    offsets = np.arange(len(marginals) + 1, dtype=np.int32) * np.int32(marginals.shape[1])
    return pa.ListArray.from_arrays(offsets, flat)
