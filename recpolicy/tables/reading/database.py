"""Reads tables, views and queries of a DuckDB database, which is opened for reading only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os.path import isdir, isfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.tables.reading.files import from_arrow
from recpolicy.tables.reading.table import RawTable

if TYPE_CHECKING:
    import duckdb

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"


def read(
    path: Path, names: Sequence[str], queries: Mapping[str, str], *, optional: Collection[str] = ()
) -> dict[str, RawTable]:
    """Reads the tables or views `names`; where `queries` has a query for a name, that instead.

    Those in `optional` may be absent. Raises UsageError where DuckDB is not installed, for a database that cannot be
    opened, a table that is absent and a query that fails.
    """
    try:
        import duckdb
    except ModuleNotFoundError:
        help = "install it with: pip install 'recpolicy[sql]'"
        raise UsageError("a database needs the package `duckdb`", where=str(path), help=help) from None
    if not isfile(path):
        what = "is a folder" if isdir(path) else "does not exist"
        raise UsageError(f"the database {what}", where=str(path), help="write duckdb: and the path of its file")
    try:
        with duckdb.connect(path, read_only=True) as connection:
            here = connection.sql(_TABLES).fetchall()
            source = _Database(connection, path, tuple(str(name) for (name,) in here))
            found = ((name, source.table(name, queries.get(name), optional=name in optional)) for name in names)
            return {name: table for name, table in found if table is not None}
    except duckdb.Error as error:
        help = "is it a DuckDB file, and does no other program have it open for writing?"
        raise UsageError(f"cannot be read by DuckDB: {_first(error)}", where=str(path), help=help) from None


class _Database:
    """An open database and the names of its tables and views."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, here: tuple[str, ...]) -> None:
        self._connection, self._path, self._here = connection, path, here

    def table(self, name: str, query: str | None, *, optional: bool) -> RawTable | None:
        """Reads one table; None where it is absent and may be."""
        if query is None and name not in self._here:
            if optional:
                return None
            raise self._absent(name)
        rows = (
            self._connection.sql(f'SELECT * FROM "{name}"').to_arrow_table()
            if query is None
            else self._rows(name, query)
        )
        table = from_arrow(rows, self._path / name)
        if not table.rows:
            raise UsageError("the table is empty", where=str(table.path), help="it needs at least one row")
        return table

    def _rows(self, name: str, query: str) -> pa.Table:
        """The rows of one SELECT; anything else is refused, so that nothing is ever changed."""
        import duckdb

        where = f"schema.toml, key sql.{name}"
        try:
            kinds = [statement.type for statement in self._connection.extract_statements(query)]
            if kinds != [duckdb.StatementType.SELECT]:
                help = 'write a single query: "SELECT ... FROM ..."'
                raise UsageError("this is not one SELECT", where=where, help=help)
            return self._connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            help = f"tables and views: {self._listed}"
            raise UsageError(f"the query fails: {_first(error)}", where=where, help=help) from None

    def _absent(self, name: str) -> UsageError:
        close = near(name, self._here)
        return UsageError(
            f"no table or view `{name}`",
            where=str(self._path),
            help=(f"is it `{close}`? " if close else "")
            + f"there are: {self._listed}; make a view of that name, or write a query into schema.toml, under [sql]: "
            + f'{name} = "SELECT ... FROM {close or (self._here or ("..."))[0]}"',
        )

    @property
    def _listed(self) -> str:
        return ", ".join(self._here) or "none"


def _first(error: Exception) -> str:
    return (str(error).splitlines() or ["unknown"])[0]
