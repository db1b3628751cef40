"""Checks `recpolicy train` with other prompts: odd titles, candidate pools, no reasoning."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recpolicy import schema
from recpolicy.language import checker
from recpolicy.trainer import pipeline
from recpolicy.trainer.config import Config
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import user_model
from tests.command import recpolicy
from tests.trainer import platform
from tests.trainer.short import in_short
from tests.trainer.test_train import SETTINGS

SHOWING = (
    'policy = true\ntemplate = "{% for i in items + pool %}{{ i.token }} {{ i.title }} {% endfor %}{{ policy }}"\n'
)

ODD = [f"t{i:02} {title}" for i, title in enumerate(platform.ODD)]
"""Numbered, so that data holds them in one order however they are written."""
PLAIN = [" ".join(re.findall(r"\w+", title)) for title in ODD]
"""The same words and nothing else."""


@pytest.fixture(scope="module", autouse=True)
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_short(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of data, alike but for how titles are written, a run on each; one whose prompts show odd titles."""
    home = tmp_path_factory.mktemp("home")
    platform.write(home / "plain", PLAIN)
    platform.write(home / "odd", ODD)
    (home / "settings.toml").write_text(SETTINGS)
    (home / "showing.toml").write_text(SETTINGS.replace("[prompt]\n", "[prompt]\n" + SHOWING))
    for run, data, *more in (
        ("plain-run", "plain", "--config", "settings.toml"),
        ("odd-run", "odd", "--config", "settings.toml"),
        ("pooled", "odd", "--config", "showing.toml", "--pool", "15", "--no-think"),
    ):
        done = recpolicy(home, "train", "relevance", "--data", data, "--out", run, *more)
        assert done.returncode == 0, done.stderr
        (home / f"{run}.txt").write_text(done.stdout)
    return home


@pytest.mark.slow
def test_odd_titles_outside_prompts_give_same_evaluation(home: Path) -> None:
    plain, odd = ((home / run / "eval.json").read_bytes() for run in ("plain-run", "odd-run"))
    assert plain == odd
    assert (home / "plain" / "items.jsonl").read_bytes() != (home / "odd" / "items.jsonl").read_bytes()


@pytest.mark.slow
def test_pooled_run_reports_and_uses_pools(home: Path) -> None:
    about = json.loads((home / "pooled" / "run.json").read_text())
    said = " ".join((home / "pooled.txt").read_text().split())
    assert "15 items to choose from" in said and "pools of 15 items ranked" in said
    assert json.loads((home / "pooled" / "eval.json").read_text())["pool"] == 15
    settings = Config.model_validate(about["identity"]["config"])
    loaded = checker.read("relevance", schema=schema.load(home / "odd" / "schema.toml"))
    context = pipeline.prepare(loaded, str(home / "odd"), "tiny", settings)
    own, before = (context.load(home / "pooled" / name) for name in ("model", "sft"))
    users = user_model.load(home / "pooled", before, context.prompter)
    rows = context.tested()
    prior = user_model.prior(users.next_item_log_probs(rows), context.k)
    evaluator = Evaluator.of(own, context.prompter, context.compiled, rows, prior)
    slates = evaluator.greedy(own).items
    assert rows.pool is not None and (slates >= 0).all()
    assert all(set(slate) <= set(pool) for slate, pool in zip(slates, rows.pool, strict=True))
    ndcg = context.compiled.values(rows, evaluator.greedy(own))["relevance"]
    found = json.loads((home / "pooled" / "eval.json").read_text())["systems"]
    assert found["grpo"]["rules"]["relevance"]["mean"] == pytest.approx(float(np.nanmean(ndcg)))
    ndcg = context.compiled.values(rows, replace(evaluator, prior=None).greedy(before))["relevance"]
    assert found["sft"]["rules"]["relevance"]["mean"] == pytest.approx(float(np.nanmean(ndcg)))
    for system in ("sft", "prior", "grpo", "rerank", "ease_rerank", "user_model"):
        assert found[system]["metrics"]["holes"]["mean"] == 0.0


@pytest.mark.slow
def test_answer_comes_first_without_thinking(home: Path) -> None:
    thinking, at_once = (json.loads((home / run / "samples.json").read_text()) for run in ("odd-run", "pooled"))
    assert all("<think>" in sample["grpo"] for sample in thinking)
    assert all(sample["grpo"].startswith("<answer>") for sample in at_once)
    assert "< /answer>" in at_once[0]["prompt"] and "</answer>" not in at_once[0]["prompt"]


def test_invalid_prompt_options_are_refused(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[prompt]\ntemplate = '{{ histori }}'\n")
    for more, said in (
        (("--pool", "5"), "too small for slates of 10 places"),
        (("--pool", "5000"), "5,000 items is more than the 600 items of simulator"),
        (("--pool", "-1"), "`prompt.pool`"),
        (("--config", "settings.toml"), "did you mean `history`?"),
    ):
        done = recpolicy(tmp_path, "train", "relevance", "--data", "simulator", "--out", "run", *more)
        assert done.returncode == 2 and said in " ".join(done.stderr.split()), done.stderr
        assert not (tmp_path / "run").exists()
