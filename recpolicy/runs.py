"""Stages of a run and what they depend on in, folders that hold their results out: a cache of stages, a run folder."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recpolicy.errors import UsageError

FINGERPRINTS = ("policy", "schema", "data")
"""What a run's identity holds the fingerprint of."""


def fingerprint(*parts: object) -> str:
    """SHA-256 over the JSON of the parts, keys sorted; 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def located(name: str, known: Collection[str]) -> str:
    """A known name or that of a folder as it is understood in any other folder: of a folder its whole path."""
    return name if name in known or not Path(name).is_dir() else str(Path(name).resolve())


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all; NaN, which JSON lacks, becomes null."""
    _write(path, json.dumps(plain(value), indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
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


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What one run's identity has otherwise than another's, in words."""
    before, after = _flat(then), _flat(now)
    return [
        f"another {name}" if name in FINGERPRINTS else f"{name} is {before.get(name)!r}, now {after.get(name)!r}"
        for name in {**after, **before}
        if before.get(name) != after.get(name)
    ]


def _flat(identity: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """What stands in an identity by its name, settings as they are called in a file."""
    found: dict[str, object] = {}
    for name, value in identity.items():
        if isinstance(value, Mapping):
            found |= _flat(value, before if name == "config" else f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


@contextmanager
def finished(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which appears under its name only when the block ends without an error.

    Where another process has made the folder meanwhile, that one stays: somebody may be reading it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield work
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True)
class Run:
    """One run's folder: `run.json` says what it is a run of, `metrics.jsonl` what was measured on the way."""

    folder: Path
    writes: bool = True
    """Whether what is logged is written; of several processes that share a run, one does."""

    @staticmethod
    def start(folder: Path, identity: Mapping[str, Any], *, resume: bool) -> Run:
        """Open the folder of this run, new, complete, or with `resume` begun earlier.

        `identity` is what the results depend on. Raises UsageError where the folder holds a run of something else, and
        for one that was begun without `resume`.
        """
        run = Run(folder)
        if folder.exists() and not folder.is_dir():
            raise UsageError("this is a file, and a run needs a folder", where=str(folder), help="choose another --out")
        if run.begun:
            if other := _differences(run.read().get("identity", {}), json.loads(json.dumps(identity))):
                raise UsageError(
                    f"this folder holds another run: {'; '.join(other)}",
                    where=str(folder),
                    help="choose another --out, or remove the folder",
                )
            if not (run.complete or resume):
                raise UsageError(
                    "this folder holds an unfinished run",
                    where=str(folder),
                    help="add --resume to go on with it, or choose another --out",
                )
        elif folder.exists() and any(path.name != run.about.name + ".part" for path in folder.iterdir()):
            raise UsageError("this folder is in use for something else", where=str(folder), help="choose another --out")
        return run

    @property
    def about(self) -> Path:
        """What the run is of: policy, data, settings, versions, their hashes."""
        return self.folder / "run.json"

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return self.about.is_file()

    @property
    def complete(self) -> bool:
        """Whether it has come to its end: its evaluation is written last."""
        return self.evaluation.is_file()

    @property
    def evaluation(self) -> Path:
        """What came of the run."""
        return self.folder / "eval.json"

    @property
    def checkpoints(self) -> Path:
        """What an unfinished run goes on from."""
        return self.folder / "checkpoints"

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
        if not self.writes:
            return
        line = {"stage": stage, "step": step} | {k: v for k, v in sorted(values.items())}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(line)) + "\n")

    def logged(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, but for one that a kill has torn."""
        if not self._metrics.is_file():
            return []
        *whole, _ = self._metrics.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in whole]

    def unlog(self, stage: str, after: int) -> None:
        """Take back what was logged of a stage behind a step, and a torn line."""
        if not self.writes:
            return
        kept = [line for line in self.logged() if line["stage"] != stage or line["step"] <= after]
        _write(self._metrics, "".join(json.dumps(line) + "\n" for line in kept))

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"
