"""`recpolicy check`: policies in, their findings or one line each out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy import checker, render
from recpolicy.checker import loading
from recpolicy.errors import PolicyError, UsageError
from recpolicy.policy import Policy
from recpolicy.schema import Schema
from recpolicy.schema import load as load_schema

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add(subparsers: Subparsers) -> None:
    """Add the command to the argument parser."""
    parser = subparsers.add_parser(
        "check",
        help="find mistakes in policies",
        description="Finds every mistake in the policies. Exit code 0: none; 1: findings; 2: wrong use.",
    )
    parser.add_argument("policies", nargs="+", metavar="POLICY", help="a .policy file, or the name of a sample")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--schema", metavar="FILE", help="check against this schema.toml instead of the header's")
    instead.add_argument("--data", metavar="NAME_OR_FOLDER", help="check against the columns of this data set")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check each policy; 1 where any has findings."""
    schema = _schema(arguments.schema, arguments.data)
    broken = 0
    for name in arguments.policies:
        try:
            policy = checker.load(name, schema=schema)
        except PolicyError as error:
            assert error.source is not None, "the checker names the source"
            if broken:
                sys.stdout.write("\n")
            render.show(error.findings, error.source)
            count = len(error.findings)
            sys.stdout.write(f"\n{error.source.name}: {count} {'finding' if count == 1 else 'findings'}\n")
            broken += 1
        else:
            sys.stdout.write(f"{_summary(policy)}\n")
    return 1 if broken else 0


def _schema(schema: str | None, data: str | None) -> Schema | None:
    """The schema given on the command line, or None."""
    if schema is not None:
        return load_schema(Path(schema))
    if data is None:
        return None
    found = loading.data_schema(data, Path())
    if found is None:
        raise UsageError(f"no data set `{data}`", help="give a folder, `ml-100k` or `simulator`")
    return found


def _summary(policy: Policy) -> str:
    counts = [_count(len(policy.rules), "rule"), _count(len(policy.blocks), "block")]
    stated = ", ".join(counts if policy.blocks else counts[:1])
    return f'"{policy.name}" version {policy.version}: {stated}, {_count(policy.slate, "place")}. No findings.'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
