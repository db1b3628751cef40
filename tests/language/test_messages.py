"""Checks the messages of every bad policy against golden files.

What is said in the same words, other names and numbers aside, has one golden text. Elsewhere code and place are held.
"""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

import recpolicy
from recpolicy import render
from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.language import checker
from recpolicy.span import Source, Span
from tests import golden

BAD = sorted((Path(__file__).parent / "bad").glob("*.policy"), key=lambda p: (p.stat().st_size, p.name))
"""The shortest first: the first that gives a message holds its text."""


@cache
def findings_of(path: Path) -> tuple[tuple[Diagnostic, ...], Source]:
    """What is found, and the file."""
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    assert caught.value.source is not None
    return caught.value.findings, caught.value.source


def wording(finding: Diagnostic) -> tuple[str, ...]:
    """What is said, less names and numbers."""
    said = finding.title, finding.label, finding.help, *(note.label for note in finding.notes)
    return finding.code, *(re.sub(r"`[^`]*`|\d+", "_", text) for text in said)


@cache
def texts() -> dict[tuple[str, ...], tuple[Path, int]]:
    """The policy whose golden file holds the text of a wording, and the number of the finding there."""
    first = dict[tuple[str, ...], tuple[Path, int]]()
    for path in BAD:
        for number, finding in enumerate(findings_of(path)[0]):
            first.setdefault(wording(finding), (path, number))
    return first


def messages(path: Path) -> str:
    """The findings as golden files hold them: texts, or code and places where the text is held elsewhere."""
    findings, source = findings_of(path)

    def place(span: Span, file: Source | None) -> str:
        return f"{f'{file.name}:' if file else ''}{span.line}:{span.column}, length {span.end - span.start}"

    told = []
    for number, finding in enumerate(findings):
        if texts()[wording(finding)] == (path, number):
            told.append(render.plain([finding], source))
        else:
            places = [(finding.span, finding.source), *((note.span, note.source) for note in finding.notes)]
            fix = "" if finding.fix is None else f" -> {finding.fix}"
            told.append(f"{finding.code} at {'; '.join(place(*p) for p in places)}{fix}\n")
    return "\n".join(told).replace(f"{path.parent}{os.sep}", "")


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_bad_policy_messages_match_golden_file(path: Path) -> None:
    golden.compare(messages(path), path.with_suffix(".err"))


def test_golden_messages_match_bad_policies() -> None:
    assert {p.stem for p in BAD} == {p.stem for p in BAD[0].parent.glob("*.err")}
    assert len(BAD) >= 30


def test_every_error_code_has_a_bad_policy() -> None:
    stages = sorted((Path(recpolicy.__file__).parent / "errors").glob("*.py"))
    declared = [code for stage in stages for code in re.findall(r'"(E\d{4})"', stage.read_text("utf-8"))]
    assert len(declared) == len(set(declared))
    shown = {code for p in BAD for code in re.findall(r"^error\[(E\d{4})\]", p.with_suffix(".err").read_text(), re.M)}
    by_data = {code for code in declared if code.startswith("E07")}  # it takes a data set to find those
    assert sorted(set(declared) - shown - by_data) == []


def test_wording_has_one_golden_text() -> None:
    held = [text for p in BAD for text in p.with_suffix(".err").read_text("utf-8").split("\n\n") if text[:2] != "E0"]
    titles = [re.sub(r"`[^`]*`|\d+", "_", text.partition(": ")[2].partition("\n")[0]) for text in held]
    assert len(held) == len(texts())
    assert set(titles) == {title for _, title, *_ in texts()}


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_finding_has_place_label_and_help(path: Path) -> None:
    findings, source = findings_of(path)
    own = [f.span.start for f in findings if f.source is None]
    assert own == sorted(own)
    for finding in findings:
        assert finding.title and finding.label and finding.help
        home = finding.source or source
        for place, file in ((finding.span, home), *((note.span, note.source or home) for note in finding.notes)):
            assert place.line == file.text[: place.start].count("\n") + 1
            assert place.column == place.start - file.text.rfind("\n", 0, place.start)
            assert place.start <= place.end <= len(file.text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bad policies, to be changed."""
    copied = tmp_path_factory.mktemp("copy") / "language"
    shutil.copytree(BAD[0].parents[1], copied, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return copied / "bad"


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_fix_removes_its_finding(path: Path, copy: Path) -> None:
    for finding in findings_of(path)[0]:
        if finding.fix is None or finding.source is not None:
            continue
        text, span = path.read_bytes().decode("utf-8"), finding.span
        (copy / path.name).write_bytes((text[: span.start] + finding.fix + text[span.end :]).encode("utf-8"))
        try:
            checker.load(str(copy / path.name))
        except PolicyError as left:
            assert (finding.code, span.start) not in {(f.code, f.span.start) for f in left.findings}, finding


def test_five_mistakes_give_five_findings() -> None:
    findings, _ = findings_of(BAD[0].parent / "five_mistakes.policy")
    assert [f.span.line for f in findings] == [7, 8, 9, 10, 11]
    helps = [f.help for f in findings]
    for help, word in zip(helps, ("90 days", "ndcg", "item.genres", "1 to 10", "is"), strict=True):
        assert word in help
