"""Checks that docstrings of modules and public functions begin with a verb, and that banned words are absent."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.house.tree import ROOT, modules

VERB = re.compile(r"[A-Z][a-z]+s\b(?!')")
NOUNS = {"This", "Items", "Users", "Rows", "Slates", "Values", "Lists", "Rules", "Names", "Columns", "Its", "Places"}
DIALECT = {"told", "said", "everybodys", "Shelf", "Verdict", "Alarms"}


def docstrings(path: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of a file's module and of its public functions and methods, properties aside."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    yield path, ast.get_docstring(tree) or ""
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            marks = {ast.unparse(mark) for mark in node.decorator_list}
            if marks & {"property", "cached_property", "override", "overload"} or any(
                m.endswith(".setter") for m in marks
            ):
                continue
            yield f"{path}:{node.lineno} {node.name}", ast.get_docstring(node) or ""


def wrong(path: str) -> list[str]:
    """What is wrong with the docstrings and words of a file."""
    found = [
        f"{name}: {text.splitlines()[0] if text else 'no docstring'}"
        for name, text in docstrings(path)
        if not (verb := VERB.match(text)) or verb[0] in NOUNS
    ]
    names = tokenize.generate_tokens(io.StringIO((ROOT / path).read_text("utf-8")).readline)
    found += [
        f"{path}:{t.start[0]} the word {t.string}" for t in names if t.type == tokenize.NAME and t.string in DIALECT
    ]
    return found


def test_docstrings_begin_with_verb_and_banned_words_are_absent() -> None:
    assert [line for path in modules().values() for line in wrong(path)] == []


if __name__ == "__main__":  # python -m tests.house.test_docstrings FOLDER: what is left to do there
    import sys

    lines = [line for path in modules().values() if path.startswith(sys.argv[1]) for line in wrong(path)]
    print("\n".join(lines), f"{len(lines)} left", sep="\n")
