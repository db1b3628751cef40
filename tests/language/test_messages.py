"""What a team reads when a policy is wrong: every bad policy beside its messages."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

import recpolicy
from recpolicy import render
from recpolicy.errors import PolicyError
from recpolicy.language import checker

BAD = sorted((Path(__file__).parent / "bad").glob("*.policy"))


def findings_of(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    source = caught.value.source
    assert source is not None
    return render.plain(caught.value.findings, source).replace(f"{path.parent}{os.sep}", "")


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_a_bad_policy_gives_the_messages_beside_it(path: Path) -> None:
    golden = path.with_suffix(".err")
    seen = findings_of(path)
    if os.environ.get("RECPOLICY_GOLDEN"):
        golden.write_text(seen, "utf-8")
    assert seen == golden.read_text("utf-8")


def test_every_message_file_has_its_policy() -> None:
    assert {p.stem for p in BAD} == {p.stem for p in BAD[0].parent.glob("*.err")}
    assert len(BAD) >= 30


def test_every_code_stands_in_one_message_and_is_shown_by_a_bad_policy() -> None:
    stages = sorted((Path(recpolicy.__file__).parent / "errors").glob("*.py"))
    declared = [code for stage in stages for code in re.findall(r'"(E\d{4})"', stage.read_text("utf-8"))]
    assert len(declared) == len(set(declared))
    shown = {code for p in BAD for code in re.findall(r"^error\[(E\d{4})\]", p.with_suffix(".err").read_text(), re.M)}
    by_data = {code for code in declared if code.startswith("E07")}  # it takes a data set to find those
    assert sorted(set(declared) - shown - by_data) == []


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_every_finding_has_a_place_and_a_help(path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    findings, source = caught.value.findings, caught.value.source
    assert source is not None
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
def test_a_fix_mends_its_finding(path: Path, copy: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    for finding in caught.value.findings:
        if finding.fix is None or finding.source is not None:
            continue
        text, span = path.read_bytes().decode("utf-8"), finding.span
        (copy / path.name).write_bytes((text[: span.start] + finding.fix + text[span.end :]).encode("utf-8"))
        try:
            checker.load(str(copy / path.name))
        except PolicyError as left:
            assert (finding.code, span.start) not in {(f.code, f.span.start) for f in left.findings}, finding


def test_five_mistakes_are_five_findings_each_on_its_line() -> None:
    path = BAD[0].parent / "five_mistakes.policy"
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    assert [f.span.line for f in caught.value.findings] == [7, 8, 9, 10, 11]
    helps = [f.help for f in caught.value.findings]
    for help, word in zip(helps, ("90 days", "ndcg", "item.genres", "1 to 10", "is"), strict=True):
        assert word in help
