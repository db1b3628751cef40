"""Checks the snippets of docs/scoring.md; Ray and Spark give the same scores."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recpolicy import data
from recpolicy.scoring import Scorer

PAGE = Path(__file__).parents[2] / "docs" / "scoring.md"
SNIPPETS = re.findall(r"^```python\n((?:.*\n)*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.open("fresh_first", "simulator")


@pytest.fixture
def slates(tmp_path: Path) -> pa.Table:
    """Slates, also as the file that the page reads."""
    dataset = data.open("simulator")
    rng = np.random.default_rng(0)
    users = [f"{dataset.user_ids[u]}" for u in rng.integers(0, dataset.users.rows, 1000)]
    items = [[dataset.item_ids[i] for i in rng.permutation(dataset.items.rows)[:10]] for _ in users]
    table = pa.table({"user_id": users, "items": items, "next_items": [row[3:5] for row in items]})
    pq.write_table(table, tmp_path / "slates.parquet")
    return table


def run(word: str, folder: Path) -> str:
    """What the snippet with that word prints."""
    [snippet] = [text for text in SNIPPETS if word in text]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"PYSPARK_PYTHON": sys.executable, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    process = subprocess.run(
        [sys.executable, "-c", snippet], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return process.stdout


def by_row(scores: pa.Table) -> list[dict[str, object]]:
    return sorted(scores.to_pylist(), key=repr)


def test_page_snippet_scores_table(slates: pa.Table, scorer: Scorer, tmp_path: Path) -> None:
    assert run("read_table", tmp_path).strip() == str(scorer(slates).column("reward"))


def test_page_snippet_compiles_policy(tmp_path: Path) -> None:
    assert "supply.ranks: list<item: double>" in run("params=", tmp_path)


def test_record_batches_equal_table(slates: pa.Table, scorer: Scorer) -> None:
    found = scorer(iter(slates.to_batches(max_chunksize=300)))
    assert pa.Table.from_batches(found).combine_chunks().equals(scorer(slates).combine_chunks())


def test_pickled_scorer_gives_same_scores(slates: pa.Table, scorer: Scorer) -> None:
    assert pickle.loads(pickle.dumps(scorer))(slates).equals(scorer(slates))


def test_schema_attribute_matches_scores(slates: pa.Table, scorer: Scorer) -> None:
    assert scorer(slates).schema.equals(scorer.schema)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (pip install 'ray[data]')")
def test_ray_scores_equal_local_scores(slates: pa.Table, scorer: Scorer, tmp_path: Path) -> None:
    run("import ray", tmp_path)
    assert by_row(pq.read_table(tmp_path / "scores")) == by_row(scorer(slates))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyspark") is None, reason="Spark is not installed (pip install pyspark)")
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark_scores_equal_local_scores(slates: pa.Table, scorer: Scorer, tmp_path: Path) -> None:
    run("import SparkSession", tmp_path)
    assert by_row(pq.read_table(tmp_path / "scores")) == by_row(scorer(slates))
