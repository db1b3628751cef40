"""Tells the names of data sources apart: built-in data sets, folders, and databases (`duckdb:FILE`)."""

from __future__ import annotations

from os.path import isdir, isfile  # unlike those of Path, they say no to names that no file can have
from pathlib import Path

DATABASE = "duckdb:"
"""Stands before the path of a database."""


def database(name: str) -> Path | None:
    """Returns the file of a database by its name as a source, or None for another kind of source."""
    return Path(name.removeprefix(DATABASE)) if name.startswith(DATABASE) else None


def beside(name: str, folder: Path) -> str | None:
    """Returns a source whose relative path starts from `folder`; None where that is neither folder nor database."""
    if (path := database(name)) is not None:
        return f"{DATABASE}{folder / path}"
    return str(folder / name) if isdir(folder / name) else None


def home(name: str) -> Path:
    """Returns the folder of a source: itself, or where the database lies."""
    path = database(name)
    return Path(name) if path is None else path.parent


def own_schema(name: str) -> Path | None:
    """Returns the `schema.toml` that lies in a folder or beside a database; None where there is none."""
    path = home(name) / "schema.toml"
    return path if isfile(path) else None


def title(name: str) -> str:
    """Returns the name of a data set whose schema gives none: that of its folder or of its database."""
    path = database(name)
    return Path(name).resolve().name if path is None else path.stem
