"""Stages of a run and what they depend on in, folders that hold their results out: a cache of stages, a run folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recpolicy.errors import UsageError


def fingerprint(*parts: object) -> str:
    """SHA-256 over the JSON of the parts, keys sorted; 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all; NaN, which JSON lacks, becomes null."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(plain(value), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def plain(value: object) -> object:
    """The value as JSON holds it: keys as text, tuples as lists, null for NaN and infinity."""
    match value:
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


@contextmanager
def finished(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which appears under its name only when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield work
        if folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True)
class Run:
    """One run's folder: `run.json` says what it is a run of, `metrics.jsonl` what was measured on the way."""

    folder: Path

    @staticmethod
    def start(folder: Path, identity: Mapping[str, Any]) -> Run:
        """Open the folder of this run, new or begun earlier.

        `identity` is what the results depend on. Raises UsageError where the folder holds a run of something else.
        """
        run = Run(folder)
        if run.about.is_file():
            if run.read().get("identity") != json.loads(json.dumps(identity)):
                raise UsageError(
                    "this folder holds a run with another policy, data or setting",
                    where=str(folder),
                    help="choose another --out, or remove the folder",
                )
        elif folder.exists() and any(folder.iterdir()):
            raise UsageError("this folder is in use for something else", where=str(folder), help="choose another --out")
        return run

    @property
    def about(self) -> Path:
        """What the run is of: policy, data, settings, versions, their hashes."""
        return self.folder / "run.json"

    def read(self) -> dict[str, Any]:
        """The contents of `run.json`. Raises UsageError where the folder holds no run."""
        try:
            found: dict[str, Any] = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                "this folder holds no run", where=str(self.folder), help="train first: recpolicy train POLICY --out RUN"
            ) from error
        return found

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Append one line to `metrics.jsonl`."""
        line = {"stage": stage, "step": step} | {k: v for k, v in sorted(values.items())}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(line)) + "\n")
