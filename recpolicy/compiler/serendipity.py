"""Computes serendipity: how far the hits are from the items of the history, rank by rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy.compiler.candidate_batch import CandidateBatch, bare
from recpolicy.compiler.catalog import NOTHING
from recpolicy.compiler.distance import Distances, distances
from recpolicy.compiler.encoded_column import Columns
from recpolicy.compiler.measures import FailOnMissingState, MeasureState, fail_on_missing
from recpolicy.compiler.places import PlacesState
from recpolicy.compiler.relevance import next_different, next_hits
from recpolicy.compiler.spread import typical_distance
from recpolicy.dataset.columns import Bools, Codes, Floats, Ragged
from recpolicy.language.policy import Missing, Serendipity

AT_ONCE = 2048
"""Hits that are compared with their histories at once: bounds the pairs of a hit and a history item."""


@dataclass(frozen=True, eq=False)
class SerendipityMeasure:
    """Sum over the hits of the mean distance to the history's known items, over min(K, different next items).

    Unexpectedness of what is useful (after Ge et al., RecSys 2010), with the distance to the history as the measure of
    the unexpected. A hit without a value is worth `typical`, or ends the slate's value as in `distance`.
    """

    distances: Distances
    typical: float
    fail: bool
    k: int
    """Places of a slate, for slates that grow."""

    def marginals(self, batch: CandidateBatch) -> Floats:
        """Computes what each place adds, [B, K], only where there are next items, real or expected."""
        out = self._worth(batch, batch.shape[1])
        return fail_on_missing(out, self.missing(batch)) if self.fail else out

    def start(self, batch: CandidateBatch) -> MeasureState:
        """Starts with empty slates, of rows with label probabilities."""
        assert batch.rows.label_probabilities is not None, "candidates are weighed by expected labels"
        state = PlacesState(self._worth(batch, self.k), np.ones(self.k), None)
        return FailOnMissingState(state, self.missing(batch)) if self.fail else state

    def _worth(self, batch: CandidateBatch, k: int) -> Floats:
        """What each candidate is worth by itself in a slate of k places, [B, C]."""
        labels, missing, ideal = (
            batch.rows.label_probabilities,
            self.missing(batch),
            np.clip(next_different(batch), 1, k),
        )
        hits = next_hits(batch) if labels is None else labels.of(batch.items)
        out = np.zeros(batch.shape)
        assert batch.items is not None
        row, place = np.nonzero(hits)
        item, whose = batch.items[row, place], row if labels is None else labels.at[row]
        # rows that share a line of probabilities are of one context: in training the same few items come up many times
        key = whose * (int(item.max(initial=0)) + 1) + item
        _, first, again = np.unique(key, return_index=True, return_inverse=True)
        distance = np.zeros(len(first))
        for at in range(0, len(first), AT_ONCE):
            some = first[at : at + AT_ONCE]
            distance[at : at + AT_ONCE] = self._to_history(item[some], self._known(batch.rows.history.take(row[some])))
        worth = np.where(missing[row, place], self.typical, distance[again])
        out[row, place] = hits[row, place] * worth / ideal[row]
        return out

    def applicable(self, batch: CandidateBatch) -> Bools:
        """Finds the rows with next items, real or expected, and with a known value in the history, [B]."""
        return (next_different(batch) > 0) & (self._known(batch.rows.history).lengths > 0)

    def missing(self, batch: CandidateBatch) -> Bools:
        """Finds the places whose item has no value, [B, K]."""
        return self.distances.missing_at(batch)

    def _known(self, history: Ragged) -> Ragged:
        """The items of each history that have a value."""
        known = np.isin(history.values, self.distances.known)
        offsets = np.append(0, known.cumsum())[history.offsets]
        return Ragged(offsets.astype(np.int64), history.values[known])

    def _to_history(self, items: Codes, history: Ragged) -> Floats:
        """Mean distance of each item to the items of its history, [hits]; 0 where that is empty."""
        hit = np.repeat(np.arange(len(items)), history.lengths)  # [pairs]
        pairs = CandidateBatch(NOTHING, bare(hit), np.stack([items[hit], history.values], 1))  # [pairs, 2]
        distance = self.distances.to(pairs, np.zeros(len(hit), np.int64))[:, 1]
        return np.bincount(hit, distance, len(items)) / np.maximum(history.lengths, 1)


def serendipity(node: Serendipity, columns: Columns, k: int) -> SerendipityMeasure:
    """Compiles `serendipity`."""
    pairs = distances(node.column.name, columns)
    typical = typical_distance(pairs) if node.missing is Missing.MEAN else 0.0
    return SerendipityMeasure(pairs, typical, node.missing is Missing.FAIL, k)
