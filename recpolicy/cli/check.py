"""Checks policies (`recpolicy check`) and shows their findings, or one line for each policy without any."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recpolicy import render
from recpolicy.cli import reading
from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.errors.words import counted
from recpolicy.language.checker import Loaded
from recpolicy.language.policy import Policy, Quota
from recpolicy.render import Checked
from recpolicy.schema import Schema

if TYPE_CHECKING:
    from recpolicy.dataset.rows import Dataset


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "check",
        help="find mistakes in policies",
        description="Finds every mistake in the policies. Exit code 0: none; 1: findings; 2: wrong use.",
    )
    parser.add_argument("policies", nargs="+", metavar="POLICY", help=reading.POLICY)
    parser.add_argument(
        "--format",
        choices=("human", "plain", "json", "sarif"),
        default="human",
        help="human: with the lines in question (default); plain: sentences, for screen readers; "
        "json and sarif: for other programs",
    )
    reading.add(parser)
    reading.add_columns(parser, data="check against this data set: its columns, its items and its users")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Checks each policy. Returns 1 where any has findings."""
    dataset = None
    if arguments.data is not None:
        from recpolicy import data

        dataset = data.open(arguments.data)
    schema = reading.columns(arguments) if dataset is None else dataset.schema
    checked: list[Checked] = []
    hints: dict[str, None] = {}
    for name in arguments.policies:
        loaded, one = _check(name, arguments, schema, dataset)
        checked.append(one)
        if arguments.format in ("human", "plain"):
            _print(one, arguments.format, after_findings=len(checked) > 1 and bool(checked[-2].findings))
            if loaded is not None and dataset is None:
                hints[_hint(loaded, own=schema is None)] = None
    match arguments.format:
        case "json":
            from recpolicy.render.document import document

            sys.stdout.write(document(checked))
        case "sarif":
            from recpolicy.render.sarif import log

            sys.stdout.write(log(checked))
        case _:
            for hint in hints:
                print(hint)
    return 1 if any(one.findings for one in checked) else 0


def _check(
    name: str, arguments: argparse.Namespace, schema: Schema | None, dataset: Dataset | None
) -> tuple[Loaded | None, Checked]:
    """The policy, where it can be used, and its findings."""
    try:
        loaded = reading.policy(name, arguments, schema)
    except PolicyError as error:
        assert error.source is not None, "the checker names the source"
        return None, Checked(error.source, None, error.findings)
    findings: list[Diagnostic] = []
    if dataset is not None:
        from recpolicy import analysis

        findings = analysis.of_policy(loaded.policy, dataset, loaded.sources)
    return loaded, Checked(loaded.source, loaded.policy, tuple(findings))


def _print(one: Checked, format: str, after_findings: bool) -> None:
    """The findings of a policy and their number, or its summary."""
    if not one.findings:
        assert one.policy is not None, "a policy that cannot be used has findings"
        print(*_summary(one.policy), sep="\n")
        return
    if format == "plain":
        sys.stdout.write(render.sentences(one.findings, one.source))
    else:
        print(end="\n" if after_findings else "")
        render.show(one.findings, one.source)
        print()
    print(f"{one.source.name}: {counted(len(one.findings), 'finding')}")


def _summary(policy: Policy) -> Iterator[str]:
    """One line, and one more where the day or values of `--set` matter."""
    hard = sum(isinstance(rule, Quota) and rule.hard for rule in policy.rules)
    counts = [counted(len(policy.rules), "rule") + (f" ({hard} hard)" if hard else "")]
    parts = (("block", policy.blocks), ("target", policy.targets), ("test", policy.tests))
    counts += [counted(len(statements), noun) for noun, statements in parts if statements]
    content = ", ".join([*counts, counted(policy.slate, "place")])
    yield f'"{policy.name}" version {policy.version}: {content}. No findings.'
    given = [f"{param.name} = {param.written}" for param in policy.params if param.given]
    sentences = [f"With {', '.join(given)}."] if given else []
    if policy.as_of is not None:
        waiting = [f"`{rule.name}` holds from {rule.since}" for rule in policy.dormant]
        sentences.append(f"As of {policy.as_of}{': ' if waiting else ''}{', '.join(waiting)}.")
    if sentences:
        yield f"  {' '.join(sentences)}"


def _hint(loaded: Loaded, own: bool) -> str:
    """How to check the policy against data, too; `own`: its columns are those of its header."""
    data = reading.data_of(loaded, None) if own and loaded.policy.data is not None else "NAME_OR_FOLDER"
    return f"Checked against the columns of {loaded.schema.name}; with --data {data} also against its items and users."
