"""Writes a first `schema.toml` and a first policy for a data folder (`recpolicy init`)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recpolicy import outputs, sources
from recpolicy import schema as schemas
from recpolicy.cli.reading import Subparsers
from recpolicy.errors import UsageError


def add(subparsers: Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    init = subparsers.add_parser(
        "init",
        help="write a first schema and policy for a data folder",
        description="Writes a first schema.toml and a first policy, named after the folder, for the data in it. "
        "No file is ever overwritten; a schema.toml that is in the folder already is used as it is.",
    )
    init.add_argument(
        "folder", metavar="DATA_FOLDER", help="a folder with the tables items, users and interactions, or duckdb:FILE"
    )
    init.add_argument("--out", type=Path, metavar="DIR", help="where to write; default: into the data folder")
    init.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes both files. Raises UsageError for data that cannot be used and for a file that exists already."""
    if arguments.folder in schemas.BUILTIN:
        help = f'write data = "{arguments.folder}" in a policy, or begin with a sample: recpolicy check balanced'
        raise UsageError(f"`{arguments.folder}` comes with its schema", help=help)
    source, folder = arguments.folder, sources.home(arguments.folder)
    out = folder if arguments.out is None else arguments.out
    name = sources.title(source) or "first"
    policy = out / f"{name}.policy"
    own = sources.own_schema(source)
    written = out / "schema.toml" if own is None else None
    for path in (written, policy):
        if path is not None and path.exists():
            help = "move it away, or write elsewhere with --out DIR"
            raise UsageError("there is such a file already, and init overwrites none", where=str(path), help=help)

    from recpolicy import data, scaffold

    dataset = data.open(source)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if written is not None:
            outputs.write(written, scaffold.schema_text(dataset))
            print(f"wrote {written}: {len(dataset.schema.item)} item and {len(dataset.schema.user)} user columns")
        else:
            print(f"kept  {own}")
        setting, value = "data", Path(os.path.relpath(sources.database(source) or folder, out)).as_posix()
        if sources.database(source) is not None:
            value = sources.DATABASE + value
        if written is not None and out.resolve() != folder.resolve():
            setting, value = "schema", "schema.toml"
        outputs.write(policy, scaffold.policy_text(dataset, setting=setting, value=value))
    except OSError as error:
        help = "write elsewhere with --out DIR"
        raise UsageError(f"cannot write: {error.strerror}", where=str(error.filename or out), help=help) from None
    print(f"wrote {policy}")
    print(f"Read both, then: recpolicy check {policy}")
    print(f"                 recpolicy test {policy}")
    return 0
