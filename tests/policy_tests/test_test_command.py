"""Checks the command `recpolicy test` against the output files in golden/."""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recpolicy.cli import test as command
from recpolicy.errors import UsageError
from tests import golden

GOLDEN = Path(__file__).parent / "golden"
PAGES = sorted(GOLDEN.glob("*.policy"))


def recpolicy_test(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    parsed = parser.parse_args(["test", *arguments])
    code: int = parsed.run(parsed)
    return code


def page(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    code = recpolicy_test(str(path), "--as-of", "2026-03-01")
    return f"{capsys.readouterr().out.replace(f'{path.parent}{os.sep}', '')}exit code {code}\n"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_output_matches_golden_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = page(path, capsys)
    golden.compare(seen, path.with_suffix(".out"))
    assert max(len(line) for line in seen.splitlines()) <= 130


def test_golden_outputs_match_policies() -> None:
    assert {p.stem for p in PAGES} == {p.stem for p in GOLDEN.glob("*.out")} and len(PAGES) >= 5


def test_one_failing_policy_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = str(GOLDEN / "all_pass.policy"), str(GOLDEN / "failures.policy")
    assert recpolicy_test(good) == 0
    assert recpolicy_test(good, bad, good) == 1
    assert capsys.readouterr().out.count("all passed") == 3


def test_invalid_policy_prints_findings_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.policy"
    path.write_text((GOLDEN / "all_pass.policy").read_text().replace("expect fresh", "expect frehs"))
    schema = str(GOLDEN.parents[1] / "language" / "shop.toml")
    assert recpolicy_test(str(path), "--schema", schema) == 1
    out = capsys.readouterr().out
    assert "did you mean `fresh`?" in out and out.endswith("no test is run\n")


def test_set_option_changes_params(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(GOLDEN / "params.policy")
    assert recpolicy_test(path) == 0
    assert recpolicy_test(path, "--set", "days=10 days") == 1
    assert "(days = 10 days)" in capsys.readouterr().out


def test_sample_name_and_data_option_are_accepted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "tried.policy"
    path.write_text(
        'policy "tried" {\n  language = 1\n  data = "simulator"\n  slate = 3\n}\n'
        "reward rare weight 1 = novelty(item.popularity)\n"
        'test "an item nobody took" { slate [ {popularity: 0} ] expect rare = 1 }\n'
    )
    assert recpolicy_test(str(path), "--data", "simulator") == 0
    assert "1 test, all passed; 1 of 2 outcomes covered" in capsys.readouterr().out
    assert recpolicy_test("relevance") in (0, 1)


@pytest.mark.parametrize("arguments", [["nowhere.policy"], ["relevance", "--data", "nowhere"]])
def test_usage_errors_are_raised(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        recpolicy_test(*arguments)


def test_terminal_output_is_plain_text_plus_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    path = str(GOLDEN / "failures.policy")
    recpolicy_test(path)
    plain = capsys.readouterr().out
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    recpolicy_test(path)
    coloured = terminal.getvalue()
    assert "\x1b[" in coloured and re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_command_loads_no_torch_or_pyarrow() -> None:
    script = (
        "import argparse, sys; from recpolicy.cli import test\n"
        "parser = argparse.ArgumentParser(); test.add(parser.add_subparsers())\n"
        "arguments = parser.parse_args(['test', sys.argv[1]]); arguments.run(arguments)\n"
        "print(*{'torch', 'pyarrow', 'rich', 'pydantic'} & set(sys.modules), file=sys.stderr)"
    )
    run = [sys.executable, "-c", script, str(GOLDEN / "all_pass.policy")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "all passed" in done.stdout and done.stderr == "\n"


def test_dated_rule_is_skipped_before_first_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dated.policy"
    text = (GOLDEN / "dated.policy").read_text().replace("../..", str(GOLDEN.parents[1]))
    path.write_text(text.replace("  expect close above apart\n", ""))
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    for day, looked_at in (("2026-01-31", False), ("2026-02-01", True)):
        parsed = parser.parse_args(["test", str(path), "--as-of", day])
        assert parsed.run(parsed) == 0
        assert ("not looked at before its first day: spring" in capsys.readouterr().out) is not looked_at
