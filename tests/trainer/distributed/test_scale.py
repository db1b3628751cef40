"""Checks docs/scale.md: its code gives the table it shows, and accelerate reads its configurations."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file  # type: ignore[import-untyped]

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "scale.md").read_text()
CONFIGURATIONS = sorted((TOP / "examples" / "accelerate").glob("*.yaml"))


def test_table_matches_code_output() -> None:
    shown, names = io.StringIO(), dict[str, float]()
    with contextlib.redirect_stdout(shown):
        exec(PAGE.split("```python\n")[1].split("```")[0], names)
    assert PAGE.split("```text\n")[1].split("```")[0] == shown.getvalue()
    assert names["weights"] == pytest.approx(7.62e9, rel=1e-3)  # as its makers give it
    assert names["matrices"] == pytest.approx(6.53e9, rel=1e-3)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_configurations_are_listed_and_load(path: Path) -> None:
    assert f"(../examples/accelerate/{path.name})" in PAGE
    assert load_config_from_file(str(path)).num_processes > 1
