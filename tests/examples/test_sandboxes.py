"""Checks the sandboxes in examples/: their good policies, the policies that must fail, and their pages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recpolicy import cli, data
from tests import golden

EXAMPLES = Path(__file__).parents[2] / "examples"
SANDBOXES = sorted(p.parent for p in EXAMPLES.glob("*/schema.toml"))
TWINS = ("_bad", "_unmet")
GOOD = [p for folder in SANDBOXES for p in sorted(folder.glob("*.policy")) if not p.stem.endswith(TWINS)]
BAD = [p for folder in SANDBOXES for p in sorted(folder.glob("*.policy")) if p.stem.endswith(TWINS)]
AS_OF = ["--as-of", "2024-10-05"]
"""Some rules have dates: the twins' messages are those of this day."""


def name(path: Path) -> str:
    return str(path.relative_to(EXAMPLES).with_suffix(""))


def test_sandboxes_are_complete() -> None:
    assert [folder.name for folder in SANDBOXES] == ["books", "jobs", "news", "shop", "short_video"]
    for folder in SANDBOXES:
        assert (folder / "README.md").is_file()
        (bad,) = folder.glob("*_bad.policy")
        assert bad.with_name(bad.name.replace("_bad", "")).is_file()
    assert sum("\nuse " in path.read_text("utf-8") for path in GOOD) >= 2


def test_sandbox_data_is_small_and_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.glob("*/*.csv")) < 300_000
    for folder in SANDBOXES:
        assert cli.main(["data", "check", str(folder)]) == 0
        dataset = data.open(folder)
        assert 60 <= dataset.items.rows <= 120 and 40 <= dataset.users.rows <= 80
        assert 500 <= len(dataset.item) <= 2000
    assert "note: " not in capsys.readouterr().out.replace("note: Users", "")


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_good_sandbox_policy_is_clean(path: Path) -> None:
    assert cli.main(["check", str(path)]) == 0
    assert cli.main(["check", str(path), "--data", str(path.parent)]) == 0
    assert cli.main(["fmt", "--check", str(path)]) == 0
    assert cli.main(["test", str(path)]) == 0


@pytest.mark.parametrize("path", BAD, ids=name)
def test_bad_sandbox_policy_matches_golden_errors(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(path.parent)
    by_data = path.stem.endswith("_unmet")
    if by_data:
        assert cli.main(["check", path.name, *AS_OF]) == 0, "its text is right"
        capsys.readouterr()
    assert cli.main(["check", path.name, *AS_OF, *(["--data", "."] if by_data else [])]) == 1
    output = capsys.readouterr().out
    golden.compare(output, path.with_suffix(".err"))
    assert len(re.findall(r"^(?:error|warning)\[", output, re.MULTILINE)) >= (3 if by_data else 5)


# ---- pages ----------------------------------------------------------------------------------------------------------


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of a page as it stands."""
    ours = command.replace("recpolicy ", f"{shlex.quote(sys.executable)} -m recpolicy ", 1)
    return subprocess.run(
        ours if command.startswith("recpolicy ") else command,
        shell=True, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("folder", SANDBOXES, ids=lambda p: p.name)
def test_sandbox_page_shows_real_output(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / folder.name)

    def renewed(shown: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", shown[0], re.MULTILINE)
        return "".join(f"$ {command}\n{run(command, copy).stdout}" for command in commands)

    page = (folder / "README.md").read_text("utf-8")
    new, blocks = re.subn(r"(?<=^```console\n)(?:.*\n)*?(?=```$)", renewed, page, flags=re.MULTILINE)
    golden.compare(new, folder / "README.md")
    assert blocks >= 2


@pytest.mark.slow
@pytest.mark.parametrize("folder", SANDBOXES, ids=lambda p: p.name)
def test_sandbox_page_commands_run(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / folder.name)
    page = (folder / "README.md").read_text("utf-8")
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) >= 4
    for line in lines:
        if line.startswith("recpolicy train "):  # minutes; tests/trainer trains
            continue
        process = run(line, copy)
        expected = 1 if "exit code 1" in line else 0
        assert process.returncode == expected, f"{line}\n{process.stdout}{process.stderr}"
