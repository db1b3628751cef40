"""Finds and reads the tables of a source: which file of a folder, or table of a database, is which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os.path import exists, isdir
from pathlib import Path

from recpolicy.errors import UsageError
from recpolicy.sources import database as database_file
from recpolicy.tables.reading import COMPRESSED, FORMATS, RawTable, database, read

NAMES = ("items", "users", "interactions")
_ATOMIC = {"items": ".item", "users": ".user", "interactions": ".inter"}
"""The endings of RecBole's files."""
_IMPORT = (
    "`recpolicy data import` makes the tables from MovieLens, Amazon and Hugging Face files, and users from events"
)


@dataclass(frozen=True)
class RawData:
    """The three tables as read. `stem` is the common path of RecBole's files without their endings, else None."""

    items: RawTable
    users: RawTable
    interactions: RawTable
    stem: Path | None = None


def find(source: str | Path, queries: Mapping[str, str] | None = None) -> RawData:
    """Reads the three tables of a folder, or of a database `duckdb:FILE`; of this maybe by queries.

    Raises UsageError with the names of the files looked for where one is absent or there are two.
    """
    found, stem = tables(source, queries)
    return RawData(found["items"], found["users"], found["interactions"], stem)


def tables(
    source: str | Path, queries: Mapping[str, str] | None = None, *, optional: Collection[str] = ()
) -> tuple[dict[str, RawTable], Path | None]:
    """Reads the tables of a source, and gives the stem of RecBole's files (see `RawData`).

    Tables in `optional` may be absent. Raises UsageError as `find` does.
    """
    if isinstance(source, str) and (path := database_file(source)) is not None:
        return database.read(path, NAMES, queries or {}, optional=optional), None
    folder = Path(source)
    if not isdir(folder):
        what = "is not a folder" if exists(folder) else "does not exist"
        help = "give a folder, `duckdb:FILE`, `ml-100k` or `simulator`"
        raise UsageError(f"the data folder {what}", where=str(folder), help=help)
    stem = atomic(folder)
    paths = {name: _table(folder, name, optional) if stem is None else _atomic(stem, name, optional) for name in NAMES}
    return {name: read(path) for name, path in paths.items() if path is not None}, stem


def atomic(folder: Path) -> Path | None:
    """Returns the path of RecBole's files in a folder without their endings; None where there are none."""
    found = sorted(folder.glob("*.inter"))
    if len(found) > 1:
        raise _both(found, "keep one data set in a folder")
    return found[0].with_suffix("") if found else None


def candidates(folder: Path, name: str) -> list[Path]:
    """Returns the files, and the folder of parts, that are there for a table; a data set needs exactly one."""
    endings = [e + packed for e, kind in FORMATS.items() for packed in ("", *(COMPRESSED if kind != "parquet" else ()))]
    paths = [folder / (name + ending) for ending in endings]
    parts = folder / name
    return [path for path in paths if path.exists()] + ([parts] if any(parts.rglob("*.parquet")) else [])


def _atomic(stem: Path, name: str, optional: Collection[str]) -> Path | None:
    path = stem.with_name(stem.name + _ATOMIC[name])
    if path.exists():
        return path
    if name in optional:
        return None
    help = f"RecBole data needs NAME.inter, NAME.item and NAME.user; {_IMPORT}"
    raise UsageError(f"no {path.name} beside {stem.name}.inter", where=str(stem.parent), help=help)


def _table(folder: Path, name: str, optional: Collection[str]) -> Path | None:
    match candidates(folder, name):
        case [path]:
            return path
        case []:
            if name in optional:
                return None
            looked = ", ".join(name + ending for ending in FORMATS)
            looked += f" (the last two also {', '.join(COMPRESSED)}) and a folder {name}/ of Parquet parts"
            help = f"a data set is three tables: items, users and interactions; {_IMPORT}"
            raise UsageError(f"no table `{name}`; looked for {looked}", where=str(folder), help=help)
        case several:
            raise _both(several, "keep one of them")


def _both(paths: list[Path], help: str) -> UsageError:
    names = " and ".join(path.name + "/" * path.is_dir() for path in paths)
    return UsageError(f"{names} are both here", where=str(paths[0].parent), help=help)
