"""Reads the policy, the data and the schema that command-line arguments name."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from recpolicy import outputs
from recpolicy.errors import UsageError
from recpolicy.language import checker
from recpolicy.language.checker import Loaded, loading
from recpolicy.schema import Schema
from recpolicy.schema import load as load_schema
from recpolicy.sources import beside

if TYPE_CHECKING:
    from recpolicy.api import LoadedPolicy

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
POLICY = "a .policy file, or the name of a sample"
SOURCE = "ml-100k, simulator, a folder or duckdb:FILE; default: the policy's own"


def add(parser: argparse.ArgumentParser) -> None:
    """Adds `--set` and `--as-of`, which every command has that reads a policy."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="give a `param` of the policy another value"
    )
    parser.add_argument("--as-of", metavar="DATE", help="the day that `from` and `until` are compared with (today)")


@contextmanager
def trainer(doing: str) -> Iterator[None]:
    """Prepares the import of the trainer. Raises UsageError where a package is missing that `doing` needs."""
    # waiting threads must not spin: beside another busy process, that makes a step several times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{doing} needs the package `{error.name}`", help="install it with: pip install 'recpolicy[train]'"
        ) from error
    # the libraries warn about options that this program sets itself; their import resets the levels
    warnings.filterwarnings("ignore")
    for library in ("transformers", "trl", "accelerate", "datasets"):
        logging.getLogger(library).setLevel(logging.ERROR)


def add_columns(parser: argparse.ArgumentParser, data: str) -> None:
    """Adds `--schema` and `--data`, of which only one may be given; `data` is the help of the latter."""
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--schema", metavar="FILE", help="check against this schema.toml instead of the header's")
    instead.add_argument("--data", metavar="NAME_OR_FOLDER", help=data)


def policy(name: str, arguments: argparse.Namespace, schema: Schema | None = None) -> Loaded:
    """Reads and checks the policy of a file or a sample. Raises PolicyError and UsageError."""
    return checker.read(name, schema=schema, as_of=_day(arguments.as_of), params=_values(arguments.set))


def columns(arguments: argparse.Namespace) -> Schema | None:
    """Reads the schema that the command line names, if any."""
    if arguments.schema is not None:
        return load_schema(Path(arguments.schema))
    return None if arguments.data is None else data_columns(arguments.data)


def data_columns(data: str) -> Schema:
    """Reads the schema of a data set by name, or of a data folder. Raises UsageError where there is none."""
    schema = loading.data_schema(data, Path())
    if schema is None:
        raise UsageError(f"no data set `{data}`", help="give a folder, `duckdb:FILE`, `ml-100k` or `simulator`")
    return schema


def data_of(loaded: Loaded, given: str | None) -> str:
    """Returns the data set to read: `given`, else the policy's own, starting from its folder."""
    own = loaded.policy.data
    if given is not None:
        return given
    if own is None:
        help = 'write --data SOURCE, or data = "..." in the policy'
        raise UsageError("which data?", where=loaded.source.name, help=help)
    return beside(own, loaded.folder) or own


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"`{text}` is not a day", where="--as-of", help="write it as in 2026-03-31") from None


def _values(pairs: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        name, equal, value = pair.partition("=")
        if not equal or not name.strip() or not value.strip():
            raise UsageError(f"`{pair}` gives no value", where="--set", help="write it as in --set most_ads=2")
        values[name.strip()] = value.strip()
    return values


def loaded(arguments: argparse.Namespace) -> LoadedPolicy:
    """Loads the policy that the command line names, with its data, as other programs do."""
    stated = policy(arguments.policy, arguments, data_columns(arguments.data) if arguments.data else None)
    source = data_of(stated, arguments.data)
    from recpolicy import api

    return api.load(arguments.policy, source, params=_values(arguments.set), as_of=_day(arguments.as_of))


def write(path: Path, content: str | bytes) -> None:
    """Writes a file, which appears whole or not at all. Raises UsageError where it cannot be written."""
    try:
        outputs.write(path, content)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", where=str(path)) from None
