"""Writes the tables as Parquet files, and says what the interactions hold and what a schema may say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recpolicy.data.interactions import ORDER_NAMES, TIME_NAMES
from recpolicy.schema import InteractionColumns, Schema
from recpolicy.tables.infer import guess
from recpolicy.tables.reading import Array, RawTable, is_text
from recpolicy.tables.source import NAMES, RawData
from recpolicy.tables.values.words import stated
from recpolicy.types import Type

_RATINGS = ("rating", "ratings", "stars", "score", "overall", "rating_score", "label")
_FLAGS = ("click", "clicked", "is_click", "liked", "like", "is_like", "purchased", "is_positive")
_KINDS = ("event", "event_type", "action", "behavior", "behaviour", "type", "interaction_type")
_ARROW: Mapping[Type, tuple[pa.DataType, ...]] = {
    Type.INT: (pa.int64(),),
    Type.FLOAT: (pa.float64(),),
    Type.RATIO: (pa.float64(),),
    Type.DURATION: (pa.float64(),),
    Type.BOOL: (pa.bool_(),),
    Type.DATE: (pa.int64(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")),
}
"""What a column of text becomes in Parquet, where every value of it is one."""


def write(raw: RawData, schema: Schema, folder: Path) -> dict[str, int]:
    """Writes items.parquet, users.parquet and interactions.parquet; returns their numbers of rows.

    Texts of numbers, dates and truth values become these. Raises OSError.
    """
    kinds = {
        "items": {spec.source: spec.type for spec in schema.item.values() if spec.source},
        "users": {spec.source: spec.type for spec in schema.user.values() if spec.source},
        "interactions": _kinds(raw.interactions, schema.interactions),
    }
    tables = dict(zip(NAMES, (raw.items, raw.users, raw.interactions), strict=True))
    for name, table in tables.items():
        columns = {column: _typed(values, kinds[name].get(column)) for column, values in table.columns.items()}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")
    return {name: table.rows for name, table in tables.items()}


def _kinds(log: RawTable, names: InteractionColumns) -> dict[str, Type]:
    """The types of the columns of the interactions but ids."""
    found = {
        c: guess(c, v, log.hints.get(c, "")).type for c, v in log.columns.items() if c not in (names.user, names.item)
    }
    return {column: kind for column, kind in found.items() if kind is not None}


def _typed(values: Array, kind: Type | None) -> Array:
    """A column of text as what it holds; as it is where a value does not fit."""
    if kind is None or not is_text(values.type):
        return values
    for target in _ARROW.get(kind, ()):
        try:
            return stated(values).cast(target)
        except pa.ArrowException:
            continue
    return values


# ---- schema.toml ----------------------------------------------------------------------------------------------------


def log_comments(raw: RawData, schema: Schema, origins: Mapping[str, str]) -> list[str]:
    """Returns the lines for [interactions] in a schema.toml: a comment for each column, and keys to choose from."""
    log, names = raw.interactions, schema.interactions
    lines = [f"# {line}" for line in _columns(log, names, origins)]
    time = names.time or next((name for name in TIME_NAMES if name in log.columns), None)
    order = names.order or next((name for name in ORDER_NAMES if name in log.columns), None)
    lines.append("# What else can be written here; take the # away from a line to use it:")
    lines.append(f'# time = "{time or "..."}"  # when it happened; default: {", ".join(TIME_NAMES)}')
    lines.append(
        f'# order = "{order or "..."}"  # numbers that order events of one time, or all where times are missing'
    )
    if time is not None and pa.types.is_integer(log.columns[time].type):
        lines.append('# unit = "second"  # of the times: second, millisecond, microsecond or nanosecond')
    if (positive := _positive(log)) is not None:
        lines.append(f'# positive = "{positive}"  # rows that meet it are taken items, the others were shown only')
    if (event := next((name for name in _KINDS if name in log.columns), None)) is not None:
        lines.append(f'# event = "{event}"  # the kind of each event')
    lines.append("# repeatable = true  # taken items may be shown again (music, groceries)")
    return lines


def _columns(log: RawTable, names: InteractionColumns, origins: Mapping[str, str]) -> Iterator[str]:
    for name, values in log.columns.items():
        if name in (names.user, names.item):
            continue
        origin = origins.get(f"interactions.{name}")
        yield f"`{name}`: {f'{origin}; ' if origin else ''}{_content(values)}."


def _content(values: Array) -> str:
    missing = values.null_count / len(values) if len(values) else 0.0
    share = f", {missing:.1%} missing" if missing else ""
    if pa.types.is_nested(values.type):
        return f"lists{share}"
    bounds = pc.min_max(values)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if low is None:
        return "no value"
    if pa.types.is_temporal(values.type):
        return f"times, {str(low)[:10]} to {str(high)[:10]}{share}"
    if pa.types.is_boolean(values.type):
        return f"true or false{share}"
    if is_text(values.type):
        distinct = pc.unique(values.drop_null())
        words = ", ".join(distinct[:4].to_pylist()) if len(distinct) <= 10 else ""
        return f"{len(distinct):,} different words{f' ({words})' if words else ''}{share}"
    return f"numbers, {low:g} to {high:g}{share}" if abs(high) < 1e6 else f"numbers, {low:.0f} to {high:.0f}{share}"


def _positive(log: RawTable) -> str | None:
    """A condition for the column that looks like a rating or a flag."""
    for name in log.columns:
        kind = log.columns[name].type
        if name.casefold() in _FLAGS:
            return f"{name}" if pa.types.is_boolean(kind) else f"{name} >= 1"
        if name.casefold() in _RATINGS and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            high = pc.max(log.columns[name]).as_py()
            least = 1.0 if high is None or high <= 1 else 4.0 if 4 <= high <= 5 else 0.8 * high
            return f"{name} >= {least:g}"
    return None
