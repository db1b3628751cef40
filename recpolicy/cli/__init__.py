"""Runs the commands of the program. Exit codes: 0 clean, 1 findings in a policy, 2 wrong use."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from recpolicy import __version__, render
from recpolicy.errors import PolicyError, UsageError

COMMANDS = (
    "init", "check", "fmt", "test", "explain", "diff", "score", "rerank", "evaluate", "data", "train", "profile",
    "recommend",
)  # fmt: skip
"""Each is a module of this package that adds itself with `add(subparsers)`, which sets `run`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Loads the other commands only to list them."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="recpolicy", description="Policies for recommenders: written as text, checked, and trained for."
    )
    parser.add_argument("--version", action="version", version=f"recpolicy {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in argv[:1] if argv and argv[0] in COMMANDS else COMMANDS:
        import_module(f"recpolicy.cli.{command}").add(subparsers)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except PolicyError as error:
        assert error.source is not None, "the checker names the source"
        render.show(error.findings, error.source)
        return 1
    except UsageError as error:
        sys.stderr.write(render.usage(error))
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return 130
    except BrokenPipeError:  # whoever read the output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
