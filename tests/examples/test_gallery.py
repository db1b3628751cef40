"""Checks that the sample policies are clean, formatted and tested, and use every word of the language together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recpolicy import cli
from recpolicy.language import checker, parser, syntax
from recpolicy.language.checker.expressions.vocabulary import FUNCTIONS, HISTORY, MEASURES, POPULATION
from recpolicy.language.policy import Policy
from recpolicy.span import Source

POLICIES = Path(__file__).parents[2] / "policies"
SAMPLES = sorted(p.stem for p in POLICIES.glob("*.policy"))
SANDBOXES = sorted((POLICIES.parent / "examples").glob("*/*.policy"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_clean_formatted_and_tested(sample: str) -> None:
    path = POLICIES / f"{sample}.policy"
    assert cli.main(["check", sample]) == 0
    assert cli.main(["fmt", "--check", str(path)]) == 0
    assert cli.main(["test", sample]) == 0
    assert checker.load(sample).tests


@pytest.mark.slow
@pytest.mark.parametrize("sample", [s for s in SAMPLES if checker.load(s).data == "simulator"])
def test_simulator_sample_is_clean_with_data(sample: str) -> None:
    assert cli.main(["check", sample, "--data", "simulator"]) == 0


def test_gallery_has_ten_samples_on_two_datasets() -> None:
    assert len(SAMPLES) >= 10
    used: list[Policy] = [checker.load(sample) for sample in SAMPLES]
    assert {policy.data for policy in used} == {"ml-100k", "simulator"}
    assert len({policy.name for policy in used}) == len(used)


@pytest.mark.parametrize("sample", SAMPLES)
def test_rules_in_samples_have_comments(sample: str) -> None:
    """Above a run of rules stands a comment, or the rule says `because`."""
    text = (POLICIES / f"{sample}.policy").read_text("utf-8")
    for part in re.split(r"\n\s*\n", text):
        lines = part.splitlines()
        if re.match(r"(reward|boost|bury|quota|block|target) ", lines[0]):
            raise AssertionError(f"{sample}: no comment above `{lines[0]}`")


def test_gallery_and_sandboxes_use_whole_language() -> None:
    """All of it but `-x`, and `until`: a sample must not expire."""
    used: set[str] = set()
    for path in (*(POLICIES / f"{s}.policy" for s in SAMPLES), *SANDBOXES):
        if not path.stem.endswith(("_bad", "_unmet")):
            todo: list[syntax.Node] = list(parser.parse(Source(path.name, path.read_text("utf-8"))).statements)
            while todo:
                node = todo.pop()
                used.add(type(node).__name__)
                used |= {node.function} if isinstance(node, syntax.Call) else set()
                todo += syntax.nodes(node)
    kinds = {k for k, v in vars(syntax).items() if isinstance(v, type) and issubclass(v, syntax.Node)}
    assert kinds - used == {"Node", "File", "Header", "Setting", "Unreadable", "Negative", "Until"}
    assert {*MEASURES, *POPULATION, *FUNCTIONS, *HISTORY} - used == set()
