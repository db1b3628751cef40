"""Nothing in, BENCHMARKS.md out: how long the first answer of `recpolicy check` takes, beside importing NumPy."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

REPEATS = 15

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import numpy'": ["-c", "import numpy"],
    "recpolicy check balanced": ["-m", "recpolicy", "check", "balanced"],
}


def seconds(arguments: list[str]) -> float:
    """Wall-clock time of one fresh process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Measure the commands in turn, so that a busy moment of the machine falls on all of them, and write the page."""
    for arguments in COMMANDS.values():  # fills the file cache
        seconds(arguments)
    rounds = [[seconds(arguments) for arguments in COMMANDS.values()] for _ in range(REPEATS)]
    rows = [
        f"| `{command}` | {median(r[at] for r in rounds):.3f} s | {median(r[at] / r[1] for r in rounds):.2f} |\n"
        for at, command in enumerate(COMMANDS)
    ]
    page = (
        "# Benchmarks\n\nWritten by `make bench`.\n\n## Start-up\n\n"
        "`recpolicy check` should answer before anybody waits, so it imports neither NumPy nor torch.\n\n"
        f"| command | median of {REPEATS} | times `import numpy` |\n|---|---|---|\n{''.join(rows)}\n"
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"NumPy {version('numpy')}, recpolicy {version('recpolicy')}.\n"
    )
    print(page, end="")
    (Path(__file__).parents[1] / "BENCHMARKS.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
