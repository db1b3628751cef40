"""Reads the raw tables in a folder: `items`, `users` and `interactions`, or RecBole atomic files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recpolicy.data.files import FORMATS, RawTable, read
from recpolicy.errors import UsageError


@dataclass(frozen=True)
class RawData:
    """The three tables as read. `stem` is the common path of RecBole's files without their endings, else None."""

    items: RawTable
    users: RawTable
    interactions: RawTable
    stem: Path | None = None


def find(folder: Path) -> RawData:
    """Reads the three tables of `folder`.

    Raises UsageError with the names of the files looked for where one is absent or there are two.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(f"the data folder {what}", where=str(folder), help="give a folder, `ml-100k` or `simulator`")
    atomic = sorted(folder.glob("*.inter"))
    if not atomic:
        items, users, log = (read(_table(folder, name)) for name in ("items", "users", "interactions"))
        return RawData(items, users, log)
    if len(atomic) > 1:
        raise _both(atomic, "keep one data set in a folder")
    stem = atomic[0].with_suffix("")
    paths = [stem.with_name(stem.name + ending) for ending in (".item", ".user", ".inter")]
    for path in paths:
        if not path.exists():
            help = "RecBole data needs NAME.inter, NAME.item and NAME.user"
            raise UsageError(f"no {path.name} beside {atomic[0].name}", where=str(folder), help=help)
    items, users, log = map(read, paths)
    return RawData(items, users, log, stem)


def _table(folder: Path, name: str) -> Path:
    paths = [folder / (name + ending) for ending in FORMATS]
    match [p for p in paths if p.exists()]:
        case [path]:
            return path
        case []:
            looked = ", ".join(p.name for p in paths)
            help = "a data set is three tables: items, users and interactions"
            raise UsageError(f"no table `{name}`; looked for {looked}", where=str(folder), help=help)
        case several:
            raise _both(several, "keep one of them")


def _both(paths: list[Path], help: str) -> UsageError:
    names = " and ".join(path.name for path in paths)
    return UsageError(f"{names} are both here", where=str(paths[0].parent), help=help)
