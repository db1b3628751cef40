"""Writes files whole or not at all: a full disk, a kill or an error leaves what was there before."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".recpolicy-"
"""The beginning of the names of files that are not whole yet; a kill may leave one."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a new, empty file beside `path`, which takes its place when the block ends without an error.

    The new file has a name that nobody can guess, so that no planted link is followed. It gets the mode of the file
    that it replaces, else the one that the user's umask says. A link is kept: what it points to is replaced. What is no
    regular file, such as `/dev/stdout`, is yielded itself. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    handle, name = tempfile.mkstemp(prefix=PREFIX, dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.chmod(part, _mode(target))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Writes a file as `whole` does; text as UTF-8. Raises OSError."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _mode(target: Path) -> int:
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
