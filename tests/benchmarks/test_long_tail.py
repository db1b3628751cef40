"""Checks the made-up platform with a long tail: what it holds, and that there is something to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import long_tail
from benchmarks.scale import sft_step
from recpolicy import data
from recpolicy.evaluation import baselines
from recpolicy.evaluation.metrics import accuracy, mean


def test_it_is_a_data_folder_with_a_long_tail_and_something_to_learn(tmp_path: Path) -> None:
    folders = [long_tail.write(tmp_path / name, 800, 200, 8000) for name in ("one", "two")]
    dataset, again = map(data.open, folders)
    assert dataset.digest == again.digest and long_tail.write(folders[0], 1, 1, 1) == folders[0]
    assert (dataset.items.rows, dataset.users.rows) == (800, 200) and 5000 < len(dataset.item) < 8000
    taken = np.sort(np.bincount(dataset.item, minlength=800))[::-1]
    assert taken[:80].sum() > taken[400:].sum(), "a tenth of the items has more events than half of them"
    split = data.split(dataset)
    rows = split.test
    ndcg = {
        name: mean(accuracy("ndcg", rows, baselines.top(model.scores(rows), rows, 10)))
        for name, model in baselines.fit(dataset, split, 10).items()
    }
    assert ndcg["ease"] > 2 * ndcg["popularity"]


def test_a_step_is_measured() -> None:
    whole, update = sft_step(30)
    assert 0 < update < whole < 60
