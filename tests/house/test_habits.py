"""Checks the project files: hooks, workflows, templates, citation and scripts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from recpolicy import __version__
from recpolicy.cli import COMMANDS
from tests.house.tree import ROOT, files, project

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_citation_matches_version() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == project()["project"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_published_hooks_run_check_and_fmt() -> None:
    hooks = {hook["id"]: hook for hook in read(".pre-commit-hooks.yaml")}
    assert set(hooks) == {"recpolicy-check", "recpolicy-fmt"}
    for hook in hooks.values():
        program, command = hook["entry"].split()
        assert program in project()["project"]["scripts"] and command in COMMANDS
        assert re.search(hook["files"], "policies/mine.policy") and not re.search(hook["files"], "mine.policy.txt")


def test_own_hooks_select_only_good_policies() -> None:
    [repository] = read(".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert set(hooks) == {"ruff", "ruff-format", "recpolicy-check", "recpolicy-fmt"}
    for name in ("recpolicy-check", "recpolicy-fmt"):
        hook = hooks[name]
        seen = {p for p in files() if re.search(hook["files"], p) and not re.search(hook["exclude"], p)}
        assert {"policies/balanced.policy", "examples/shop/autumn_window.policy"} <= seen
        assert not any(path.startswith("tests/") or path.endswith("_bad.policy") for path in seen)


def test_four_workflows_exist() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "nightly", "release", "test"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_has_read_permission_and_runnable_steps(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "runs-on" in job and all("uses" in step or "run" in step for step in job["steps"])


def test_every_supported_python_is_tested() -> None:
    tested = read(".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert project()["project"]["requires-python"] == f">={tested[0]},<3.{int(tested[-1][2:]) + 1}"
    assert tested == [f"3.{minor}" for minor in range(int(tested[0][2:]), int(tested[-1][2:]) + 1)]


def test_nightly_workflow_runs_long_tests() -> None:
    job = read(".github/workflows/nightly.yml")["jobs"]["nightly"]
    assert job["strategy"]["matrix"]["recipe"] == ["test-long", "test-llm"]


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.stem)
def test_issue_template_has_unique_fields(path: Path) -> None:
    template = read(path)
    if path.stem != "config":
        assert {"name", "description", "body"} <= set(template)
        assert len({part["id"] for part in template["body"]}) == len(template["body"]) >= 3


@pytest.mark.parametrize("path", [".ci/run", ".ci/try-package"])
def test_scripts_are_executable_and_parse(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / path)], check=True)
