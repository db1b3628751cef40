"""Knows the files of the repository, its packages, and what its pages say about them."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@cache
def files() -> tuple[str, ...]:
    """Every file that git tracks or would track, as paths from the root with `/`."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}", allow_module_level=True)
    return tuple(sorted({path for path in done.stdout.split("\0") if path and (ROOT / path).is_file()}))


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@cache
def packages() -> dict[str, str]:
    """Folder of each package by the name it is imported under, as pyproject.toml declares them."""
    settings = project()["tool"]["setuptools"]
    mapped: dict[str, str] = settings["package-dir"]

    def folder(name: str) -> str:
        above = name.rpartition(".")
        return mapped.get(name) or (f"{folder(above[0])}/{above[2]}" if above[0] else name)

    return {name: folder(name) for name in settings["packages"]}


def modules() -> dict[str, str]:
    """File of each module by its full name."""
    found = {}
    for package, folder in packages().items():
        for path in files():
            if path.endswith(".py") and path.rpartition("/")[0] == folder:
                stem = path.rpartition("/")[2].removesuffix(".py")
                found[package if stem == "__init__" else f"{package}.{stem}"] = path
    return found


def blocks(kind: str, page: str = "README.md") -> list[tuple[str, str]]:
    """What stands behind the language, and the text, of every fenced block of that language on a page."""
    return re.findall(rf"^```{kind}\b *(.*)\n((?:.*\n)*?)```$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
