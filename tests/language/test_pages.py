"""Checks the page of each error code: its bad example gives the code, its good example no finding."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from recpolicy import analysis, data, render
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import Diagnostic, PolicyError, UsageError, pages
from recpolicy.language import checker

HERE = Path(__file__).parent
ERRORS = HERE.parents[1] / "recpolicy" / "errors"
DECLARED = {code for stage in ERRORS.glob("*.py") for code in re.findall(r'"(E\d{4})"', stage.read_text("utf-8"))}
HEADER = 'policy "example" {\n  language = 1\n  schema = "shop.toml"\n  slate = 10\n}\n'
RULE = "reward base weight 1 = ndcg(next_items)\n"


def findings(example: pages.Example, page: pages.Page, folder: Path) -> list[Diagnostic]:
    """What `recpolicy check` finds in an example, in a folder that holds the shop's schema and the page's files."""
    for name, text in {"shop.toml": (HERE / "shop.toml").read_text("utf-8"), **page.files}.items():
        (folder / name).write_text(text, "utf-8")
    header = HEADER.replace('schema = "shop.toml"', 'data = "simulator"') if example.catalog else HEADER
    text = example.text if example.whole else header + example.text + RULE
    (folder / "example.policy").write_text(text, "utf-8")
    try:
        loaded = checker.read(str(folder / "example.policy"))
    except PolicyError as error:
        return list(error.findings)
    return analysis.of_policy(loaded.policy, simulator()) if example.catalog else []


@cache
def simulator() -> Dataset:
    return data.open("simulator")


def test_error_codes_match_pages() -> None:
    assert sorted(DECLARED - set(pages.codes())) == []
    assert sorted(set(pages.codes()) - DECLARED) == []
    assert {code[:3] for code in pages.codes()} <= set(pages.STAGES)


@pytest.mark.parametrize("code", pages.codes())
def test_page_examples_give_stated_findings(code: str, tmp_path: Path) -> None:
    page = pages.page(code)
    if not page.bad.shown:
        assert [finding.code for finding in findings(page.bad, page, tmp_path)][:1] == [code]
    if not page.good.shown:
        assert [f"{f.code}: {f.title}" for f in findings(page.good, page, tmp_path)] == []


@pytest.mark.parametrize("code", pages.codes())
def test_page_has_title_prose_and_two_examples(code: str) -> None:
    text = (ERRORS / "pages" / f"{code}.md").read_text("utf-8")
    beside = r"(\nWith `[\w.]+` beside it:\n\n```\n)*"
    bare = pages.FENCE.sub("```", text)
    assert re.fullmatch(
        r"# E\d{4}: \S[^\n]+\n"
        r"(\n[A-Z`][^#\n][^\n]*(\n[^\n#]+)*\n)+"
        rf"\nWrong:\n\n```\n{beside}\nRight:\n\n```\n{beside}",
        bare,
    ), bare
    page = pages.page(code)
    assert page.bad.text and page.good.text and page.bad.text != page.good.text
    prose = page.text.partition("\nWrong:")[0]
    assert 100 < len(prose) < 900, "two or three sentences"
    assert max(map(len, text.splitlines())) <= 400


@pytest.mark.parametrize("asked", ["E0301", "e0301", " E0301 "])
def test_code_lookup_ignores_case(asked: str) -> None:
    assert pages.page(asked).code == "E0301"


@pytest.mark.parametrize(
    ("asked", "help"),
    [
        ("E301", "did you mean `E0301`?"),
        ("301", "did you mean `E0301`?"),
        ("E0399", "codes about kinds of value are E0301 to E03"),
        ("../E0301", "did you mean `E0301`?"),
        ("banana", "E03xx  kinds of value"),
        ("", "a code is E and four digits"),
    ],
)
def test_unknown_code_gets_suggestion(asked: str, help: str) -> None:
    with pytest.raises(UsageError) as caught:
        pages.page(asked)
    assert help in caught.value.help and asked in caught.value.message


def test_page_is_plain_in_file_and_coloured_in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    file, terminal = io.StringIO(), Terminal()
    render.page(pages.page("E0301"), file)
    render.page(pages.page("E0301"), terminal)
    plain = file.getvalue()
    assert plain.startswith("E0301: a plain number where a unit is needed\n\nDurations, ")
    assert "\nWrong:\n\n    boost fresh  weight 0.2 = item.age < 90\n" in plain and "```" not in plain
    assert max(len(line) for line in plain.splitlines()) <= 60
    assert "\x1b[" in terminal.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()) == plain


def test_pages_load_no_heavy_libraries() -> None:
    script = (
        "import sys; from recpolicy import render; from recpolicy.errors import pages\n"
        "render.page(pages.page('E0301'))\n"
        "print(*{'numpy', 'pyarrow', 'rich', 'lark', 'json'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("E0301") and done.stderr == "\n"
