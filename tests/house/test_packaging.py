"""Checks the packages, their data, and the lock of the tested environment."""

from __future__ import annotations

import re
from fnmatch import fnmatch

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recpolicy import __version__
from tests.house.tree import ROOT, files, packages, project


def test_package_folders_are_declared() -> None:
    folders = {path.rpartition("/")[0] for path in files() if path.endswith("/__init__.py")}
    assert set(packages().values()) == {f for f in folders if f.partition("/")[0] not in ("tests", "docs")}


def test_python_files_lie_in_packages() -> None:
    loose = [p for p in files() if p.endswith(".py") and p.rpartition("/")[0] not in packages().values()]
    assert [p for p in loose if p.partition("/")[0] not in ("tests", "benchmarks", "docs")] == []


def test_package_data_is_declared() -> None:
    declared = project()["tool"]["setuptools"]["package-data"]
    unused = {(package, pattern) for package, patterns in declared.items() for pattern in patterns}
    for package, folder in packages().items():
        for path in files():
            name = path.rpartition("/")[2]
            if path.rpartition("/")[0] != folder or name.endswith(".py") or name == "README.md":
                continue
            matching = {(package, pattern) for pattern in declared.get(package, ()) if fnmatch(name, pattern)}
            assert matching, f"{path} is in no pattern of package-data"
            unused -= matching
    assert unused == set()


def locked() -> dict[str, str]:
    """Version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line.partition("==") for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) and re.fullmatch(r"[0-9][\w.]*", v) for name, _, v in pins)
    return {canonicalize_name(name): version for name, _, version in pins}


def test_lock_satisfies_every_requirement() -> None:
    pins = locked()
    declared = project()["project"]
    for text in (*declared["dependencies"], *(r for rs in declared["optional-dependencies"].values() for r in rs)):
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_torch_pin_matches_lock() -> None:
    assert [r for r in project()["project"]["optional-dependencies"]["train"] if r.startswith("torch")] == [
        f"torch=={locked()['torch']}"
    ]


def test_version_matches_changelog() -> None:
    assert project()["project"]["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
