"""The program as its user runs it: in a process of its own, with an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def recpolicy(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`recpolicy ARGUMENTS` in the folder `home`, which also takes its cache."""
    command = [sys.executable, "-m", "recpolicy", *arguments]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, cwd=home)


def environment(home: Path) -> dict[str, str]:
    """What the program finds around it."""
    paths = {name: os.environ[name] for name in ("PYTHONPATH", "PYTHONSAFEPATH") if name in os.environ}
    return paths | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "RECPOLICY_CACHE": str(home / "cache"),
        "COLUMNS": "100",
    }
