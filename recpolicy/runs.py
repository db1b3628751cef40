"""Keeps the results of a run in folders: the cached results of its stages and the folder of the run."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import isdir
from pathlib import Path
from typing import Any

from recpolicy import outputs
from recpolicy.errors import UsageError
from recpolicy.sources import DATABASE, database

FINGERPRINTS = ("policy", "schema", "data", "earlier run")
"""The parts of a run's identity that are fingerprints."""


def fingerprint(*parts: object) -> str:
    """Computes SHA-256 over the JSON of the parts with sorted keys; 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def located(name: str, known: Collection[str]) -> str:
    """Returns a name that means the same in every working folder: the absolute path of a folder or a database.

    A known name stays as it is, and so does one that is neither.
    """
    if name in known:
        return name
    path = database(name)
    if path is not None:
        return f"{DATABASE}{path.resolve()}"
    return str(Path(name).resolve()) if isdir(name) else name


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file completely or not at all; NaN, which JSON lacks, becomes null."""
    outputs.write(path, json.dumps(plain(value), indent=2) + "\n")


def plain(value: object) -> object:
    """Converts a value to what JSON can hold: keys to text, tuples to lists, NaN and infinity to None."""
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
    """The differences between the identities of two runs, in words."""
    before, after = _flat(then), _flat(now)
    return [
        f"another {name}" if name in FINGERPRINTS else f"{name} is {before.get(name)!r}, now {after.get(name)!r}"
        for name in {**after, **before}
        if before.get(name) != after.get(name)
    ]


def _flat(identity: Mapping[str, Any], before: str = "") -> dict[str, object]:
    """The values of an identity by their dotted names; settings have the names they have in a file."""
    values: dict[str, object] = {}
    for name, value in identity.items():
        if isinstance(value, Mapping):
            values |= _flat(value, before if name == "config" else f"{before}{name}.")
        else:
            values[f"{before}{name}"] = value
    return values


@contextmanager
def finished(folder: Path) -> Iterator[Path]:
    """Yields a new folder to fill. It gets its name only when the block ends without an error.

    Where another process has created the folder in the meantime, that folder stays, since it may be in use.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent, ignore_cleanup_errors=True) as work:
        ready = Path(work) / folder.name
        ready.mkdir()
        yield ready
        try:
            ready.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


@dataclass(frozen=True)
class Run:
    """The folder of one run: `run.json` holds its identity, `metrics.jsonl` the measurements of its stages."""

    folder: Path
    writes: bool = True
    """Whether `log` writes; of several processes that share a run, one does."""

    @staticmethod
    def start(folder: Path, identity: Mapping[str, Any], *, resume: bool) -> Run:
        """Opens the folder of a run that is new, complete, or, with `resume`, unfinished.

        `identity` holds everything the results depend on. Raises UsageError where the folder holds a run with another
        identity or something else, and, without `resume`, for an unfinished run.
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
        elif folder.exists() and not all(path.name.startswith(outputs.PREFIX) for path in folder.iterdir()):
            raise UsageError("this folder is in use for something else", where=str(folder), help="choose another --out")
        return run

    @property
    def about(self) -> Path:
        """The file of the run's identity: policy, data, settings, versions and their hashes."""
        return self.folder / "run.json"

    @property
    def begun(self) -> bool:
        """Whether the folder holds a run."""
        return self.about.is_file()

    @property
    def complete(self) -> bool:
        """Whether the run has ended: its evaluation is written last."""
        return self.evaluation.is_file()

    @property
    def evaluation(self) -> Path:
        """The file of the run's evaluation."""
        return self.folder / "eval.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints that an unfinished run continues from."""
        return self.folder / "checkpoints"

    def read(self) -> dict[str, Any]:
        """Reads `run.json`. Raises UsageError where the folder holds no run."""
        try:
            contents: dict[str, Any] = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                "this folder holds no run", where=str(self.folder), help="train first: recpolicy train POLICY --out RUN"
            ) from error
        return contents

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Appends one line to `metrics.jsonl`."""
        if not self.writes:
            return
        line = {"stage": stage, "step": step, **dict(sorted(values.items()))}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(line)) + "\n")

    def logged(self) -> list[dict[str, Any]]:
        """Reads the complete lines of `metrics.jsonl`; a killed process may have left an incomplete one."""
        if not self._metrics.is_file():
            return []
        *whole, _ = self._metrics.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in whole]

    def unlog(self, stage: str, after: int) -> None:
        """Removes the lines of a stage after a step, and an incomplete line, from `metrics.jsonl`."""
        if not self.writes:
            return
        remaining = [line for line in self.logged() if line["stage"] != stage or line["step"] <= after]
        outputs.write(self._metrics, "".join(json.dumps(line) + "\n" for line in remaining))

    @property
    def _metrics(self) -> Path:
        return self.folder / "metrics.jsonl"
