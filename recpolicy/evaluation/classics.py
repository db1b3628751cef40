"""Fits the classic recommenders: those of `baselines`, or sparse ones where a catalog is too large for these.

Beyond `candidates.LARGE` items, or CELLS users x items, EASE knows the best-known items only, and ItemKNN keeps few
neighbours: memory grows with the events, not with users x items or items x items. Each is tuned for NDCG@K as in
`baselines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from recpolicy.dataset.candidates import is_large
from recpolicy.dataset.columns import Codes, Floats, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates, Split
from recpolicy.evaluation import baselines, linear
from recpolicy.evaluation.baselines import SHRINKS, Baseline, Ease, Factors, Popularity, top
from recpolicy.evaluation.linear import LinearRecommender
from recpolicy.evaluation.metrics import accuracy, mean

CELLS = 600_000_000
"""Most users x items of a matrix: 2.4 GB, and twice that while EASE is fitted."""
HEAD = 3000
"""Best-known items that EASE knows."""
WEIGHTS = 200
"""Weights of EASE that are kept for each item, those with the largest absolute values."""
NEIGHBOURS = (20, 50, 100)
"""Neighbours of each item that are tried."""
TUNED_ON = 300
"""Most validation users that settings are tuned on."""
PAIRS = 4_000_000_000
"""Most pairs of items of one user that ItemKNN counts, over all users."""
AT_ONCE = 20_000_000
"""Pairs that are counted at once."""


def is_sparse(dataset: Dataset) -> bool:
    """Returns whether a matrix of all users and items is too large for this data set."""
    return is_large(dataset.items.rows) or len(dataset.user_ids) * dataset.items.rows > CELLS


def fit(dataset: Dataset, split: Split, k: int) -> dict[str, Baseline]:
    """Fits `popularity`, `itemknn`, `ease` and `ease_recency`; `left_out` says what is missing of a large catalog."""
    if not is_sparse(dataset):
        return baselines.fit(dataset, split, k)
    seen = taken(dataset, split)
    rows = split.validation.sample(TUNED_ON, seed=0)
    models: list[Baseline] = [Popularity(takers(seen))]
    if _pairs(seen) <= PAIRS:
        models.append(_itemknn(seen, rows, k))
    return {model.name: model for model in (*models, *_ease(seen, rows, k))}


def left_out(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """Says what the classic recommenders of a large catalog leave out, one sentence each."""
    items = dataset.items.rows
    if not is_sparse(dataset):
        return ()
    notes = [f"EASE knows the {HEAD:,} best-known of {items:,} items: a matrix of all by all does not fit into memory."]
    if (pairs := _pairs(taken(dataset, split))) > PAIRS:
        notes.append(f"ItemKNN is left out: users have {pairs:,} pairs of items, more than {PAIRS:,}.")
    return tuple(notes)


def taken(dataset: Dataset, split: Split) -> sparse.csr_array:
    """Builds the training matrix X, [users, items] float32: the weight of what the user took in the training part."""
    user, item, weight = baselines.training_events(dataset, split)
    shape = len(dataset.user_ids), dataset.items.rows
    offsets = np.append(0, np.cumsum(np.bincount(user, minlength=shape[0])))
    seen = sparse.csr_array((weight, item, offsets), shape)
    seen.sort_indices()
    return seen


def takers(seen: sparse.csr_array) -> linear.Scores:
    """Sums the weights of the training users who took each item, [items]; without weights their number."""
    return np.bincount(seen.indices, seen.data, seen.shape[1]).astype(np.float32)


def _pairs(seen: sparse.csr_array) -> int:
    return int((np.diff(seen.indptr).astype(np.int64) ** 2).sum())


# ---- ItemKNN --------------------------------------------------------------------------------------------------------


def _itemknn(seen: sparse.csr_array, rows: Rows, k: int) -> LinearRecommender:
    """ItemKNN by the number of neighbours that is best, then by the shrinkage."""

    def model(count: int, similarity: sparse.csr_array, shrink: float) -> LinearRecommender:
        votes = largest(similarity, count).T.tocsr()  # row j: the items that have j as a neighbour
        return LinearRecommender("itemknn", votes, None, {"neighbours": count, "shrink": shrink})

    def best(models: Iterable[LinearRecommender]) -> LinearRecommender:
        return max(models, key=lambda m: mean(accuracy("ndcg", rows, Slates(linear.best(m.unseen(rows), k)))))

    similar = neighbours(seen, SHRINKS, NEIGHBOURS[-1])
    count = int(best(model(count, similar[0], SHRINKS[0]) for count in NEIGHBOURS).settings["neighbours"])
    return best(model(count, similarity, shrink) for similarity, shrink in zip(similar, SHRINKS, strict=True))


def neighbours(seen: sparse.csr_array, shrinks: Sequence[float], most: int) -> list[sparse.csr_array]:
    """Computes each item's most similar items, one matrix [items, items] for each shrinkage.

    Row i holds the neighbours of item i, each with together / (sqrt(taken x taken') + shrink).
    """
    by_item, norm = seen.T.tocsr(), np.sqrt(takers(seen).astype(np.float64))
    parts: list[list[sparse.csr_array]] = [[] for _ in shrinks]
    for block in _blocks(by_item @ np.diff(seen.indptr)):
        together = (by_item[block] @ seen).tocsr()
        item = np.repeat(np.arange(block.start, block.stop), np.diff(together.indptr))
        together.data[item == together.indices] = 0.0
        for part, shrink in zip(parts, shrinks, strict=True):
            scale = np.maximum(norm[item] * norm[together.indices] + shrink, 1.0)
            cosine = (together.data / scale).astype(np.float32)
            part.append(largest(sparse.csr_array((cosine, together.indices, together.indptr), together.shape), most))
    return [sparse.vstack(part, "csr") for part in parts]


def largest(rows: sparse.csr_array, most: int) -> sparse.csr_array:
    """Returns the largest positive entries of each row, at most so many; of equal ones those that come first."""
    rows.sort_indices()
    kept = rows.data > 0
    for row in np.flatnonzero(np.diff(rows.indptr) > most):
        own = slice(rows.indptr[row], rows.indptr[row + 1])
        values = rows.data[own]
        least = np.partition(values, -most)[-most]
        larger = values > least
        larger[np.flatnonzero(values == least)[: most - np.count_nonzero(larger)]] = True
        kept[own] &= larger
    offsets = np.append(0, np.cumsum(kept))[rows.indptr]
    return sparse.csr_array((rows.data[kept], rows.indices[kept], offsets), rows.shape)


def _blocks(cost: Floats) -> Iterator[slice]:
    """Cuts the items into runs whose costs sum to AT_ONCE at most, or that are one item."""
    total, first = np.cumsum(cost), 0
    while first < len(cost):
        end = int(np.searchsorted(total, (total[first - 1] if first else 0.0) + AT_ONCE, "right"))
        yield slice(first, max(end, first + 1))
        first = max(end, first + 1)


# ---- EASE -----------------------------------------------------------------------------------------------------------


def _ease(seen: sparse.csr_array, rows: Rows, k: int) -> tuple[LinearRecommender, LinearRecommender]:
    """EASE of the HEAD best-known items, without and with a half-life; what lies outside has the score 0."""
    items = seen.shape[1]
    head = np.sort(np.argsort(-takers(seen), kind="stable")[:HEAD])
    place = np.full(items, -1, np.int32)
    place[head] = np.arange(len(head))
    of_head = seen[:, head]
    spectrum, basis = baselines.positive_part((of_head.T @ of_head).toarray().astype(np.float64))
    factors = Factors(basis.astype(np.float32), spectrum.astype(np.float32))
    some = replace(rows, history=_renumbered(rows.history, place), next_items=_renumbered(rows.next_items, place))
    plain, recent = baselines.tuned_ease(factors, lambda m: mean(accuracy("ndcg", some, top(m.scores(some), some, k))))
    return _among_all(plain, head, items), _among_all(recent, head, items)


def _renumbered(lists: Ragged, place: Codes) -> Ragged:
    """The values that have a place, as their place."""
    row, value = np.repeat(np.arange(len(lists)), lists.lengths), place[lists.values]
    offsets = np.append(0, np.cumsum(np.bincount(row[value >= 0], minlength=len(lists))))
    return Ragged(offsets, value[value >= 0])


def _among_all(model: Ease, head: Ints, items: int) -> LinearRecommender:
    """EASE of some items as a recommender of all."""
    rows, columns, values = [], [], []
    for first in range(0, len(head), baselines.BLOCK):
        block = model.weights(slice(first, min(first + baselines.BLOCK, len(head))))
        most = min(WEIGHTS, len(head))
        at = np.argpartition(-np.abs(block), most - 1, 1)[:, :most]
        rows.append(np.repeat(head[first : first + len(block)], most))
        columns.append(head[at].ravel())
        values.append(np.take_along_axis(block, at, 1).ravel())
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return LinearRecommender(model.name, sparse.csr_array(entries, (items, items)), model.half_life, model.settings)
