"""`recpolicy fmt`: one canonical form, in which a policy means what it meant and every comment is kept."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpolicy import formatter, parser, syntax
from recpolicy.errors import PolicyError
from recpolicy.span import Source
from tests.language.writing import Writer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLES = sorted([*ROOT.glob("policies/*.policy"), *ROOT.glob("examples/**/*.policy"), *HERE.glob("good/*.policy")])


def formatted(text: str) -> str:
    return formatter.format(Source("any.policy", text))


def parsed(text: str) -> syntax.File:
    file = parser.parse(Source("any.policy", text))
    assert file.problems == ()
    return file


def comments(text: str) -> list[str]:
    words = re.findall(r'"(?:\\.|[^"\\\n])*"|`[^`\n]+`|#[^\n]*', text)
    return [word.rstrip() for word in words if word.startswith("#")]


def owners(text: str) -> list[int]:
    """For each comment, how many statements of the file end before it: those it belongs to stay the same."""
    ends = [statement.span.end for statement in parsed(text).statements]
    places = [match.start() for match in re.finditer(r'"(?:\\.|[^"\\\n])*"|`[^`\n]+`|#[^\n]*', text) if match[0][0] == "#"]
    return [sum(end <= place for end in ends) for place in places]


def holds(text: str) -> None:
    """All that is promised of the canonical form of `text`."""
    once = formatted(text)
    assert formatted(once) == once
    assert parsed(once) == parsed(text)
    assert comments(once) == comments(text)
    assert owners(once) == owners(text)
    assert "\n\n\n" not in once and not re.search(r"[ \t]\n", once) and not once.startswith("\n")
    assert once.endswith("\n") or not once
    assert all(len(line) <= 100 or "#" in line or '"' in line for line in once.splitlines()), once


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_generated_policies(seed: int) -> None:
    holds(Writer(Random(seed)).policy())


def test_the_generated_policies_use_every_construct() -> None:
    seen: set[type[syntax.Node]] = set()
    for seed in range(300):
        todo: list[syntax.Node] = [parsed(Writer(Random(seed)).policy())]
        while todo:
            node = todo.pop()
            seen.add(type(node))
            todo += syntax.nodes(node)
    built = {c for c in vars(syntax).values() if isinstance(c, type) and issubclass(c, syntax.Node)}
    assert built - seen == {syntax.Node, syntax.Unreadable}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_policies_of_this_project(path: Path) -> None:
    text = path.read_text("utf-8")
    if parser.parse(Source(path.name, text)).problems:
        pytest.skip("wrong on purpose")
    holds(text)
    assert formatted(text) == text
