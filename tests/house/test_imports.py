"""Checks the import contracts of pyproject.toml, and that quick commands load no heavy libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT


def test_import_contracts_hold(tmp_path: Path) -> None:
    package = tmp_path / "recpolicy"  # laid out as it is imported: trainer/ and others lie beside recpolicy/
    package.mkdir()
    for path in (*(ROOT / "recpolicy").iterdir(), *(ROOT / name for name in ("grammar", "policies", "trainer"))):
        (package / path.name).symlink_to(path)
    script = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["check", "balanced"],
        ["check", "none.policy"],
        ["fmt", "--check", "none.policy"],
        ["explain", "E0203"],
        ["explain", "balanced"],
        ["--version"],
        ["train", "-h"],
    ],
)
def test_quick_commands_load_no_heavy_libraries(command: list[str]) -> None:
    script = (
        "import sys; from recpolicy.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "recpolicy" in loaded
    assert loaded & {"numpy", "pyarrow", "pydantic", "rich", "torch", "transformers", "trl"} == set()
