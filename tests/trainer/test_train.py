"""Checks the command `recpolicy train`: its run folder, its cache of stages, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.command import recpolicy
from tests.trainer.short import FEW_STRENGTHS, in_short

SETTINGS = """
holdout = 3
validation_users = 40
test_users = 40
[prompt]
history = 20
think = 8
[tiny]
width = 16
layers = 1
[sft]
steps = 4
batch = 8
evaluate_every = 2
[grpo]
steps = 2
prompts_per_step = 2
generations = 4
steer_every = 1
evaluate_every = 1
"""

SECOND = """
policy "second" { language = 1  data = "simulator"  slate = 10 }
use "house/rules.policy"
param most_ads = 2
reward relevance weight 0.6 = ndcg(next_items)
reward variety   weight 0.4 = distance(item.genres)
quota  ads       weight ramp 0.1 to 0.2 over 50% of training = at most most_ads where item.is_ad
quota  voices    hard = at most 1 per item.creator
target wide = variety >= 30%
target keep = relevance >= 50% of baseline
target many = coverage(item.creator) >= 10%
"""

HOUSE = "block reported = item.report_rate > 20%\n"


def _train(policy: str, out: Path, home: Path, *more: str) -> subprocess.CompletedProcess[str]:
    settings = home / "settings.toml"
    settings.write_text(SETTINGS)
    data = ("--data", "simulator", "--config", str(settings))
    return recpolicy(home, "train", policy, *data, "--out", str(out), *more)


def _write_second(folder: Path) -> None:
    (folder / "second.policy").write_text(SECOND)
    (folder / "house").mkdir()
    (folder / "house" / "rules.policy").write_text(HOUSE)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with in_short(home / "cache"):
        first = _train("relevance", home / "first", home)
        assert first.returncode == 0, first.stderr
        (home / "first.txt").write_text(first.stdout)
        _write_second(home)
        second = _train("second.policy", home / "second", home)
        assert second.returncode == 0, second.stderr
        (home / "second.txt").write_text(second.stdout)
    return home


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the second policy where no other came before."""
    home = tmp_path_factory.mktemp("alone")
    _write_second(home)
    with in_short(home / "cache"):
        made = _train("second.policy", home / "second", home)
    assert made.returncode == 0 and "taken from the cache" not in made.stdout, made.stderr
    return home / "second"


@pytest.mark.slow
def test_run_folder_has_policy_settings_and_models(home: Path) -> None:
    run = home / "second"
    assert (run / "policy" / "second.policy").read_text() == SECOND
    assert (run / "policy" / "house" / "rules.policy").read_text() == HOUSE
    about = json.loads((run / "run.json").read_text())
    assert about["identity"]["params"] == {"most_ads": "2"} and about["identity"]["as_of"] is None
    assert about["identity"]["config"]["sft"]["steps"] == 4
    assert set(about["versions"]) >= {"python", "torch", "trl", "recpolicy"}
    assert json.loads((run / "schema.json").read_text())["item"]["genres"]["type"] == "list of category"
    for model in ("sft", "model"):
        assert (run / model / "model.safetensors").is_file()
    samples = json.loads((run / "samples.json").read_text())
    assert "<answer>" in samples[0]["grpo"] and "<think>" in samples[0]["grpo"]


@pytest.mark.slow
def test_metrics_have_every_rule_at_every_step(home: Path) -> None:
    lines = [json.loads(line) for line in (home / "second" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2]
    for line in steps:
        for rule in ("relevance", "variety", "ads"):
            assert 0.0 <= line[f"rules/{rule}"] <= 1.0
        parts = sum(line[f"rewards/{rule}/mean"] for rule in ("relevance", "variety", "ads"))
        assert line["reward"] == pytest.approx(parts, abs=1e-5)
        assert 0 < line["time/rewards"] + line["time/advantages"] < line["step_time"] > line["time/sampling"] > 0
        assert 0.0 <= line["frac_groups_zero_std"] <= 1.0
        assert line["valid_slates"] == 1.0
    targets_measured = [line for line in lines if "targets/wide/multiplier" in line]
    assert [line["step"] for line in targets_measured] == [0, 1, 2]
    assert all(line["targets/wide/aim"] > line["targets/wide/bound"] for line in targets_measured)
    for stage, key, at in (("sft", "validation_log_likelihood", [2, 4]), ("grpo", "validation_reward", [0, 1, 2])):
        assert [(line["stage"], line["step"]) for line in lines if key in line] == [(stage, step) for step in at]
    kept = json.loads((home / "second" / "sft" / "stage.json").read_text())
    likelihoods = [line["validation_log_likelihood"] for line in lines if line["stage"] == "sft"]
    assert kept["validation_log_likelihood"] == max(likelihoods) and max(likelihoods) < 0


@pytest.mark.slow
def test_evaluation_has_every_system_with_intervals(home: Path) -> None:
    found = json.loads((home / "second" / "eval.json").read_text())
    assert found["schema_version"] == 2 and found["k"] == 10 and found["users"] == 40
    ours = {"sft", "prior", "grpo", "grpo_guided", "rerank", "ease_rerank"}
    assert set(found["systems"]) == ours | {"user_model", "popularity", "itemknn", "ease", "ease_recency"}
    for system in found["systems"].values():
        ndcg = system["metrics"]["ndcg"]
        assert 0.0 <= ndcg["low"] <= ndcg["mean"] <= ndcg["high"] <= 1.0
        assert set(system["rules"]) == {"relevance", "variety", "ads", "voices"}
        assert set(system["targets"]) == {"wide", "keep", "many"}
    for system in ours:  # the others do not know of hard quotas
        assert found["systems"][system]["satisfied"]["voices"]["mean"] == 1.0
        assert found["systems"][system]["metrics"]["holes"]["mean"] == 0.0
    assert set(found["grpo_minus"]) == {"sft", "prior", "rerank", "ease_rerank", "ease", "ease_recency"}
    for difference in found["grpo_minus"].values():
        assert difference["ndcg"].keys() == difference["reward"].keys() == {"mean", "low", "high"}
    assert {t["name"]: t["op"] for t in found["targets"]} == {"wide": ">=", "keep": ">=", "many": ">="}
    keep = next(target for target in found["targets"] if target["name"] == "keep")
    assert keep["bound"] == pytest.approx(0.5 * found["systems"]["prior"]["targets"]["keep"]["mean"])
    for target in found["targets"]:
        assert target["low"] <= target["value"] <= target["high"]
        assert target["verdict"] in ("met", "not met", "undecided")
        assert target["guardrail"] is False
    assert found["verdict"] in ("SHIP", "DO NOT SHIP", "UNDECIDED")
    assert f"\n{found['verdict']}: {found['reason']}\n" in (home / "second.txt").read_text()


@pytest.mark.slow
def test_control_curves_have_every_strength(home: Path) -> None:
    found = json.loads((home / "second" / "eval.json").read_text())
    assert set(found["curves"]) == set(found["tuning"]) == {"rerank", "ease_rerank"}
    for name, curve in found["curves"].items():
        strengths = [point["strength"] for point in curve]
        assert strengths[0] == 0.0 and strengths == sorted(strengths) and set(strengths) >= {*FEW_STRENGTHS}
        assert [tried["strength"] for tried in found["tuning"][name]] == strengths
        assert all(set(point["targets"]) == {"wide", "keep", "many"} for point in curve)
        best = max(found["tuning"][name], key=lambda tried: (-tried["violation"], tried["reward"]))
        control = found["systems"][name]
        assert control["settings"] == {"strength": best["strength"]}
        [point] = [point for point in curve if point["strength"] == best["strength"]]
        assert {key: control["metrics"][key]["mean"] for key in point["metrics"]} == pytest.approx(point["metrics"])
    assert found["systems"]["grpo_guided"]["settings"] == found["systems"]["rerank"]["settings"]
    rewards = {name: system["metrics"]["reward"]["mean"] for name, system in found["systems"].items()}
    assert rewards["grpo_guided"] > rewards["grpo"]


@pytest.mark.slow
def test_evaluation_has_user_model_and_sources(home: Path) -> None:
    found = json.loads((home / "second" / "eval.json").read_text())["user_model"]
    classics = {"ease", "ease_recency", "itemknn", "itemknn_recency", "transitions", "popularity"}
    assert set(found["weights"]) == set(found["alone"]) == {"language_model"} | classics
    assert found["log_likelihood"].keys() == {"validation", "test"} and max(found["log_likelihood"].values()) < 0
    for alone in found["alone"].values():
        assert alone["log_likelihood"] < 0 <= alone["ndcg"] <= 1
    for part in ("reliability", "reliability_at_the_top"):
        assert 0 <= found[part]["error"] <= 1 and len(found[part]["bins"]) == 10
        assert all(0 <= group["chance"] <= 1 and 0 <= group["taken"] <= 1 for group in found[part]["bins"])
    assert (home / "second" / "user_model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["SHIP", "DO NOT SHIP", "UNDECIDED"])
def test_fail_unless_ship_sets_exit_code(word: str, home: Path, tmp_path: Path) -> None:
    run = shutil.copytree(home / "second", tmp_path / "run")
    found = json.loads((run / "eval.json").read_text())
    (run / "eval.json").write_text(json.dumps(found | {"verdict": word, "reason": "of this test"}))
    plain = _train("second.policy", run, home)
    assert plain.returncode == 0 and f"{word}: of this test" in plain.stdout
    strict = _train("second.policy", run, home, "--fail-unless", "ship")
    assert strict.returncode == (0 if word == "SHIP" else 1) and f"{word}: of this test" in strict.stdout


@pytest.mark.slow
def test_second_policy_reuses_cached_sft_model(home: Path) -> None:
    assert "step" in (home / "first.txt").read_text().split("grpo")[0]
    second = (home / "second.txt").read_text()
    assert "taken from the cache" in second
    weights = [(home / run / "sft" / "model.safetensors").read_bytes() for run in ("first", "second")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_sft_model_is_independent_of_policy(home: Path, alone: Path) -> None:
    weights = [(run / "sft" / "model.safetensors").read_bytes() for run in (home / "first", alone)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_finished_run_is_shown_and_other_run_is_refused(home: Path) -> None:
    again = _train("relevance", home / "first", home)
    assert again.returncode == 0 and "nothing to do" in again.stdout and "EASE" in again.stdout
    other = _train("second.policy", home / "first", home)
    assert other.returncode == 2
    assert "another run: another policy;" in other.stderr and "--out" in other.stderr
    silent = _train("relevance", home / "first", home, "--no-think", "--seed", "3")
    assert (
        silent.returncode == 2 and "prompt.think is 8, now 0" in silent.stderr and "seed is 0, now 3" in silent.stderr
    )
    file = _train("relevance", home / "settings.toml", home)
    assert file.returncode == 2 and "a file" in file.stderr


@pytest.mark.slow
def test_same_seed_gives_same_model(home: Path, alone: Path) -> None:
    for file in ("model/model.safetensors", "eval.json"):
        assert (alone / file).read_bytes() == (home / "second" / file).read_bytes()


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ("[grpo]\nstepz = 3\n", "no setting `grpo.stepz`"),
        ("[grpo]\ngenerations = 1\n", "`grpo.generations`: input should be greater than or equal to 2, it is 1"),
        ("[tiny]\nwidth = 30\nheads = 4\n", "`tiny`: a width of 30"),
        ("seed = -1\n", "`seed`"),
        ("a = \n", "not TOML"),
    ],
)
def test_invalid_setting_names_its_key(tmp_path: Path, settings: str, seen: str) -> None:
    from recpolicy.errors import UsageError
    from recpolicy.trainer import config

    path = tmp_path / "settings.toml"
    path.write_text(settings)
    with pytest.raises(UsageError) as error:
        config.load(path, {})
    assert seen in error.value.message and error.value.where == str(path)


@pytest.mark.parametrize(
    ("settings", "meant"),
    [
        ("[grpo]\nstepz = 3\n", "did you mean `grpo.steps`?"),
        ("pool = 3\n", "did you mean `prompt.pool`?"),
        ("[prompt]\ntest_users = 3\n", "did you mean `test_users`?"),
    ],
)
def test_misplaced_setting_gets_suggestion(tmp_path: Path, settings: str, meant: str) -> None:
    from recpolicy.errors import UsageError
    from recpolicy.trainer import config

    (tmp_path / "settings.toml").write_text(settings)
    with pytest.raises(UsageError) as error:
        config.load(tmp_path / "settings.toml", {})
    assert meant in error.value.help


def test_invalid_option_is_blamed_on_command_line(tmp_path: Path) -> None:
    from recpolicy.errors import UsageError
    from recpolicy.trainer import config

    (tmp_path / "settings.toml").write_text("seed = 3\n")
    with pytest.raises(UsageError) as error:
        config.load(tmp_path / "settings.toml", {"prompt.pool": -1})
    assert "it is -1" in error.value.message and error.value.where == "the command line"


def test_settings_page_lists_every_default() -> None:
    from recpolicy.trainer.config import Config

    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    listed = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    assert listed == Config().of_model(pretrained=True).model_dump()


def test_default_reasoning_length_depends_on_model() -> None:
    from recpolicy.trainer.config import Config, Prompt

    lengths = [Config().of_model(pretrained).prompt.longest_reasoning for pretrained in (False, True)]
    assert lengths == [0, 12]
    for think in (0, 5):
        config = Config(prompt=Prompt(think=think))
        assert config.of_model(False) == config.of_model(True) == config
