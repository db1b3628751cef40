"""Checks the command `recpolicy profile` on a small run over the simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import recpolicy
from tests.trainer.short import in_short

SETTINGS = """
holdout = 3
test_users = 20
[prompt]
history = 20
think = 4
[tiny]
width = 16
layers = 1
[sft]
steps = 4
batch = 8
evaluate_every = 4
[grpo]
steps = 1
prompts_per_step = 2
generations = 4
"""

HEADER = 'policy "draft" { language = 1  data = "simulator"  slate = 10 }\n'

GAMED = """
reward v         weight 1    = distance(item.genres)
reward relevance weight 0.05 = ndcg(next_items)
quota  few_ads   weight 0.1  = at most 9 where item.is_ad
"""

SOUND = "reward relevance weight 1 = ndcg(next_items)\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "settings.toml").write_text(SETTINGS)
    for name, rules in (("gamed", GAMED), ("sound", SOUND)):
        (home / f"{name}.policy").write_text(HEADER + rules)
    (home / "short.policy").write_text(HEADER.replace("10", "5") + SOUND)
    with in_short(home / "cache"):
        trained = recpolicy(home, "train", "sound.policy", "--config", "settings.toml", "--out", "run")
    assert trained.returncode == 0, trained.stderr
    return home


@pytest.mark.slow
def test_problems_are_printed_with_exit_1(home: Path) -> None:
    found = recpolicy(home, "profile", "gamed.policy", "--run", "run")
    assert found.returncode == 1, found.stderr
    assert "200 validation users of simulator with 4 lists each" in found.stdout.replace("\n", " ")
    assert "few_ads" in found.stdout and "no signal" in found.stdout
    assert "A loophole: " in found.stdout and "   1  " in found.stdout and " post " in found.stdout


@pytest.mark.slow
def test_json_has_every_rule_and_fixed_list(home: Path) -> None:
    found = recpolicy(home, "profile", "gamed.policy", "--run", "run", "--format", "json")
    assert found.returncode == 1, found.stderr
    document = json.loads(found.stdout)
    assert document["schema_version"] == 1 and document["ok"] is False
    rules = {rule["name"]: rule for rule in document["rules"]}
    assert list(rules) == ["v", "relevance", "few_ads"]
    assert sum(rule["declared"] for rule in rules.values()) == pytest.approx(1)
    assert sum(rule["effective"] for rule in rules.values()) == pytest.approx(1)
    assert rules["few_ads"]["silence"] == "always" and rules["v"]["silence"] is None
    assert rules["relevance"]["price"] is None and rules["v"]["price"]["cost"].keys() == {"mean", "low", "high"}
    fixed = document["fixed"]
    assert fixed["verdict"] == "open" and fixed["reward"] >= fixed["own"] and "v" in fixed["full"]
    assert len(fixed["titles"]) == len(set(fixed["items"])) == 10
    again = recpolicy(home, "profile", "gamed.policy", "--run", "run", "--format", "json")
    assert again.stdout == found.stdout


@pytest.mark.slow
def test_sound_policy_is_reported_in_plain_sentences(home: Path) -> None:
    found = recpolicy(home, "profile", "sound.policy", "--run", "run", "--format", "plain")
    assert found.returncode == 0, found.stdout + found.stderr
    lines = found.stdout.splitlines()
    assert lines[0].startswith('"draft" version 1, on 200 validation users')
    assert lines[1].startswith("relevance: declared 100.0%, effective 100.0%")
    assert "loophole" not in found.stdout and "each user's most popular items" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "run", "seen"),
    [
        ("sound.policy", "nowhere", "this folder holds no run"),
        ("short.policy", "run", "not one for lists of 5 places"),
        ("absent.policy", "run", "no policy `absent.policy`"),
    ],
)
def test_usage_error_has_no_traceback(home: Path, policy: str, run: str, seen: str) -> None:
    found = recpolicy(home, "profile", policy, "--run", run)
    assert found.returncode == 2
    assert seen in found.stderr and "Traceback" not in found.stderr and not found.stdout


@pytest.mark.slow
def test_columns_come_from_data_of_run(home: Path) -> None:
    (home / "films.policy").write_text(HEADER + SOUND + 'boost horror weight 1 = item.director is "x"\n')
    found = recpolicy(home, "profile", "films.policy", "--run", "run")
    assert found.returncode == 1 and "item.director" in found.stdout and "simulator" in found.stdout


@pytest.mark.slow
def test_unfinished_run_or_changed_data_is_refused(home: Path) -> None:
    about = json.loads((home / "run" / "run.json").read_text())
    (home / "begun").mkdir(exist_ok=True)
    (home / "begun" / "run.json").write_text(json.dumps(about))
    begun = recpolicy(home, "profile", "sound.policy", "--run", "begun")
    assert begun.returncode == 2 and "no fine-tuned model yet" in begun.stderr
    about["identity"]["data"] = "0" * 64
    (home / "begun" / "run.json").write_text(json.dumps(about))
    changed = recpolicy(home, "profile", "sound.policy", "--run", "begun")
    assert changed.returncode == 2 and "data" in changed.stderr.splitlines()[0]
