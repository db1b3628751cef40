"""`recpolicy init`: a data folder in, a first `schema.toml` and a first policy for it as new files out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recpolicy import schema as schemas
from recpolicy.errors import UsageError


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; it sets `run`, a function of the arguments that gives the exit code."""
    init = subparsers.add_parser(
        "init",
        help="write a first schema and policy for a data folder",
        description="Writes a first schema.toml and a first policy, named after the folder, for the data in it. "
        "No file is ever overwritten; a schema.toml that is in the folder already is used as it is.",
    )
    init.add_argument("folder", metavar="DATA_FOLDER", help="a folder with the tables items, users and interactions")
    init.add_argument("--out", type=Path, metavar="DIR", help="where to write; default: into the data folder")
    init.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write both files. Raises UsageError for data that cannot be used and for a file that is there already."""
    if arguments.folder in schemas.BUILTIN:
        help = 'write data = "{0}" in a policy, or begin with a sample: recpolicy check balanced'
        raise UsageError(f"`{arguments.folder}` comes with its schema", help=help.format(arguments.folder))
    folder = Path(arguments.folder)
    out = folder if arguments.out is None else arguments.out
    name = folder.resolve().name or "first"
    policy = out / f"{name}.policy"
    kept = folder / "schema.toml"
    written = None if kept.is_file() else out / "schema.toml"
    for path in (written, policy):
        if path is not None and path.exists():
            help = "move it away, or write elsewhere with --out DIR"
            raise UsageError("there is such a file already, and init overwrites none", where=str(path), help=help)

    from recpolicy import data, scaffold

    dataset = data.open(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if written is not None:
            written.write_text(scaffold.schema_text(dataset), encoding="utf-8")
            print(f"wrote {written}: {len(dataset.schema.item)} item and {len(dataset.schema.user)} user columns")
        else:
            print(f"kept  {kept}")
        elsewhere = written is not None and out.resolve() != folder.resolve()
        setting = ("schema", "schema.toml") if elsewhere else ("data", Path(os.path.relpath(folder, out)).as_posix())
        policy.write_text(scaffold.policy_text(dataset, setting=setting[0], value=setting[1]), encoding="utf-8")
    except OSError as error:
        help = "write elsewhere with --out DIR"
        raise UsageError(f"cannot write: {error.strerror}", where=str(error.filename or out), help=help) from None
    print(f"wrote {policy}")
    print(f"Read both, then: recpolicy check {policy}")
    print(f"                 recpolicy test {policy}")
    return 0
