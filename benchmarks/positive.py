"""Measures what it is worth to say which interactions count: NDCG of long views, every row taken or long views alone.

`python -m benchmarks.positive FOLDER`, with KuaiRand-Pure in FOLDER: two thirds of its rows are videos that were shown
and not watched for long. Both ways know the rows before the same moment of each user and are asked for the same long
views after it.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq

from recpolicy import data
from recpolicy.dataset.columns import Bools, Codes, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates, Split
from recpolicy.evaluation import baselines
from recpolicy.evaluation.metrics import accuracy, mean

K, HELD = 10, 5
POSITIVE = "long_view is 1"


def main(folder: Path) -> None:
    """Prints NDCG@10 of every classic recommender, fitted in each way."""
    with TemporaryDirectory() as at:
        for table in ("items", "users", "interactions"):
            shutil.copy(folder / f"{table}.parquet", at)
        everything = data.open(at)
        schema = replace(everything.schema, interactions=replace(everything.schema.interactions, positive=POSITIVE))
        positive = data.open(at, schema)
    split = data.split(positive, holdout=HELD)
    rows = _all_rows(folder, positive, split)
    share = 1 - len(positive.item) / len(everything.item)
    print(f"{share:.0%} of the rows are no `{POSITIVE}`; {len(split.test):,} users, {HELD} long views each held out\n")
    print("| | every row counts | long views count |\n|---|---|---|")
    both = [_quality(*rows), _quality(positive, split)]
    for name in both[0]:
        print(f"| {name} | {both[0][name]:.4f} | {both[1][name]:.4f} |")


def _quality(dataset: Dataset, split: Split) -> dict[str, float]:
    """NDCG@10 of the test rows, by every classic recommender."""
    models = baselines.fit(dataset, split, K)
    test = split.test.sample(4000, seed=0)
    out = {}
    for name, model in models.items():
        parts = [baselines.top(model.scores(part), part, K) for _, part in test.batches(256)]
        slates = Slates(np.concatenate([part.items for part in parts]))
        out[name] = mean(accuracy("ndcg", test, slates))
    return out


def _all_rows(folder: Path, positive: Dataset, split: Split) -> tuple[Dataset, Split]:
    """The data set in which every row counts, cut for each user where `split` cuts the long views."""
    frame = pq.read_table(folder / "interactions.parquet").to_pandas()
    user = frame["user_id"].map({name: row for row, name in enumerate(positive.user_ids)}).to_numpy()
    item = frame["item_id"].map({name: row for row, name in enumerate(positive.item_ids)}).to_numpy().astype(np.int32)
    order, long = frame["order"].to_numpy(), frame["long_view"].to_numpy() == 1
    start, kept = _first(user, item, order, np.ones(len(user), np.bool_))
    long_start, long_kept = _first(user, item, order, long)
    assert np.array_equal(item[long_kept], positive.item), "both readings know the same long views in the same order"
    dataset = replace(positive, start=start, item=item[kept], time=np.full(len(kept), np.nan), shown=None)

    def cut(at: Ints) -> Ints:
        """The place among all rows of long views by their place among long views, [users]."""
        stamp = order[long_kept[np.minimum(at, len(long_kept) - 1)]]
        before = [np.searchsorted(order[kept[b:e]], s) for b, e, s in zip(start, start[1:], stamp, strict=False)]
        return np.where(at < long_start[1:], start[:-1] + np.array(before), start[1:])

    tested = split.test.user
    ends = {"validation": split.train_end, "test": split.train_end.copy()}
    ends["test"][tested] = long_start[tested + 1] - split.test.next_items.lengths

    def rows(part: Rows, at: Ints) -> Rows:
        history = Ragged.slices(dataset.item, start[:-1][part.user], at[part.user])
        return replace(part, history=history)

    return dataset, replace(
        split,
        train_end=cut(ends["validation"]),
        validation=rows(split.validation, cut(ends["validation"])),
        test=rows(split.test, cut(ends["test"])),
    )


def _first(user: Ints, item: Codes, order: Ints, counts: Bools) -> tuple[Ints, Ints]:
    """Where each user's rows start, and the rows that count, in order: of every user and item the first."""
    rows = np.flatnonzero(counts)
    rows = rows[np.lexsort((order[rows], user[rows]))]
    rows = rows[np.sort(np.unique(user[rows] * 10**6 + item[rows], return_index=True)[1])]
    return np.append(0, np.cumsum(np.bincount(user[rows], minlength=user.max() + 1))), rows


if __name__ == "__main__":
    main(Path(sys.argv[1]))
