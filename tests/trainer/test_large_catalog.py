"""Checks a whole run on a catalog that counts as large: candidates, the sampled softmax, sparse classics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recpolicy import cli
from recpolicy.dataset import candidates
from recpolicy.user_model import retrieval
from tests.trainer import platform, short

POLICY = """
policy "long" { language = 1  data = "simulator"  slate = 4 }
reward relevance weight 0.5 = ndcg(next_items)
reward surprise  weight 0.3 = novelty(item.popularity)
quota one_voice hard = at most 1 per item.creator
reward order weight 0.1 = lcs(next_items)
target unknown = novelty(item.popularity) >= 5%
"""
FILES = ("eval.json", "samples.json")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The same run twice."""
    home = tmp_path_factory.mktemp("home")
    platform.write(home / "data")
    with short.in_short(home / "cache"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "LARGE", 20)
        patch.setattr(retrieval, "CANDIDATES", 40)
        patch.setattr(retrieval, "BEST", 4)
        made = []
        for name in ("first", "second"):
            (home / name).mkdir()
            (home / name / "long.policy").write_text(POLICY)
            made.append(short.train(home / name / "long.policy", home / name, "--data", str(home / "data")))
        yield made


def read(run: Path) -> Any:
    return json.loads((run / "eval.json").read_text("utf-8"))


def test_the_run_says_what_it_left_out(runs: list[Path]) -> None:
    limits = read(runs[0])["limits"]
    assert any("40 candidates" in note for note in limits) and any("EASE knows" in note for note in limits)


def test_all_systems_are_measured_and_slates_keep_the_hard_quota(runs: list[Path]) -> None:
    evaluation = read(runs[0])
    assert {"sft", "prior", "grpo", "rerank", "ease_rerank", "user_model", "itemknn"} <= set(evaluation["systems"])
    for name in ("sft", "prior", "grpo"):
        assert evaluation["systems"][name]["satisfied"]["one_voice"]["mean"] == 1.0
        assert evaluation["systems"][name]["metrics"]["holes"]["mean"] == 0.0


def test_equal_runs_have_equal_results(runs: list[Path]) -> None:
    first, second = map(read, runs)
    assert first == second


def test_recommend_serves_a_large_catalog(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "--run", str(runs[0]), "--user", "u0000", "u0001"]) == 0
    assert capsys.readouterr().out
