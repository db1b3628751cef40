"""Checks the pages: their commands, output, snippets, links and pictures, and that generated ones are up to date."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.tools import pages, pictures
from recpolicy.cli import COMMANDS
from tests import golden
from tests.command import recpolicy
from tests.house.tree import ROOT, blocks, files

PAGES = ["README.md", *sorted(path for path in files() if re.fullmatch(r"docs/[\w-]+\.md", path))]
LINKED = [*PAGES, *(path for path in files() if re.fullmatch(r"(\.github/|grammar/|examples/)?[^/]*\.md", path))]
RERUN = ["README.md", "docs/policies.md", "docs/data.md", "docs/tutorial.md", "docs/conflicts.md"]
"""Pages with blocks of `console`."""
FILES = ("policy", "csv", "toml")
"""Languages of the blocks that are files where a name stands behind the language."""


def output(command: str, folder: Path) -> str:
    """What `recpolicy ...` prints in `folder`."""
    program, *arguments = shlex.split(command)
    assert program == "recpolicy"
    done = subprocess.run(
        [sys.executable, "-m", "recpolicy", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def write_files(page: str, folder: Path) -> None:
    for kind in FILES:
        for name, text in blocks(kind, page):
            if name and not name.startswith("bad"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(text, "utf-8")


def shown_commands(page: str) -> list[str]:
    """Every line of a block of `sh`, and the lines behind `$` in the blocks of `console`."""
    lines = [line for _, text in blocks("sh", page) for line in text.splitlines()]
    lines += [line[2:] for _, text in blocks("console", page) for line in text.splitlines() if line.startswith("$ ")]
    commands = [line.partition(" #")[0].strip() for line in lines]
    return [command.partition("-m ")[2] if command.startswith("accelerate ") else command for command in commands]


@pytest.mark.parametrize("page", PAGES)
def test_pages_with_output_are_rerun(page: str) -> None:
    assert bool(blocks("console", page)) == (page in RERUN)


@pytest.mark.parametrize("page", RERUN)
def test_shown_output_matches_commands(page: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)

    def renewed(shown: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", shown[0], re.MULTILINE)
        return "\n".join(f"$ {command}\n{output(command, tmp_path)}" for command in commands)

    before = (ROOT / page).read_text("utf-8")
    after = re.sub(r"(?<=^```console\n)(?:.*\n)*?(?=```$)", renewed, before, flags=re.MULTILINE)
    golden.compare(after, ROOT / page)


@cache
def options(*names: str) -> frozenset[str] | None:
    """The options of a command, None where there is no such command."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    if names[0] not in COMMANDS:
        return None
    import_module(f"recpolicy.cli.{names[0]}").add(subparsers)
    inner = subparsers.choices[names[0]]
    for name in names[1:]:
        [below] = [action for action in inner._actions if isinstance(action, argparse._SubParsersAction)]
        if name not in below.choices:
            return None
        inner = below.choices[name]
    return frozenset(inner._option_string_actions)


@pytest.mark.parametrize("page", [page for page in LINKED if shown_commands(page)])
def test_shown_commands_and_options_exist(page: str) -> None:
    for command in shown_commands(page):
        if command.startswith("recpolicy "):
            words = shlex.split(command)[1:]
            known = options(*(words[:2] if words[0] == "data" else words[:1]))
            assert known is not None, command
            given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert given <= known, command


def test_every_command_is_shown() -> None:
    shown = [shlex.split(command) for page in PAGES for command in shown_commands(page)]
    assert {words[1] for words in shown if words[:1] == ["recpolicy"]} == set(COMMANDS)


def anchors(page: str) -> set[str]:
    """The anchors that the headings of a page make, in the terminal's commands none."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", sorted(set(LINKED)))
def test_links_resolve(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert there.exists() and there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(str(there.relative_to(ROOT))), target


@pytest.mark.parametrize("page", ["README.md", "docs/rewards.md"])
def test_python_snippet_prints_rewards(page: str, tmp_path: Path) -> None:
    snippets = blocks("python", page)
    assert snippets
    for _, snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"\[-?\d\.\d+", done.stdout)


@pytest.mark.parametrize("page", ["commands.md", "settings.md", "errors.md"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    golden.compare(pages.pages()[page], ROOT / "docs" / page)


def test_pictures_are_valid_svg_without_external_links() -> None:
    shown = {
        name for page in PAGES for name in re.findall(r"\]\((?:docs/)?img/(.*?)\)", (ROOT / page).read_text("utf-8"))
    }
    assert shown == {path.name for path in (ROOT / "docs" / "img").iterdir()}
    for name in shown:
        text = (ROOT / "docs" / "img" / name).read_text("utf-8")
        ElementTree.fromstring(text)
        assert set(re.findall(r"https?://[^\"' )]+", text)) <= {
            "http://www.w3.org/2000/svg",
            "https://www.textualize.io",
        }


def test_training_chart_matches_page_figures() -> None:
    found = pictures.figures((ROOT / "docs" / "training.md").read_text("utf-8"))
    assert pictures.chart_svg(found) == (ROOT / "docs" / "img" / "training.svg").read_text("utf-8"), "make pictures"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_check_terminal_picture_is_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "draft.policy").write_text(pictures.DRAFT, "utf-8")
    command = "recpolicy check draft.policy"
    drawn = pictures.terminal_svg("check", "recpolicy check", {command: pictures.terminal_output(command, tmp_path)})
    assert drawn == (ROOT / "docs" / "img" / "check.svg").read_text("utf-8"), "make pictures"


@pytest.mark.slow
def test_tutorial_runs_to_its_report(tmp_path: Path) -> None:
    write_files("docs/tutorial.md", tmp_path)
    printed = ""
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    for command in re.findall(r"^(?:\$ )?(recpolicy .*)$", page, re.MULTILINE):
        done = recpolicy(tmp_path, *shlex.split(command)[1:])
        printed += done.stdout + done.stderr
    for line in re.findall(r"^ (?:SFT|GRPO|re-rank|───)", page, re.MULTILINE):
        assert line in printed
    assert re.search(r"^UNDECIDED: the whole reward changed by", printed, re.MULTILINE)
    assert (tmp_path / "runs" / "first" / "eval.json").exists()
    lists = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text("utf-8").splitlines()]
    items = (tmp_path / "library" / "items.csv").read_text("utf-8").splitlines()
    crime = {line.partition(",")[0] for line in items if "Crime" in line}
    [ben] = [one for one in lists if one["user_id"] == "ben"]
    assert len(lists) == 8 and len(crime) == 4 and ben["items"] and not crime & set(ben["items"])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the extra `docs` is not installed")
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    site = tmp_path / "site"
    assert len(list((site / "errors").glob("E*.html"))) == len(list((ROOT / "recpolicy/errors/pages").glob("E*.md")))
    outside = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="https?://')
    assert [p.name for p in site.glob("*.html") if outside.search(p.read_text("utf-8"))] == []


def test_evaluation_keys_are_documented() -> None:
    page = (ROOT / "docs" / "eval.md").read_text("utf-8")
    sources = [(ROOT / "trainer" / path).read_text("utf-8") for path in ("pipeline.py", "evaluation/evaluator.py")]
    returned = re.search(r'^        "schema_version":.*?^    \}$', sources[1], re.MULTILINE | re.DOTALL)
    assert returned
    keys = set(re.findall(r'^        "(\w+)":', returned[0], re.MULTILINE))
    keys |= set(re.findall(r'^    evaluation\["(\w+)"\]', sources[0], re.MULTILINE))
    assert len(keys) >= 14
    assert {key for key in keys if f"`{key}`" not in page} == set()
