"""Sources as other programs write them, and what `recpolicy data import` makes of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from recpolicy import data
from recpolicy.dataset.columns import ListColumn, NumberColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from tests.command import recpolicy

EVENTS = [(u, m, 1 + (u * m) % 5, 978_300_000 + 1000 * u + 37 * m) for u in range(1, 5) for m in range(u, u + 6)]
"""User, item, rating, Unix seconds: items 1 to 9."""
FILMS = [(m, f"Café {m}, The: part {m} ({1990 + m})", "Drama|Sci-Fi" if m % 2 else "Comedy") for m in range(1, 10)]


def imported(home: Path, source: str, *options: str) -> tuple[str, Dataset]:
    """Imports a source into `out`; returns what was printed and the data set, which check and describe read too."""
    done = recpolicy(home, "data", "import", source, "-o", "out", *options)
    assert done.returncode == 0, done.stderr
    check = recpolicy(home, "data", "check", "out")
    assert check.returncode == 0 and "No problem found." in check.stdout, check.stderr
    assert recpolicy(home, "data", "describe", "out").returncode == 0
    assert sorted(p.name for p in (home / "out").iterdir()) == [
        "interactions.parquet", "items.parquet", "schema.toml", "users.parquet"
    ]  # fmt: skip
    tomllib.loads((home / "out" / "schema.toml").read_text("utf-8"))
    assert not [p for p in home.iterdir() if p.name.startswith(".")]
    return done.stdout, data.open(home / "out")


def refused(home: Path, *words: str) -> str:
    """Runs an import that is refused; returns the message. Nothing is written."""
    done = recpolicy(home, "data", "import", *words, "-o", "out")
    assert done.returncode == 2
    assert not (home / "out").exists()
    return done.stderr


def words(dataset: Dataset, name: str, of: str = "item") -> list[str | None]:
    column = (dataset.items if of == "item" else dataset.users).columns[name]
    assert isinstance(column, WordColumn)
    return [None if code < 0 else column.words[code] for code in column.values]


def lists(dataset: Dataset, name: str) -> list[list[str] | None]:
    column = dataset.items.columns[name]
    assert isinstance(column, ListColumn)
    rows = [[column.words[code] for code in column.values.row(i)] for i in range(dataset.items.rows)]
    return [None if missing else row for row, missing in zip(rows, column.missing, strict=True)]


def numbers(dataset: Dataset, name: str) -> list[float]:
    column = dataset.items.columns[name]
    assert isinstance(column, NumberColumn)
    return [float(value) for value in column.values]


def texts(folder: Path, files: Mapping[str, str], encoding: str = "utf-8") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding=encoding)


def lines(rows: Sequence[Sequence[object]], separator: str) -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def movielens_1m(folder: Path) -> None:
    ratings = [*EVENTS, (1, 99, 5, 978_300_000)]
    users = [(u, "FM"[u % 2], 18, u, f"4800{u}") for u in range(1, 5)]
    files = {"ratings.dat": lines(ratings, "::") + "1::2\n", "movies.dat": lines(FILMS, "::")}
    texts(folder, {**files, "users.dat": lines(users, "::")}, "latin-1")
