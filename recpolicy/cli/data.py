"""Gets, checks, describes and imports data sets (`recpolicy data get | check | describe | import`)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recpolicy import schema as schemas
from recpolicy.cli.reading import Subparsers
from recpolicy.errors import UsageError
from recpolicy.render.terminal import columns

if TYPE_CHECKING:
    from recpolicy.dataset.columns import ColumnData
    from recpolicy.dataset.rows import Dataset


def add(subparsers: Subparsers) -> None:
    """Adds `data` and its four commands; each sets `run`, a function of the arguments that returns the exit code."""
    data = subparsers.add_parser("data", help="get, check, describe and import a data set")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    get = commands.add_parser("get", help="download a public data set into the cache")
    get.add_argument("name", metavar="NAME", help="ml-100k")
    get.set_defaults(run=_get)
    for name, help, run in (
        ("check", "read a data set and report what is wrong with it", _check),
        ("describe", "print what a data set holds", _describe),
    ):
        command = commands.add_parser(name, help=help)
        source = "ml-100k, simulator, a folder with the three tables, or duckdb:FILE"
        command.add_argument("source", metavar="SOURCE", help=source)
        command.add_argument("--schema", type=Path, metavar="FILE", help="its schema.toml, where not in the folder")
        command.set_defaults(run=run)
    importing = commands.add_parser(
        "import",
        help="make a data folder from what other programs write",
        description="Makes a data folder: the tables items, users and interactions as Parquet, and a schema.toml with "
        "comments. Rows that cannot count are left out and counted. No folder is ever overwritten.",
    )
    importing.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of MovieLens, RecBole, `datasets` (save_to_disk) or with tables; Amazon reviews; duckdb:FILE",
    )
    importing.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="the data folder to make")
    importing.add_argument("--schema", type=Path, metavar="FILE", help="the schema.toml of tables or of a database")
    importing.add_argument(
        "--metadata", type=Path, metavar="FILE", help="products, for Amazon reviews that lie elsewhere"
    )
    importing.set_defaults(run=_import)


def _get(args: argparse.Namespace) -> int:
    from recpolicy.data import get

    print(get(args.name))
    return 0


def _import(args: argparse.Namespace) -> int:
    from recpolicy import scaffold
    from recpolicy.data import importing
    from recpolicy.runs import finished

    out: Path = args.out
    if out.exists():
        raise UsageError("this exists already, and import overwrites nothing", where=str(out), help="choose another -o")
    found = importing.read(args.source, schema=args.schema, metadata=args.metadata)
    print(f"{args.source}: {found.kind}")
    clean = importing.cleaned(found)
    _notes(clean.notes)
    dataset = importing.checked(clean, found.schema, name=out.resolve().name)
    log = importing.log_comments(clean.raw, dataset.schema, found.origins)
    text = found.schema_text or scaffold.schema_text(dataset, origins=found.origins, log=log)
    try:
        with finished(out) as folder:
            rows = importing.write(clean.raw, dataset.schema, folder)
            (folder / "schema.toml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", where=str(out), help="choose another -o") from None
    for name, count in rows.items():
        print(f"wrote {out / f'{name}.parquet'}: {count:,} rows")
    print(f"wrote {out / 'schema.toml'}{': as it was' if found.schema_text else ''}")
    print(f"Read it, then: recpolicy data check {out}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from recpolicy.data import split

    dataset = _open(args)
    print(f"{dataset.name}: {_counts(dataset)}. No problem found.")
    _notes(dataset.notes)
    try:
        _notes(split(dataset).notes)
    except UsageError as error:  # such data can still be scored and recommended from
        _notes((f"Training could not test: {error.message}; {error.help}.",))
    return 0


def _describe(args: argparse.Namespace) -> int:
    dataset = _open(args)
    print(f"{dataset.name}: {_counts(dataset)}")
    print(_period(dataset))
    for of, specs, table in (
        ("item", dataset.schema.item, dataset.items),
        ("user", dataset.schema.user, dataset.users),
    ):
        print()
        labels = columns([(f"{of}.{name}", f"{spec.type.value:<16}") for name, spec in specs.items()])
        for label, (name, spec) in zip(labels, specs.items(), strict=True):
            derived = spec.derived.value if spec.derived else ""
            print(f"  {label}{_content(table.columns[name]) if name in table.columns else derived}")
    _notes(dataset.notes)
    return 0


def _open(args: argparse.Namespace) -> Dataset:
    from recpolicy.data import open

    return open(args.source, schemas.load(args.schema) if args.schema else None)


def _counts(dataset: Dataset) -> str:
    return (
        f"{dataset.items.rows:,} items, {dataset.users.rows:,} users, {len(dataset.item):,} interactions "
        f"({len(dataset.item) / dataset.users.rows:.0f} a user)"
    )


def _period(dataset: Dataset) -> str:
    import numpy as np

    known = dataset.time[~np.isnan(dataset.time)]
    if not len(known):
        return f"no time stamps; now is {_day(dataset.schema.now or 0.0)}"
    return f"from {_day(known.min())} to {_day(known.max())}"


def _content(column: ColumnData) -> str:
    """The range of numbers or the number of different words, then the share that is missing."""
    import numpy as np

    from recpolicy.dataset.columns import ListColumn, NumberColumn, TruthColumn, WordColumn
    from recpolicy.types import DAY, Type

    match column:
        case NumberColumn(kind, values):
            missing, known = np.isnan(values).mean(), values[~np.isnan(values)]
            low, high = (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)
            match kind:
                case _ if not len(known):
                    detail = ""
                case Type.DATE:
                    detail = f"{_day(low)} to {_day(high)}"
                case Type.DURATION:
                    days = f"{low / DAY:.1f} to {high / DAY:.1f} days"
                    detail = days if high >= DAY else f"{low:,.0f} to {high:,.0f} seconds"
                case Type.RATIO:
                    detail = f"{low:.2%} to {high:.2%}"
                case _:
                    detail = f"{low:g} to {high:g}" if high < 1e5 else f"{low:,.0f} to {high:,.0f}"
        case TruthColumn(_, truth):
            missing = (truth == 1).mean()
            detail = f"{(truth == 2).mean():.1%} true"
        case WordColumn(_, codes, words):
            missing, detail = (codes < 0).mean(), _words(words)
        case ListColumn(_, lists, words, absent):
            missing = absent.mean()
            detail = f"{_words(words)}; {lists.lengths.mean():.1f} a row"
    return detail + (f"; {missing:.1%} missing" if missing else "")


def _words(words: tuple[str, ...]) -> str:
    shown = ", ".join([*words[:4], *(["..."] if len(words) > 4 else [])]) if len(words) <= 50 else ""
    return f"{len(words):,} different" + (f" ({shown})" if shown else "")


def _day(seconds: float) -> str:
    import numpy as np

    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))


def _notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"note: {note}")
