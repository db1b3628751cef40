"""Checks `recpolicy train --from`: what a run takes over from an earlier one, what it refuses, and that it resumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recpolicy import data
from recpolicy.dataset.rows import Slates
from recpolicy.errors import UsageError
from recpolicy.language import checker
from recpolicy.runs import Run
from recpolicy.trainer import config, pipeline
from recpolicy.trainer.coldstart import attribute_embeddings
from recpolicy.trainer.earlier_run import EarlierRun
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import pretrained, recommenders
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.stages import sft
from tests.command import recpolicy
from tests.recommend.platform import POLICY, Row, before, later, write
from tests.trainer.models.test_pretrained import CONFIGS, write_model
from tests.trainer.short import in_short
from tests.trainer.test_resume import Killed, Witness, alike

SETTINGS = """
holdout = 2
test_users = 20
[prompt]
history = 20
think = 3
[tiny]
width = 16
layers = 1
[sft]
steps = 40
batch = 8
learning_rate = 0.01
evaluate_every = 20
[grpo]
steps = 20
prompts_per_step = 2
generations = 2
evaluate_every = 10
"""


def tomorrow() -> dict[str, list[Row]]:
    """The later platform after a few more days: of each kind, the first ten users took two new posts and old ones."""
    tables = later()
    known = {(row["user_id"], row["item_id"]) for row in tables["interactions"]}
    for kind in ("chess", "jazz"):
        for user in (f"{kind}-{u}" for u in range(10)):
            rest = [f"{kind[0]}{i}" for i in range(30) if (user, f"{kind[0]}{i}") not in known]
            new = [f"new-{kind}-{i}" for i in (1, 2) if (user, f"new-{kind}-{i}") not in known]
            for at, item in enumerate([*new, *rest[:4]]):
                tables["interactions"].append({"user_id": user, "item_id": item, "timestamp": 1_707_100_000 + at})
    return tables


@pytest.fixture(scope="module", autouse=True)
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_short(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the platform as it was, in `run`, and one that went on from it, in `next`."""
    home = tmp_path_factory.mktemp("home")
    write(home / "platform", before())
    write(home / "later", tomorrow())
    (home / "settings.toml").write_text(SETTINGS)
    (home / "kept.policy").write_text(POLICY)
    assert trained(home, "--out", "run").returncode == 0
    made = trained(home, "--data", "later", "--out", "next", "--from", "run")
    assert made.returncode == 0, made.stderr
    assert "Went on from run:" in made.stdout and "8 items came and 1 are gone" in " ".join(made.stdout.split())
    assert "earlier run" in made.stdout
    return home


def trained(home: Path, *more: str, policy: str = "kept.policy") -> Any:
    return recpolicy(home, "train", policy, "--config", "settings.toml", *more)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def context(home: Path, earlier: bool) -> RunContext:
    """What a run on the later data reads, going on from the first run; or what that run read."""
    source = home / ("later" if earlier else "platform")
    loaded = checker.read(str(home / "kept.policy"), schema=data.open(source).schema)
    settings = config.load(home / "settings.toml", {})
    start = EarlierRun.read(home / "run", loaded, "tiny", settings) if earlier else None
    return pipeline.prepare(loaded, str(source), "tiny", settings, start)


def begun(own: RunContext) -> Recommender:
    """The recommender that SFT starts from, with all that it takes over."""
    assert own.warm_start is not None
    prompts = own.prompter.prompts(own.split.validation)
    made = recommenders.init_recommender(
        "tiny", own.config, own.view, own.split, own.k, texts=prompts, shown=prompts, about=own.prompter.about()
    )
    own.warm_start.fine_tuning(made, own.earlier_model)
    return made


def lists(own: RunContext, recommender: Recommender, users: list[str], known: set[str]) -> list[list[str]]:
    """Ids of greedy lists for these users at the end of their training parts, of known items alone."""
    row = {id: i for i, id in enumerate(own.view.user_ids)}
    at = np.array([row[user] for user in users])
    cut = own.view.start[at] + 14
    rows = data.rows_at(own.view, at, cut, 0, cut)
    rows = replace(rows, now=np.full(len(rows), 1_707_200_000.0))
    evaluator = Evaluator.of(recommender, own.prompter, own.compiled, rows)
    legal = evaluator.legal & np.array([id in known for id in own.view.item_ids])
    slates: Slates = replace(evaluator, legal=legal).greedy(recommender)
    return [[own.view.item_ids[item] for item in slate] for slate in slates.items.tolist()]


@pytest.mark.slow
def test_tokens_keep_their_meaning_before_further_training(home: Path) -> None:
    old, new = context(home, earlier=False), context(home, earlier=True)
    assert new.view.item_ids[: len(old.view.item_ids)] == old.view.item_ids
    assert new.view.item_ids[len(old.view.item_ids) :] == tuple(row["item_id"] for row in later()["items"][:8])
    users, known = [f"{kind}-{u}" for kind in ("chess", "jazz") for u in range(20, 40)], set(old.view.item_ids)
    there = lists(old, old.load(home / "run" / "sft"), users, known - {"gone"})
    assert lists(new, begun(new), users, known) == there, "and what is gone is not shown"
    assert len({tuple(one) for one in there}) > 1


@pytest.mark.slow
def test_new_items_start_from_their_attributes(home: Path) -> None:
    own = context(home, earlier=True)
    made = begun(own)
    vectors = pretrained.tables(made.model)[0].weight[made.form.item_columns].detach()
    extended = own.earlier_model.recommender
    there = pretrained.tables(extended.model)[0].weight[extended.form.item_columns].detach()
    arrived = torch.from_numpy(own.earlier_model.catalog.arrived)
    torch.testing.assert_close(vectors[arrived], there[arrived])
    assert len(arrived) == 8


@pytest.mark.slow
def test_what_grpo_changed_is_added(home: Path) -> None:
    own = context(home, earlier=True)
    assert own.warm_start is not None
    before, after = own.load(home / "next" / "sft"), own.load(home / "next" / "sft")
    own.warm_start.policy_training(after, own.load)
    moved = sft.weights(after.model)
    start, end = (sft.weights(own.load(home / "run" / name, 61).model) for name in ("sft", "model"))
    for name, weight in sft.weights(before.model).items():
        if name == "model.embed_tokens.weight":
            change = (moved[name] - weight)[before.form.item_columns]
            torch.testing.assert_close(change[:61], (end[name] - start[name])[-61:], atol=1e-6, rtol=1e-4)
            assert not change[61:].any(), "GRPO did not know what came later"
        else:
            torch.testing.assert_close(moved[name] - weight, end[name] - start[name], atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_run_says_where_it_came_from(home: Path) -> None:
    about, evaluation = read(home / "next" / "run.json"), read(home / "next" / "eval.json")
    assert about["from"]["path"] == str((home / "run").resolve())
    assert about["from"]["digest"] == about["identity"]["earlier run"]
    assert about["identity"]["config"]["sft"]["steps"] == 40, "the settings are as they were given"
    start = evaluation["warm_start"]
    users = [read(home / name / "users.json") for name in ("run", "next")]
    events = [sum(known["events"]) for known in users]
    assert events[1] - events[0] == 20 * 6 + 1 - 1, "what was held out is held out later"
    assert start["new_events"] == pytest.approx(1 - events[0] / events[1]) and start["same_policy"]
    assert start["steps"] == {"sft": 4, "grpo": 2} and start["seconds"] > 0
    assert set(evaluation["grpo_minus"]["before"]) == {"ndcg", "reward"}
    assert 0 <= evaluation["systems"]["before"]["metrics"]["ndcg"]["mean"] <= 1
    assert evaluation["systems"]["before"]["rules"]["voices"]["mean"] == pytest.approx(1), "hard quotas hold"
    assert "warm_start" not in read(home / "run" / "eval.json")


@pytest.mark.slow
def test_other_commands_read_run(home: Path) -> None:
    made = recpolicy(home, "recommend", "--run", "next", "--data", "later")
    assert made.returncode == 0, made.stderr
    shown = {item for line in made.stdout.splitlines() for item in json.loads(line)["items"]}
    assert "gone" not in shown and shown
    found = recpolicy(home, "profile", "kept.policy", "--run", "next", "--format", "json")
    assert found.returncode in (0, 1), found.stderr


@pytest.mark.slow
def test_run_with_other_policy_trains_it_in_full(home: Path, tmp_path: Path) -> None:
    (home / "other.policy").write_text(
        POLICY.replace('"kept"', '"other"') + "reward new weight 0.5 = share(item.rating < 18)\n"
    )
    made = trained(home, "--data", "later", "--out", str(tmp_path / "other"), "--from", "run", policy="other.policy")
    assert made.returncode == 0, made.stderr
    assert read(tmp_path / "other" / "eval.json")["warm_start"]["steps"] == {"sft": 4, "grpo": 20}
    assert "taken from the cache" in made.stdout, "the policy has no part in fine-tuning"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapters", "pools"])
def test_adapters_and_candidate_pools_go_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(attribute_embeddings, "EXAMPLES", 50)
    prompt, model = "history = 5", str(write_model(tmp_path / "lm", CONFIGS["tied head"]))
    if kind == "pools":
        prompt, model = "pool = 20", "tiny"
    settings = (
        SETTINGS.replace("history = 20", prompt)
        .replace("steps = 40", "steps = 4")
        .replace("holdout", "validation_users = 10\nholdout")
    )
    (home / f"{kind}.toml").write_text(settings)
    given = ("train", "kept.policy", "--model", model, "--config", f"{kind}.toml")
    for more in (("--out", kind), ("--data", "later", "--out", f"{kind}-further", "--from", kind)):
        made = recpolicy(home, *given, *more)
        assert made.returncode == 0, made.stderr
    further = home / f"{kind}-further"
    assert (further / "model" / "adapter_config.json").is_file() == (kind == "adapters")
    assert read(further / "eval.json")["systems"]["before"]["metrics"]["holes"]["mean"] == 0


@pytest.mark.slow
def test_resumed_run_ends_the_same_and_earlier_run_may_move(home: Path, tmp_path: Path) -> None:
    moved, out = tmp_path / "moved", tmp_path / "next"
    loaded = checker.read(str(home / "kept.policy"), schema=data.open(home / "later").schema)
    settings = config.load(home / "settings.toml", {})

    def go_on(until: str, start: Path) -> None:
        pipeline.train(
            loaded, str(home / "later"), "tiny", settings, out, Witness(until), resume=out.exists(), start=start
        )

    for moment in ("sft validation 2", "grpo step 1"):
        with pytest.raises(Killed):
            go_on(moment, home / "run")
    shutil.copytree(home / "run", moved)
    with pytest.raises(UsageError) as error:
        go_on("", tmp_path / "away")
    assert "no run to go on from" in error.value.message and "if it was moved" in str(error.value.help)
    go_on("", moved)
    for run in (out, other := tmp_path / "whole"):
        if run == other:
            shutil.copytree(home / "next", other)
        about, evaluation = read(run / "run.json"), read(run / "eval.json")
        del about["from"]["path"], evaluation["warm_start"]["from"], evaluation["warm_start"]["seconds"]
        (run / "run.json").write_text(json.dumps(about))
        (run / "eval.json").write_text(json.dumps(evaluation))
    alike(out, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "more", "told", "help"),
    [
        ("", ("--from", "nowhere"), "no run to go on from", "give --from the folder of a finished run"),
        ("", ("--from", "run", "--no-think"), "prompt.think = 3, not 0", "write prompt.think = 3 in the settings"),
        ("width = 8", ("--from", "run"), "tiny.width = 16, not 8", "write tiny.width = 16 in the settings"),
        ("", ("--from", "run", "--data", "platform"), "no training event is new", "give later data"),
        ("", ("--from", "half"), "is not finished", "--resume"),
        ("", ("--from", "old"), "this run has no `users.json`", "train again with this one"),
    ],
)
def test_what_does_not_fit_is_refused(home: Path, settings: str, more: tuple[str, ...], told: str, help: str) -> None:
    for name, missing in (("half", "eval.json"), ("old", "users.json")):
        if not (home / name).exists():
            shutil.copytree(home / "run", home / name)
            (home / name / missing).unlink()
    (home / "other.toml").write_text(SETTINGS.replace("width = 16", settings or "width = 16"))
    made = recpolicy(
        home, "train", "kept.policy", "--data", "later", "--config", "other.toml", "--out", "refused", *more
    )
    words = " ".join(made.stderr.split())
    assert made.returncode == 2 and told in words and help in words, words
    assert not (home / "refused").exists()


@pytest.mark.slow
def test_other_model_and_other_places_are_refused(home: Path) -> None:
    own = context(home, earlier=True)
    with pytest.raises(UsageError, match="trained the model tiny, not smollm2") as error:
        EarlierRun.read(home / "run", own.loaded, "smollm2", own.config)
    assert "--model tiny" in str(error.value.help)
    longer = replace(own.loaded, policy=replace(own.loaded.policy, slate=7))
    with pytest.raises(UsageError, match="lists have 7 places, and those of the run to go on from 6") as error:
        EarlierRun.read(home / "run", longer, "tiny", own.config)
    assert "slate = 6" in str(error.value.help)


@pytest.mark.slow
def test_run_is_not_resumed_as_one_that_goes_on(home: Path) -> None:
    made = trained(home, "--data", "later", "--out", "next", "--resume")
    assert made.returncode == 2 and "another earlier run" in " ".join(made.stderr.split())


@pytest.mark.slow
def test_events_learned_earlier_are_not_measured(home: Path) -> None:
    own = context(home, earlier=True)
    assert own.warm_start is not None
    learned = own.warm_start.learned
    start, wider = own.warm_start, data.split(own.view, "user", holdout=5)
    rest = start.unlearned(wider)
    assert len(rest.validation) == len(rest.test) == 20 < len(wider.test), "only who has new events is left"
    for rows in (rest.validation, rest.test):
        assert (rows.history.lengths >= learned[rows.user]).all()
    assert "Rows left out of validation and test" in rest.notes[-1]
    assert start.unlearned(own.split).notes == own.split.notes
    with pytest.raises(UsageError, match="has learned what every user takes next"):
        start.unlearned(data.split(own.view, "user", holdout=6))


def test_fine_tuning_on_new_events_alone() -> None:
    dataset = data.open("simulator")
    split = data.split(dataset, holdout=3)
    new = dataset.start[:-1] + np.where(np.arange(dataset.users.rows) % 3 == 0, 5, 10_000)
    rows = sft.training_rows(dataset, split, 4, 500, 0, new)
    assert set(rows.user % 3) == {0} and (rows.history.lengths >= 5).all()
    assert (rows.next_items.lengths >= 1).all()


@pytest.mark.parametrize(("new", "part"), [(0.0, 0.1), (0.2, 0.2), (1.0, 1.0)])
def test_steps_follow_new_events(new: float, part: float) -> None:
    whole = config.Config()
    shorter = whole.shortened(new, grpo=True)
    assert shorter.sft.steps == round(part * 2000) and shorter.grpo.steps == round(part * 400)
    assert shorter.sft.evaluate_every == round(part * 100) and shorter.grpo.steer_every == round(part * 20)
    assert whole.shortened(new, grpo=False).grpo == whole.grpo


def test_run_without_start_records_none(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert EarlierRun.recorded(Run(tmp_path)) is None
