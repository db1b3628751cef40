"""Checks that the README is short and true and its recipes exist, and the rules for every file."""

from __future__ import annotations

import re

from tests.house.tree import ROOT, files

README = (ROOT / "README.md").read_text("utf-8")

RECIPES = {
    *("help", "demo", "test", "test-long", "test-llm", "check", "coverage", "golden"),
    *("pages", "pictures", "docs", "bench", "bench-scale", "learning", "release"),
}


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_first_screen_shows_demo_and_test_commands() -> None:
    first = README.splitlines()[:12]
    assert any(line.startswith("make demo ") for line in first)
    assert any(line.startswith("make test ") for line in first)


def test_readme_table_matches_run() -> None:
    run = (ROOT / "docs" / "training.md").read_text("utf-8")
    names = {
        "the model before the policy": "SFT with prior",
        "the model trained with the policy": "GRPO",
        "the trained model, re-ranked too": "GRPO, guided",
        "re-ranking without training": "re-rank control",
        "EASE (recency), the best classic recommender": "EASE (recency)",
    }
    rows = re.findall(r"^\| (.+?) \| (0\.\d{3}) \| (0\.\d{3}) \| *(\d*)%? *\|$", README, re.MULTILINE)
    assert [row[0] for row in rows] == list(names)
    for words, reward, ndcg, _ in rows:
        shown = re.search(rf"^ {re.escape(names[words])} {{2,}}(\S+)(?: +\S+){{5}} +(\S+)$", run, re.MULTILINE)
        assert shown and shown.groups() == (ndcg, reward)
    fresh = re.search(r"^ fresh +(.+)$", run, re.MULTILINE)
    assert fresh and re.findall(r"(\d+)%", fresh[1])[1:] == [row[3] for row in rows][:4]
    first = re.search(r"^SHIP: .*by \+(0\.\d{4}) \[\+(0\.\d{4}), \+(0\.\d{4})\]$", run, re.MULTILINE)
    assert first
    by, low, high = (f"{float(figure):.3f}" for figure in first.groups())
    assert f"by {by} (95% interval {low} to {high})" in README


def test_readme_recipes_are_in_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == RECIPES
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test"} <= named <= RECIPES
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == RECIPES


def test_recipes_in_all_pages_are_in_makefile() -> None:
    for path in files():
        if path.endswith((".md", ".yml", ".yaml")):
            named = re.findall(r"(?:^|`|run: )make ([a-z][a-z-]*)", (ROOT / path).read_text("utf-8"), re.MULTILINE)
            assert set(named) <= RECIPES, path


def test_python_files_have_at_most_400_lines() -> None:
    assert {p: n for p in files() if p.endswith(".py") and (n := (ROOT / p).read_text("utf-8").count("\n")) > 400} == {}


def test_files_contain_no_absolute_home_paths() -> None:
    places = re.compile(r"(?<![\w./])/(?:work|root|home|Users)\b")
    for path in files():
        try:
            text = (ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        assert not places.search(text), f"{path}: {places.search(text)}"
