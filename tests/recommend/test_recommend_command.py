"""Checks the command `recpolicy recommend` on a small run and on later data."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.command import recpolicy
from tests.recommend.platform import KINDS, NEW, POLICY, SETTINGS, Row, before, later, write
from tests.trainer.short import in_short

TABLES = later()
POSTS = {row["item_id"]: row for row in TABLES["items"]}
CHILDREN = {row["user_id"] for row in TABLES["users"] if row["age"] < 18}


@pytest.fixture(scope="module", autouse=True)
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with in_short(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    write(home / "platform", before())
    write(home / "later", TABLES)
    (home / "settings.toml").write_text(SETTINGS)
    (home / "kept.policy").write_text(POLICY)
    trained = recpolicy(home, "train", "kept.policy", "--config", "settings.toml", "--out", "run")
    assert trained.returncode == 0, trained.stderr
    made = recpolicy(home, "recommend", "--run", "run", "--data", "later", "--out", "lists.jsonl")
    assert made.returncode == 0, made.stderr
    assert made.stdout == "wrote lists.jsonl: 121 lists\n"
    return home


@pytest.fixture(scope="module")
def lists(home: Path) -> Mapping[str, list[str]]:
    return {line["user_id"]: line["items"] for line in map(json.loads, (home / "lists.jsonl").read_text().splitlines())}


def document(home: Path, *more: str) -> dict[str, Any]:
    found = recpolicy(home, "recommend", "--run", "run", "--data", "later", "--arrivals", "--format", "json", *more)
    assert found.returncode == 0, found.stderr
    out: dict[str, Any] = json.loads(found.stdout)
    return out


@pytest.mark.slow
def test_lists_follow_catalog_and_policy(lists: Mapping[str, list[str]]) -> None:
    taken: dict[str, set[str]] = {row["user_id"]: set() for row in TABLES["users"]}
    for row in TABLES["interactions"]:
        taken[row["user_id"]].add(row["item_id"])
    assert list(lists) == [row["user_id"] for row in TABLES["users"]]
    for user, items in lists.items():
        assert len(items) == len(set(items)) == 6
        assert set(items) <= set(POSTS) - taken[user], "what has left the catalog and what was taken is not shown"
        assert max(Counter(POSTS[item]["creator_id"] for item in items).values()) <= 3
    adult = {item for item, row in POSTS.items() if row["rating"] >= 18}
    assert adult and not any(adult & set(lists[user]) for user in CHILDREN)


@pytest.mark.slow
def test_new_items_reach_users_of_their_kind(home: Path, lists: Mapping[str, list[str]]) -> None:
    shown = Counter(
        (user.split("-")[0], item.split("-")[1]) for user, own in lists.items() for item in own if "new" in item
    )
    assert sum(shown[kind, kind] for kind in KINDS) >= 3 * (shown["chess", "jazz"] + shown["jazz", "chess"]), shown
    for kind in KINDS:
        found = document(home, "--user", *[user for user in lists if user.startswith(kind)])
        ranks = {one["id"]: one["rank"] for one in found["arrivals"]}
        own = [rank for id, rank in ranks.items() if kind in id]
        others = [rank for id, rank in ranks.items() if kind not in id]
        assert len(own) == len(others) == NEW and mean(own) + 2 < mean(others), (kind, ranks)


@pytest.mark.slow
def test_lists_are_readable_by_score(home: Path) -> None:
    line = json.loads((home / "lists.jsonl").read_text().splitlines()[1])
    assert set(line) == {"user_id", "items", "now", "reasoning"}
    assert line["now"] == max(row["timestamp"] for row in TABLES["interactions"])
    assert 1 <= len(line["reasoning"].split()) <= 3 and "<" not in line["reasoning"]
    scored = recpolicy(home, "score", "kept.policy", "--data", "later", "--slates", "lists.jsonl")
    assert scored.returncode == 0, scored.stderr
    assert "121 slates" in scored.stdout and "Slates with a blocked item: 0 " in scored.stdout
    assert "Holes" not in scored.stdout and "history" not in scored.stdout


@pytest.mark.slow
def test_new_items_are_reported_with_ranks(home: Path, lists: Mapping[str, list[str]]) -> None:
    found = document(home)
    assert found["schema_version"] == 1 and found["data"] == "platform" and found["users"] == 121
    assert [one["id"] for one in found["arrivals"]] == [f"new-{kind}-{i}" for kind in KINDS for i in range(NEW)]
    shown = Counter(item for items in lists.values() for item in items)
    for one in found["arrivals"]:
        assert one["title"] == POSTS[one["id"]]["title"] and one["slates"] == shown[one["id"]]
        _, kind, number = one["id"].split("-")
        assert one["alike"][0] == f"{kind[0]}{number}", "the post whose attributes it has"
        assert len(one["alike"]) == 20 and 1 <= one["rank_alike"] <= one["of_alike"] <= 21
        assert one["rank_alike"] <= one["rank"] <= one["of"] < len(POSTS)
    users = {one["id"]: one["users"] for one in found["arrivals"]}
    assert users["new-chess-0"] == 121 - len(CHILDREN), "it is blocked for children"
    assert users["new-jazz-1"] == 120, "one has taken it"
    assert users["new-chess-1"] == 121


@pytest.mark.slow
def test_item_blocked_for_all_users_has_no_rank(home: Path) -> None:
    found = document(home, "--user", *sorted(CHILDREN)[:3])
    assert found["users"] == 3
    blocked = next(one for one in found["arrivals"] if one["id"] == "new-jazz-0")
    assert (blocked["users"], blocked["slates"], blocked["rank"], blocked["rank_alike"]) == (0, 0, None, None)


@pytest.mark.slow
def test_text_output_shows_titles(home: Path) -> None:
    told = recpolicy(home, "recommend", "--run", "run", "--data", "later", "--arrivals")
    assert told.returncode == 0, told.stderr
    assert "8 items of platform came after training, 1 item left the catalog since." in told.stdout
    assert "Chess, part 3" in told.stdout and "Likeness is the cosine" in told.stdout
    named = recpolicy(home, "recommend", "--run", "run", "--data", "later", "--user", "jazz-4", "--format", "human")
    lines = named.stdout.splitlines()
    assert lines[0] == "user jazz-4" and lines[2].startswith("    1 ") and "part" in lines[2] and len(lines) == 8


@pytest.mark.slow
def test_default_data_is_data_of_run(home: Path) -> None:
    made = recpolicy(home, "recommend", "--run", "run", "--user", "jazz-4", "chess-1", "jazz-4")
    assert made.returncode == 0, made.stderr
    assert [json.loads(line)["user_id"] for line in made.stdout.splitlines()] == ["jazz-4", "chess-1"]
    told = recpolicy(home, "recommend", "--run", "run", "--arrivals")
    assert told.stdout == "0 items of platform came after training. Looked at: 120 users.\n"


@pytest.mark.slow
def test_model_trained_with_pools_uses_pools(home: Path) -> None:
    (home / "pools.toml").write_text(
        SETTINGS.replace("think = 3", "think = 0\npool = 12\nrandom_fraction = 0.5").replace("= 400", "= 100")
    )
    trained = recpolicy(home, "train", "kept.policy", "--config", "pools.toml", "--out", "pools")
    assert trained.returncode == 0, trained.stderr
    about = ("--run", "pools", "--data", "later", "--arrivals", "--format", "json")
    found = recpolicy(home, "recommend", *about)
    assert found.returncode == 0, found.stderr
    for one in json.loads(found.stdout)["arrivals"]:
        assert one["slates"] <= one["users"] < 60 and one["of"] == 12, "in a pool of 12 only some are new"


def _lists(home: Path, *more: str) -> dict[str, list[str]]:
    made = recpolicy(home, "recommend", "--run", "run", "--format", "json", *more)
    assert made.returncode == 0, made.stderr
    return {line["user_id"]: line["items"] for line in map(json.loads, made.stdout.splitlines())}


@pytest.mark.slow
def test_blocks_of_other_policy_apply_at_any_strength(home: Path, lists: Mapping[str, list[str]]) -> None:
    (home / "paid.policy").write_text(POLICY + "block gifts = item.free\n")
    free = {item for item, row in POSTS.items() if row["free"]}
    assert any(free & set(items) for items in lists.values())
    for strength in ("0", "1"):
        found = _lists(home, "--data", "later", "--policy", "paid.policy", "--strength", strength)
        assert list(found) == list(lists)
        for items in found.values():
            assert len(items) == len(set(items)) == 6 and not free & set(items)
            assert max(Counter(POSTS[item]["creator_id"] for item in items).values()) <= 3


@pytest.mark.slow
def test_policy_effect_grows_with_strength(home: Path) -> None:
    (home / "gifts.policy").write_text(POLICY + "boost gifts weight 0.5 = item.free\n")
    posts = {row["item_id"]: row for row in before()["items"]}
    free = {item for item, row in posts.items() if row["free"]}
    own = _lists(home)

    def share(lists: Mapping[str, list[str]]) -> float:
        assert all(len(items) == 6 for items in lists.values())
        return sum(item in free for items in lists.values() for item in items) / (6 * len(lists))

    policy = ("--policy", "gifts.policy")
    found = {strength: _lists(home, *policy, "--strength", strength) for strength in ("0", "0.05", "1", "4")}
    assert found["0"] == own, "what neither blocks nor counts changes nothing"
    assert _lists(home, *policy) == found["1"]
    shares = [share(lists) for lists in found.values()]
    assert shares == sorted(shares) and shares[-1] > shares[0] + 0.2 and shares[-1] > 0.95
    again = _lists(home, "--strength", "1")
    assert again.keys() == own.keys()
    for items in again.values():  # the run's own policy
        assert len(items) == 6 and max(Counter(posts[item]["creator_id"] for item in items).values()) <= 3


def _without(name: str, column: str) -> dict[str, list[Row]]:
    return {**TABLES, name: [{key: cell for key, cell in row.items() if key != column} for row in TABLES[name]]}


@pytest.mark.slow
def test_usage_error_has_no_traceback(home: Path) -> None:
    write(home / "poorer", _without("items", "topics"))
    other = {row["item_id"]: f"x{i}" for i, row in enumerate(TABLES["items"])}
    renamed = {n: [row | {"item_id": other[row["item_id"]]} for row in TABLES[n]] for n in ("items", "interactions")}
    write(home / "other", {**TABLES, **renamed})
    shutil.copytree(home / "run", home / "older", ignore=shutil.ignore_patterns("items.json"))
    shutil.copytree(home / "run", home / "modelless", ignore=shutil.ignore_patterns("user_model.safetensors"))
    (home / "short.policy").write_text(POLICY.replace("slate = 6", "slate = 4"))
    shutil.copytree(home / "run", home / "begun", ignore=shutil.ignore_patterns("eval.json"))
    for seen, *arguments in (
        ("this folder holds no run", "--run", "nowhere"),
        ("this run has no `items.json`", "--run", "older"),
        ("this run is not finished", "--run", "begun"),
        ("does not exist", "--run", "run", "--data", "absent"),
        ("no column `topics`, which item.genres is read from", "--run", "run", "--data", "poorer"),
        ("almost none of the items that the model was trained on", "--run", "run", "--data", "other"),
        ("no user `jazz-99`", "--run", "run", "--user", "jazz-1", "jazz-99"),
        ("lists are written as .jsonl", "--run", "run", "--out", "lists.csv"),
        ("--out is for lists", "--run", "run", "--arrivals", "--out", "lists.jsonl"),
        ("its slates have 4 places, and those of the run 6", "--run", "run", "--policy", "short.policy"),
        ("`-1` is no strength", "--run", "run", "--strength=-1"),
        ("`much` is no strength", "--run", "run", "--strength", "much"),
        ("`nan` is no strength", "--run", "run", "--strength", "nan"),
        ("`inf` is no strength", "--run", "run", "--strength", "inf"),
        ("this run has no `user_model.safetensors`", "--run", "modelless"),
    ):
        found = recpolicy(home, "recommend", *arguments)
        assert found.returncode == 2, (arguments, found.stdout)
        assert seen in found.stderr and "Traceback" not in found.stderr and not found.stdout
