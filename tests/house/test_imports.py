"""Imports run one way, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from tests.house.tree import ROOT, listed, modules

LAZY = {
    ("checker", "data"),  # the columns of a data folder are read only where a policy names one
    ("cli", "trainer"),  # so that every other command starts without torch
}
"""Imports against the order; they stand inside a function."""

HEAVY = {
    "lark": {"parser"},
    "rich": {"render", "cli"},
    "pyarrow": {"data", "scoring"},
    "pydantic": {"trainer"},
    "torch": {"trainer"},
    "transformers": {"trainer"},
    "trl": {"trainer"},
    "tokenizers": {"trainer"},
    "datasets": {"trainer"},
    "jinja2": {"trainer"},
    "peft": {"trainer"},
    "accelerate": {"trainer"},
}


def room(module: str) -> str:
    return module.split(".")[1]


def imports(path: str) -> Iterator[tuple[str, bool]]:
    """Full name of everything a file imports, and whether that happens inside a function."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module, id(node) in inside


INSIDE = {module: path for module, path in modules().items() if module != "recpolicy"}
PLACE = {path: place for place, path in enumerate(listed())}


def place(path: str) -> int:
    """Where the README's tree lists a file, or the folder that stands for all that is in it."""
    return PLACE[path] if path in PLACE else PLACE[f"{path.rpartition('/')[0]}/"]


ORDER = list(dict.fromkeys(room(module) for module in sorted(INSIDE, key=lambda module: place(INSIDE[module]))))
"""The rooms of the house as the README's tree lists them; each may import what stands before it."""

IMPORTS = [(module, name, lazy) for module, path in INSIDE.items() for name, lazy in imports(path)]


def test_imports_run_one_way() -> None:
    backward = {
        (module, name, lazy)
        for module, name, lazy in IMPORTS
        if name.startswith("recpolicy.") and ORDER.index(room(name)) > ORDER.index(room(module))
    }
    assert {found for found in backward if not (found[2] and (room(found[0]), room(found[1])) in LAZY)} == set()
    assert {(room(module), room(name)) for module, name, _ in backward} == LAZY


def test_the_trainer_leaves_the_terminal_to_the_command_line() -> None:
    used = {room(name) for module, name, _ in IMPORTS if room(module) == "trainer" and name.startswith("recpolicy.")}
    assert used and used & {"render", "cli"} == set()


def test_heavy_libraries_stay_in_their_rooms() -> None:
    used: dict[str, set[str]] = {}
    for module, name, _ in IMPORTS:
        used.setdefault(name.partition(".")[0], set()).add(room(module))
    assert {library: rooms - HEAVY[library] for library, rooms in used.items() if library in HEAVY} == {
        library: set() for library in HEAVY if library in used
    }


def test_no_modules_import_each_other() -> None:
    files = {module for module, path in INSIDE.items() if not path.endswith("__init__.py")}
    graph: dict[str, set[str]] = {module: set() for module in INSIDE}
    for module, name, lazy in IMPORTS:
        if name in files and not lazy:
            graph[module].add(name)
    TopologicalSorter(graph).prepare()  # raises CycleError


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
def test_the_first_answer_loads_nothing_heavy(command: list[str]) -> None:
    script = (
        "import sys; from recpolicy.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "recpolicy" in loaded
    assert loaded & ({"numpy", *HEAVY} - {"lark"}) == set()
