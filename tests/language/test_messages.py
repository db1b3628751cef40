"""What a team reads when a policy is wrong: every bad policy beside its messages."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from recpolicy import checker, render
from recpolicy.errors import PolicyError, names, rules, syntax, types

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
    declared = [
        code
        for stage in (syntax, names, types, rules)
        for code in re.findall(r'"(E\d{4})"', Path(stage.__file__ or "").read_text())
    ]
    assert len(declared) == len(set(declared))
    shown = {code for p in BAD for code in re.findall(r"^error\[(E\d{4})\]", p.with_suffix(".err").read_text(), re.M)}
    assert sorted(set(declared) - shown) == []


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_every_finding_has_a_place_and_a_help(path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    findings, source = caught.value.findings, caught.value.source
    assert source is not None
    assert [f.span.start for f in findings] == sorted(f.span.start for f in findings)
    for finding in findings:
        assert finding.title and finding.label and finding.help
        assert finding.span.line == source.text[: finding.span.start].count("\n") + 1
        assert finding.span.column >= 1


def test_five_mistakes_are_five_findings_each_on_its_line() -> None:
    path = BAD[0].parent / "five_mistakes.policy"
    with pytest.raises(PolicyError) as caught:
        checker.load(str(path))
    assert [f.span.line for f in caught.value.findings] == [7, 8, 9, 10, 11]
    helps = [f.help for f in caught.value.findings]
    for help, word in zip(helps, ("90 days", "ndcg", "item.genres", "1 to 10", "is"), strict=True):
        assert word in help
