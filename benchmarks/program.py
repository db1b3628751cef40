"""Arguments in, `recpolicy` run as its user runs it out: in a process, with a cache of its own and a log."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

LINES = 20
"""Of the log that are shown where the program fails."""


def recpolicy(*arguments: str, cache: Path, log: Path) -> float:
    """Run the program, its output at the end of `log`; returns the seconds it took. Where it fails, so do we."""
    began = time.monotonic()
    with log.open("a", encoding="utf-8") as output:
        code = subprocess.run(
            [sys.executable, "-m", "recpolicy", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "RECPOLICY_CACHE": str(cache.resolve())},
        ).returncode
    if code:
        sys.exit("\n".join(log.read_text("utf-8").splitlines()[-LINES:]))
    return time.monotonic() - began
