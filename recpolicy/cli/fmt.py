"""Writes policies in canonical form (`recpolicy fmt`)."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from recpolicy import outputs, render
from recpolicy.cli.reading import Subparsers
from recpolicy.errors import PolicyError, UsageError
from recpolicy.language import formatter
from recpolicy.language.checker import loading
from recpolicy.span import Source


def add(subparsers: Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "fmt",
        help="bring policies into canonical form",
        description="Writes policies as every team writes them: one statement a line, like statements in columns, "
        "all comments kept. What a policy means does not change. Exit code 0: done; 1: a file with syntax errors, "
        "or, with --check, one that would change; 2: wrong use.",
    )
    parser.add_argument("policies", nargs="+", metavar="POLICY", help="a .policy file; `-`: from input to output")
    parser.add_argument("--check", action="store_true", help="change nothing, show what would change")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Formats each policy. Returns 1 where one has syntax errors or, with `--check`, would change."""
    return max([_one(name, check=arguments.check) for name in arguments.policies])


def _one(name: str, *, check: bool) -> int:
    """Formats one file and returns its exit code."""
    source = _read(name)
    try:
        text = formatter.format(source)
    except PolicyError as error:
        render.show(error.findings, source, sys.stderr if name == "-" else None)
        return 1
    if check:
        diff = difflib.unified_diff(
            source.text.splitlines(keepends=True), text.splitlines(keepends=True), source.name, source.name
        )
        sys.stdout.writelines(line if line.endswith("\n") else f"{line}\n" for line in diff)
        return int(text != source.text)
    if name == "-":
        sys.stdout.write(text)
    elif text != source.text:
        try:
            outputs.write(Path(name), text)
        except OSError as error:
            raise UsageError(f"cannot write `{Path(name)}`: {(error.strerror or str(error)).lower()}") from None
        print(f"{name}: formatted")
    return 0


def _read(name: str) -> Source:
    """The text of a file, or of standard input. Raises UsageError."""
    if name == "-":
        return loading.decoded(sys.stdin.buffer.read(), "<input>")
    source, _ = loading.read(name)
    if not Path(name).is_file():
        raise UsageError(f"the sample `{name}` is not formatted in its place", help="copy it to a file of yours first")
    return source
