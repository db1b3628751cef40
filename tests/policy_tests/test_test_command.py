"""`recpolicy test` as its user runs it: policies in golden/ and the pages beside them."""

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
def test_a_policy_gives_the_page_beside_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen, golden = page(path, capsys), path.with_suffix(".out")
    if os.environ.get("RECPOLICY_GOLDEN"):
        golden.write_text(seen, "utf-8")
    assert seen == golden.read_text("utf-8")
    assert max(len(line) for line in seen.splitlines()) <= 130


def test_every_page_has_its_policy() -> None:
    assert {p.stem for p in PAGES} == {p.stem for p in GOLDEN.glob("*.out")} and len(PAGES) >= 5


def test_one_failing_test_among_policies_gives_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = str(GOLDEN / "all_pass.policy"), str(GOLDEN / "failures.policy")
    assert recpolicy_test(good) == 0
    assert recpolicy_test(good, bad, good) == 1
    assert capsys.readouterr().out.count("all passed") == 3


def test_a_policy_with_findings_gives_them_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.policy"
    path.write_text((GOLDEN / "all_pass.policy").read_text().replace("expect fresh", "expect frehs"))
    schema = str(GOLDEN.parents[1] / "language" / "shop.toml")
    assert recpolicy_test(str(path), "--schema", schema) == 1
    out = capsys.readouterr().out
    assert "did you mean `fresh`?" in out and out.endswith("no test is run\n")


def test_what_is_set_on_the_command_line_holds_in_tests(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(GOLDEN / "params.policy")
    assert recpolicy_test(path) == 0
    assert recpolicy_test(path, "--set", "days=10 days") == 1
    assert "(days = 10 days)" in capsys.readouterr().out


def test_a_sample_may_be_named_and_data_may_be_given(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
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
def test_wrong_use_is_no_finding(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        recpolicy_test(*arguments)


def test_a_terminal_gets_colours_and_the_same_words(
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


def test_tests_load_neither_torch_nor_tables() -> None:
    script = (
        "import argparse, sys; from recpolicy.cli import test\n"
        "parser = argparse.ArgumentParser(); test.add(parser.add_subparsers())\n"
        "arguments = parser.parse_args(['test', sys.argv[1]]); arguments.run(arguments)\n"
        "print(*{'torch', 'pyarrow', 'rich', 'pydantic'} & set(sys.modules), file=sys.stderr)"
    )
    run = [sys.executable, "-c", script, str(GOLDEN / "all_pass.policy")]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "all passed" in done.stdout and done.stderr == "\n"


def test_a_rule_is_not_looked_at_before_its_first_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dated.policy"
    text = (GOLDEN / "dated.policy").read_text().replace("../..", str(GOLDEN.parents[1]))
    path.write_text(text.replace("  expect close above apart\n", ""))
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    for day, looked_at in (("2026-01-31", False), ("2026-02-01", True)):
        parsed = parser.parse_args(["test", str(path), "--as-of", day])
        assert parsed.run(parsed) == 0
        assert ("not looked at before its first day: spring" in capsys.readouterr().out) is not looked_at
