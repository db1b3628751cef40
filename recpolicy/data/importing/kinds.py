"""Recognises the kind of a source by its files, and reads it."""

from __future__ import annotations

from os.path import exists
from pathlib import Path

from recpolicy.data.importing import amazon, huggingface, movielens, plain
from recpolicy.data.importing.found import Found
from recpolicy.data.importing.keys import standard
from recpolicy.errors import UsageError

KNOWN = (
    "a folder with items, users and interactions (Parquet, CSV, JSONL), RecBole atomic files, MovieLens (ratings.dat, "
    "ratings.csv or u.data), Amazon reviews (JSON lines), a folder that `datasets` saved, or duckdb:FILE"
)


def read(source: str, *, schema: Path | None = None, metadata: Path | None = None) -> Found:
    """Reads a source of any kind. `schema` is for folders and databases, `metadata` for Amazon reviews.

    Raises UsageError for a source of no known kind, and for files that cannot be read.
    """
    path = Path(source)
    if plain.matches(source):
        _unused(metadata, "--metadata", "Amazon reviews")
        return standard(plain.load(source, schema))
    if (error := plain.refused(source)) is not None:
        raise error
    if not exists(path):
        raise UsageError("there is no such file or folder", where=source, help=f"import reads {KNOWN}")
    _unused(schema, "--schema", "a folder with tables, or a database")
    if amazon.matches(path):
        return amazon.load(path, metadata)
    _unused(metadata, "--metadata", "Amazon reviews")
    if path.is_dir() and movielens.matches(path):
        return movielens.load(path)
    if path.is_dir() and huggingface.matches(path):
        return standard(huggingface.load(path))
    here = f"the folder holds {_listed(path)}" if path.is_dir() else "the file"
    message = f"{here}, which is of no known kind" if path.is_dir() else "the file is of no known kind"
    raise UsageError(message, where=source, help=f"import reads {KNOWN}")


def _unused(option: Path | None, name: str, of: str) -> None:
    if option is not None:
        raise UsageError(f"{name} is for {of}", where=str(option), help="leave it out")


def _listed(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "") if names else "nothing"
