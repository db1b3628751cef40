"""The README is true: its commands, their output, its tree; and what holds for every file."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT, blocks, files

README = (ROOT / "README.md").read_text("utf-8")

COMMANDS = ("check", "data", "diff", "explain", "fmt", "init", "profile", "recommend", "score", "test", "train")


def output(command: str, folder: Path) -> str:
    """What `recpolicy ...` prints in `folder`."""
    program, *arguments = shlex.split(command)
    assert program == "recpolicy"
    done = subprocess.run(
        [sys.executable, "-m", "recpolicy", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_first_screen_shows_both_commands() -> None:
    first = README.splitlines()[:12]
    assert any(line.startswith("make demo ") for line in first)
    assert any(line.startswith("make test ") for line in first)


def test_shown_output_is_what_the_commands_print(tmp_path: Path) -> None:
    for name, text in blocks("policy"):
        (tmp_path / name).write_text(text, "utf-8")

    def renewed(shown: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", shown[0], re.MULTILINE)
        return "\n".join(f"$ {command}\n{output(command, tmp_path)}" for command in commands)

    page, renewals = re.subn(r"(?<=^```console\n)(?:.*\n)*?(?=```$)", renewed, README, flags=re.MULTILINE)
    if os.environ.get("RECPOLICY_GOLDEN"):
        (ROOT / "README.md").write_text(page, "utf-8")
    assert page == (ROOT / "README.md").read_text("utf-8")
    assert renewals >= 3 and "error[" in page


def test_every_shown_command_and_option_exists(tmp_path: Path) -> None:
    lines = [line for kind in ("sh", "console") for _, text in blocks(kind) for line in text.splitlines()]
    commands = [line.removeprefix("$ ").partition(" #")[0] for line in lines]
    ours = [shlex.split(command)[1:] for command in commands if command.startswith("recpolicy ")]
    assert {words[0] for words in ours} == set(COMMANDS)
    for words in ours:
        names = words[:2] if words[0] == "data" else words[:1]
        help = output(shlex.join(["recpolicy", *names, "--help"]), tmp_path)
        assert help.startswith("usage: ")
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--\w+", help))


def test_every_recipe_named_on_the_page_is_in_the_makefile() -> None:
    recipes = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"help", "demo", "test", "check", "golden", "bench", "learning"} == recipes
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test"} <= named <= recipes


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_no_python_file_is_long() -> None:
    assert {p: n for p in files() if p.endswith(".py") and (n := (ROOT / p).read_text("utf-8").count("\n")) > 400} == {}


def test_no_file_knows_a_machine() -> None:
    places = re.compile(r"(?<![\w./])/(?:work|root|home|Users)\b")
    for path in files():
        try:
            text = (ROOT / path).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        assert not places.search(text), f"{path}: {places.search(text)}"
