"""Checks the command `recpolicy check`."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recpolicy import cli, render
from recpolicy.errors import PolicyError, UsageError
from recpolicy.language import checker, parser
from recpolicy.language.parser import grammar
from recpolicy.span import Source

HERE = Path(__file__).parent
HEADER = 'policy "mine" {\n  language = 1\n  data = "ml-100k"\n  slate = 5\n}\n'
POLICY = f"{HEADER}reward r weight 1 = distance(item.genres)\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.policy"
    path.write_text(POLICY)
    return path


def test_clean_policies_print_one_line_and_exit_0(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(mine), "relevance"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out == [
        '"mine" version 1: 1 rule, 5 places. No findings.',
        '"relevance" version 1: 1 rule, 1 test, 10 places. No findings.',
        "Checked against the columns of ml-100k; with --data ml-100k also against its items and users.",
    ]


def test_five_mistakes_print_five_messages_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(HERE / "bad" / "five_mistakes.policy")]) == 1
    out = capsys.readouterr().out
    assert out.count("error[") == out.count("help: ") == 5
    assert out.endswith("five_mistakes.policy: 5 findings\n")


def test_one_bad_policy_among_good_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "relevance", str(HERE / "bad" / "unknown_column.policy"), "balanced"]) == 1
    out = capsys.readouterr().out
    assert "1 finding\n" in out and out.count("No findings.") == 2


def test_clean_policy_summary_shows_params_and_dates(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(
        POLICY
        + """param size = 0.3
boost  spring weight size = item.age < 1 year from 2026-03-01
quota  voices hard = at most 2 per item.creator until 2026-12-31
block  old = item.age > 90 years
target keep = r >= 20%
test "an old film is blocked" {
  slate [ {age: 91 years} ]
  expect slate is blocked
}
"""
    )
    days = ["--as-of", "2026-02-28", "--set", "size=0.4"]
    assert cli.main(["check", str(mine), *days]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        '"mine" version 1: 2 rules (1 hard), 1 block, 1 target, 1 test, 5 places. No findings.',
        "  With size = 0.4. As of 2026-02-28: `spring` holds from 2026-03-01.",
    ]
    assert cli.main(["check", str(mine), "--as-of", "2026-03-01"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "  As of 2026-03-01."
    assert cli.main(["check", str(mine), "--as-of", "2027-01-01"]) == 1
    assert "`voices` has expired" in capsys.readouterr().out


def test_schema_policy_hints_at_data_option(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine.parent / "shop.toml").write_text((HERE / "shop.toml").read_text())
    mine.write_text(POLICY.replace('data = "ml-100k"', 'schema = "shop.toml"'))
    assert cli.main(["check", str(mine), str(mine)]) == 0
    out = capsys.readouterr().out.splitlines()
    hint = "Checked against the columns of shop; with --data NAME_OR_FOLDER also against its items and users."
    assert len(out) == 3 and out[2] == hint


def test_data_option_checks_items_and_users(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(POLICY.replace("ml-100k", "simulator") + "boost never weight 0.5 = item.published < 1900-01-01\n")
    assert cli.main(["check", str(mine)]) == 0
    capsys.readouterr()
    assert cli.main(["check", str(mine), "--data", "simulator"]) == 1
    out = capsys.readouterr().out
    assert "[E07" in out and f" --> {mine}:7:" in out and "Checked against the columns" not in out
    assert cli.main(["check", str(mine), "--data", "simulator", "--format", "json"]) == 1
    [found] = json.loads(capsys.readouterr().out)["policies"]
    assert (found["name"], found["ok"]) == ("mine", False)
    assert {finding["code"][:3] for finding in found["findings"]} == {"E07"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "relevnce"], "did you mean the sample policy `relevance`?"),
        (["check", "nowhere/else.policy"], "no such file"),
        (["check", "."], "is a directory"),
        (["check", "relevance", "--data", "nowhere"], "give a folder, `duckdb:FILE`, `ml-100k` or `simulator`"),
        (["check", "relevance", "--schema", "nowhere.toml"], "nowhere.toml"),
        (["check", "relevance", "--as-of", "tomorrow"], "as in 2026-03-31"),
        (["check", "relevance", "--set", "size"], "gives no value"),
        (["check", "relevance", "--set", "size=3"], "no param `size`"),
    ],
)
def test_usage_error_goes_to_stderr_with_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and words in captured.err


def test_non_utf8_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.policy").write_bytes(b'policy "caf\xe9" {}')
    with pytest.raises(UsageError, match="byte 12 is not UTF-8"):
        checker.load(str(tmp_path / "latin.policy"))


def test_byte_order_mark_and_crlf_are_read(mine: Path) -> None:
    mine.write_bytes(b"\xef\xbb\xbf" + POLICY.replace("\n", "\r\n").encode())
    assert checker.load(str(mine)).slate == 5


def test_schema_option_overrides_header(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine.parent / "other.toml").write_text('[item]\nid = { type = "text", role = "id" }\nprice = "float"\n')
    assert cli.main(["check", str(mine), "--schema", str(mine.parent / "other.toml")]) == 1
    assert "no item column `genres`" in capsys.readouterr().out


def test_data_folder_is_found_beside_policy(mine: Path) -> None:
    (mine.parent / "films").mkdir()
    (mine.parent / "films" / "schema.toml").write_text(
        '[item]\nid = { type = "text", role = "id" }\ngenres = "list of category"\n'
    )
    mine.write_text(POLICY.replace("ml-100k", "films"))
    assert checker.read(str(mine)).schema.name == "films"


def test_data_folder_without_schema_has_inferred_columns(mine: Path) -> None:
    folder = HERE.parents[1].parent / "shared" / "data" / "ml-latest-small"
    if not folder.is_dir():
        pytest.skip("the data set ml-latest-small is not beside the repository")
    mine.write_text(POLICY.replace("ml-100k", os.path.relpath(folder, mine.parent)))
    assert checker.read(str(mine)).schema.item["genres"].type.value == "list of category"


def test_version_option_prints_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("recpolicy ")


def test_check_loads_no_heavy_libraries(mine: Path) -> None:
    code = (
        "import sys; from recpolicy.cli import main; code = main(['check', sys.argv[1], 'balanced']);"
        "print(*{'numpy', 'torch', 'pyarrow', 'pydantic', 'rich', 'scipy', 'json'} & set(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(mine)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == ""


def test_python_m_runs_same_command(mine: Path) -> None:
    run = [sys.executable, "-m", "recpolicy", "check", str(mine)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('"mine"')


def test_terminal_output_is_plain_text_plus_colour() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(PolicyError) as caught:
        checker.load(str(HERE / "bad" / "five_mistakes.policy"))
    findings, source = caught.value.findings, caught.value.source
    assert source is not None
    terminal = Terminal()
    render.show(findings, source, terminal)
    coloured = terminal.getvalue()
    assert "\x1b[" in coloured
    plain = render.plain(findings, source)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_caret_aligns_under_wide_characters_and_tabs() -> None:
    text = POLICY + 'block x =\titem.genre is "映画" or item.zzz\n'
    with pytest.raises(PolicyError) as caught:
        checker.check(parser.parse(Source("wide.policy", text)), checker.read("relevance").schema)
    page = render.plain(caught.value.findings[1:], Source("wide.policy", text)).splitlines()
    line, carets = page[3], page[4]
    column = carets.index("^")
    before = line[: line.index("item.zzz")]
    assert column == len(before) + before.count("映") + before.count("画")


def test_saved_parse_tables_match_grammar() -> None:
    path = HERE.parents[1] / "grammar" / grammar.TABLES
    tables = grammar.tables()
    fresh = tables.partition(b"\n")
    # equal tables are not equal bytes, so that only a change of the grammar is worth a new file
    if os.environ.get("RECPOLICY_GOLDEN") and not (path.exists() and path.read_bytes().startswith(fresh[0])):
        path.write_bytes(tables)
        pytest.fail(f"rewritten: {path}", pytrace=False)
    saved = path.read_bytes().partition(b"\n")
    assert saved[0] == fresh[0], "the grammar has changed: run `make golden`"
    assert pickle.loads(saved[2])["data"]["options"] == pickle.loads(fresh[2])["data"]["options"]
