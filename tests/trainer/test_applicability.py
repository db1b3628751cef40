"""Checks that every shipped policy trains, whatever data it is for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from recpolicy import data
from tests.examples.test_sandboxes import GOOD, name
from tests.trainer.short import in_short, train

SAMPLES = sorted((Path(__file__).parents[2] / "policies").glob("*.policy"))


@pytest.fixture(scope="module", autouse=True)
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of stages with ML-100K in it."""
    data.open("ml-100k", seed=0)
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(data.cache() / "ml-100k", cache / "ml-100k")
    with in_short(cache):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("policy", [*SAMPLES, *GOOD], ids=lambda path: name(path) if path in GOOD else path.stem)
def test_every_shipped_policy_trains(policy: Path, tmp_path: Path) -> None:
    if policy.stem == "house_rules":
        pytest.skip("house rules have no slate of their own: other policies use them")
    own_data = ["--data", str(policy.parent)] if policy in GOOD else []
    run = train(policy, tmp_path, *own_data, "--as-of", "2024-10-05")
    found = json.loads((run / "eval.json").read_text())
    assert found["verdict"] in ("SHIP", "DO NOT SHIP", "UNDECIDED") and found["reason"]
