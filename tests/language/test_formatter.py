"""Checks `recpolicy fmt`: one canonical form that keeps meaning and comments."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recpolicy.errors import PolicyError
from recpolicy.language import formatter, parser, syntax
from recpolicy.span import Source
from tests.language.writing import Writer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SAMPLES = sorted([*ROOT.glob("policies/*.policy"), *ROOT.glob("examples/**/*.policy"), *HERE.glob("good/*.policy")])
READABLE = [p for p in SAMPLES if not parser.parse(Source(p.name, p.read_text("utf-8"))).problems]


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
    places = [
        match.start() for match in re.finditer(r'"(?:\\.|[^"\\\n])*"|`[^`\n]+`|#[^\n]*', text) if match[0][0] == "#"
    ]
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
def test_random_policies_keep_meaning_and_comments(seed: int) -> None:
    holds(Writer(Random(seed)).policy())


def test_random_policies_use_every_construct() -> None:
    seen: set[type[syntax.Node]] = set()
    for seed in range(300):
        todo: list[syntax.Node] = [parsed(Writer(Random(seed)).policy())]
        while todo:
            node = todo.pop()
            seen.add(type(node))
            todo += syntax.nodes(node)
    built = {c for c in vars(syntax).values() if isinstance(c, type) and issubclass(c, syntax.Node)}
    assert built - seen == {syntax.Node, syntax.Unreadable}


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.stem)
def test_project_policies_are_formatted(path: Path) -> None:
    text = path.read_text("utf-8")
    holds(text)
    assert formatted(text) == text


def test_canonical_form_matches_golden_file() -> None:
    text = (HERE / "formatted" / "before.txt").read_text("utf-8")
    assert formatted(text) == (HERE / "formatted" / "after.policy").read_text("utf-8")
    holds(text)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "# only a comment", "# one\n\n\n\n# two\n", 'policy "a" {}', "when user.premium {# in\n}# out"],
)
def test_nearly_empty_files_are_formatted(text: str) -> None:
    holds(text)


def test_syntax_error_is_refused() -> None:
    with pytest.raises(PolicyError) as caught:
        formatted("let a = 3 +")
    assert [finding.code for finding in caught.value.findings] == ["E0101"]


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"boost rule_{i} weight 1=item.price>{i} # {i}\n" for i in range(2_000)),
        "".join(f'test "{i}" {{ slate [{{price: 3}}, hole]\n expect a = 1\n}}\n' for i in range(1_000)),
        'test "a" {\n  slate [' + "{price: 3}, " * 5_000 + "]\n}\n",
        "let a = item.genres in [" + '"Drama", ' * 5_000 + "]",
        "let a = item.is_ad" + " and item.is_ad" * 5_000,
        "let a = " + "(" * 300 + "3" + ")" * 300,
    ],
)
def test_long_and_deep_files_are_stable(text: str) -> None:
    once = formatted(text)
    assert formatted(once) == once
    assert parsed(once) == parsed(text)


# ---- the command


def fmt(*arguments: str, text: str = "") -> tuple[int, str, str]:
    """Exit code, output and error output of `recpolicy fmt`."""
    command = [sys.executable, "-m", "recpolicy", "fmt", *arguments]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_fmt_rewrites_files_in_place(tmp_path: Path) -> None:
    one, two = tmp_path / "one.policy", tmp_path / "two.policy"
    one.write_bytes(b"\xef\xbb\xbflet a=3 # \xc3\xa4\r\nlet bc=4\r\n")
    two.write_text("let a = 3\n")
    assert fmt(str(one), str(two)) == (0, f"{one}: formatted\n", "")
    assert one.read_text("utf-8") == "let a  = 3  # ä\nlet bc = 4\n"
    assert fmt(str(one), str(two)) == (0, "", "")


def test_fmt_check_shows_diff_and_keeps_file(tmp_path: Path) -> None:
    path = tmp_path / "one.policy"
    path.write_text("let a=3\nlet b = 4\n")
    code, output, _ = fmt("--check", str(path))
    assert code == 1
    assert output.splitlines()[2:] == ["@@ -1,2 +1,2 @@", "-let a=3", "+let a = 3", " let b = 4"]
    assert path.read_text() == "let a=3\nlet b = 4\n"
    path.write_text("let a = 3\n")
    assert fmt("--check", str(path)) == (0, "", "")


def test_fmt_reads_stdin_and_writes_stdout() -> None:
    assert fmt("-", text="let a=3") == (0, "let a = 3\n", "")
    code, output, errors = fmt("-", text="let a=3 +")
    assert (code, output) == (1, "") and "E0101" in errors


def test_fmt_keeps_file_with_syntax_error(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.policy", tmp_path / "good.policy"
    bad.write_text("let  a = 3 +\n")
    good.write_text("let  a = 3\n")
    code, output, _ = fmt(str(bad), str(good))
    assert code == 1 and "E0101" in output
    assert bad.read_text() == "let  a = 3 +\n"
    assert good.read_text() == "let a = 3\n"


@pytest.mark.parametrize("name", ["balanced", "nowhere.policy", "."])
def test_fmt_of_missing_file_is_usage_error(name: str) -> None:
    code, output, errors = fmt(name)
    assert (code, output) == (2, "") and errors.startswith("error: ")
