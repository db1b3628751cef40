"""Runs the tests of policies (`recpolicy test`) and shows which hold and which outcomes they leave out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy import render
from recpolicy.cli import reading
from recpolicy.errors import PolicyError
from recpolicy.errors.words import counted
from recpolicy.render.terminal import Part, columns, write
from recpolicy.render.text import visible, width

if TYPE_CHECKING:
    from recpolicy.dataset.rows import Dataset
    from recpolicy.language.checker import Loaded
    from recpolicy.language.policy import Policy
    from recpolicy.policy_tests import CaseReport, Coverage, Expectation, Report
    from recpolicy.span import Source

PLACES_A_LINE = 10
"""Places of a slate that stand in one line; a longer slate takes several lines."""


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "test",
        help="run the tests that stand in policies",
        description="Runs every `test` block and lists which outcomes of each rule no test has shown. "
        "Exit code 0: all hold; 1: some fail, or the policy has findings; 2: wrong use.",
    )
    parser.add_argument("policies", nargs="+", metavar="POLICY", help=reading.POLICY)
    reading.add_columns(parser, "add the items of the tests to this data set: its items by id, its statistics")
    reading.add(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the tests of each policy. Returns 1 where any has a failing test or a finding."""
    dataset = None if arguments.data is None else _training_view(arguments.data)
    schema = reading.columns(arguments) if dataset is None else dataset.schema
    wrong = False
    for number, name in enumerate(arguments.policies):
        print(end="\n" if number else "")
        try:
            loaded = reading.policy(name, arguments, schema)
        except PolicyError as error:
            assert error.source is not None, "the checker names the source"
            render.show(error.findings, error.source)
            print(f"\n{error.source.name}: {counted(len(error.findings), 'finding')}, no test is run")
            wrong = True
        else:
            wrong |= not _tested(loaded, dataset)
    return 1 if wrong else 0


def _training_view(name: str) -> Dataset:
    """The data as in training: statistics such as popularity are those of the training part."""
    from recpolicy import data

    dataset = data.open(name)
    return data.training_view(dataset, data.split(dataset))


def _tested(loaded: Loaded, dataset: Dataset | None) -> bool:
    """Runs and prints the tests of one policy. Returns True where all hold."""
    policy, source = loaded.policy, loaded.source
    if not policy.tests:
        example = 'test "..." { slate [ {...}, {...} ]  expect RULE = 1 }'
        print(f"{visible(source.name)}: no tests; one is written `{example}`")
        return True
    from recpolicy import policy_tests  # loads NumPy

    report = policy_tests.run(policy, loaded.schema, dataset)
    write(_page(report, policy, source))
    return report.failed == 0


# ---- the page -------------------------------------------------------------------------------------------------------


def _page(report: Report, policy: Policy, source: Source) -> Iterator[Part]:
    yield "title", f"{visible(source.name)}{_as_read(policy)}\n"
    for test in report.tests:
        yield from _line(test.passed, test.test.title, "  ")
        for case in sorted(test.cases, key=lambda case: bool(case.case.title)):
            if case.case.title:
                yield from _line(case.passed, case.case.title, "    ")
            yield from _failures(case, source)
            for name in case.case.waiting:
                yield "dim", f"        not looked at before its first day: {visible(name)}\n"
    yield "", "\n"
    yield from _coverage(report.coverage)
    seen, of = report.covered
    end = f"{report.failed} failed" if report.failed else "all passed"
    yield "error" if report.failed else "good", f"{counted(len(report.tests), 'test')}, {end}"
    yield "", f"; {seen} of {of} outcomes covered\n"


def _as_read(policy: Policy) -> str:
    """The day and the values that the policy was read with, where they matter."""
    settings = [f"as of {policy.as_of}"] if policy.as_of is not None else []
    settings += [f"{param.name} = {param.written}" for param in policy.params if param.given]
    return f" ({visible(', '.join(settings))})" if settings else ""


def _line(passed: bool, title: str, indent: str) -> Iterator[Part]:
    yield ("good", "  pass") if passed else ("error", "  FAIL")
    yield "", f"{indent}{visible(title)}\n"


def _failures(case: CaseReport, source: Source) -> Iterator[Part]:
    """A table of the expectations that do not hold, with what each place adds to the value."""
    failed = [verdict for verdict in case.verdicts if not verdict.passed]
    if not failed:
        return
    rows = [("", "rule", "expected", "found")]
    file = Path(source.name).name
    rows += [(f"{file}:{v.expect.span.line}", v.subject, v.expected, v.actual) for v in failed]
    cells = columns([[visible(cell) for cell in row] for row in rows])
    left = " " * 8
    yield "dim", f"{left}{cells[0]}{'place by place' if any(v.places for v in failed) else ''}".rstrip() + "\n"
    for verdict, row in zip(failed, cells[1:], strict=True):
        ledger = _ledger(verdict)
        yield "bad", f"{left}{row}{ledger[0] if ledger else ''}".rstrip() + "\n"
        for further in ledger[1:]:
            yield "", f"{left}{' ' * width(row)}{further}\n"
    for note in dict.fromkeys(verdict.note for verdict in failed if verdict.note):
        yield "", f"{left}{visible(note)}\n"


def _ledger(verdict: Expectation) -> list[str]:
    """What the places add, in aligned lines of `PLACES_A_LINE` places."""
    from recpolicy.policy_tests import number

    cells = [
        (name, ["hole" if added is None else number(added) for added in places[first : first + PLACES_A_LINE]])
        for name, places in verdict.places
        for first in range(0, len(places), PLACES_A_LINE)
    ]
    wide = max((len(cell) for _, row in cells for cell in row), default=0)
    names = max((width(visible(name)) + 2 for name, _ in cells if name), default=0)
    return [f"{visible(name):<{names}}{'  '.join(f'{cell:>{wide}}' for cell in row)}" for name, row in cells]


def _coverage(covered: Sequence[Coverage]) -> Iterator[Part]:
    rows = [("rule", "seen", "not seen")]
    for rule in covered:
        outcomes = list(zip(rule.outcomes, (rule.yes, rule.no), strict=True))
        seen, unseen = (", ".join(name for name, shown in outcomes if shown is state) for state in (True, False))
        rows.append((visible(rule.name), seen, unseen))
    lines = columns(rows)
    yield "dim", f"  {lines[0].rstrip()}\n"
    for line, rule in zip(lines[1:], covered, strict=True):
        yield "" if rule.yes and rule.no else "bad", f"  {line.rstrip()}\n"
    yield "", "\n"
