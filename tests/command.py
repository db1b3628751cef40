"""The program as its user runs it, with an empty home."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

from recpolicy.cli import main


def recpolicy(home: Path, *arguments: str) -> CompletedProcess[str]:
    """`recpolicy ARGUMENTS` in the folder `home`, which also takes its cache.

    In this process: to load torch and TRL takes longer than most of what tests ask for.
    """
    out, errors = io.StringIO(), io.StringIO()
    with _surrounded(environment(home)), chdir(home), redirect_stdout(out), redirect_stderr(errors):
        try:
            code = main(arguments)
        except SystemExit as left:  # argparse's way out
            code = left.code if isinstance(left.code, int) else 1
    return CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def environment(home: Path) -> dict[str, str]:
    """What the program finds around it."""
    kept = ("PYTHONPATH", "PYTHONSAFEPATH", "OMP_NUM_THREADS")  # as many threads, or sums are rounded otherwise
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "RECPOLICY_CACHE": str(home / "cache"),
        "COLUMNS": "100",
    }


@contextmanager
def _surrounded(environment: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
