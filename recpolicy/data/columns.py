"""Converts raw Arrow columns to columns as the compiler reads them; values that do not fit are reported."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recpolicy.data.files import Array, RawTable, is_list, is_text
from recpolicy.data.problems import Problems, shown
from recpolicy.dataset.columns import (
    Bools,
    Codes,
    ColumnData,
    Floats,
    ListColumn,
    NumberColumn,
    Ragged,
    TruthColumn,
    WordColumn,
)
from recpolicy.schema import ColumnSpec
from recpolicy.types import Type

_NOT_A_NUMBER = ("nan", "na", "null", "none")
"""Spellings of a missing number or key in text files."""
_LATEST = 1e11
"""Seconds: a later time (after the year 5138) was most likely written in milliseconds."""


def column(table: RawTable, spec: ColumnSpec, problems: Problems) -> ColumnData:
    """Converts column `spec.source` of `table` to `spec.type`; every value that does not fit goes to `problems`."""
    assert spec.source is not None
    raw = table.columns[spec.source]
    report = Reporter(table, spec.source, problems)
    match spec.type:
        case Type.INT | Type.FLOAT | Type.RATIO | Type.DURATION | Type.DATE:
            values = dates(raw, spec, report) if spec.type is Type.DATE else _numbers(raw, spec, report)
            report.required(spec, np.isnan(values))
            return NumberColumn(spec.type, values)
        case Type.BOOL:
            truth = _truth(raw, spec, report)
            report.required(spec, truth == 1)
            return TruthColumn(spec.type, truth)
        case Type.CATEGORY | Type.TEXT:
            strings = _known(words(raw, report), spec)
            report.required(spec, np.asarray(strings.is_null()))
            return coded(spec.type, strings)
        case Type.LIST:
            lists = _lists(raw, spec, report)
            report.required(spec, lists.missing)
            return lists
        case _:
            assert_never(spec.type)


class Reporter:
    """Turns row numbers into one problem of a column."""

    def __init__(self, table: RawTable, name: str, problems: Problems) -> None:
        self.table, self.name, self.problems = table, name, problems
        self.raw = table.columns[name]
        self.reported = np.zeros(table.rows, np.bool_)

    def wrong(self, rows: NDArray[np.intp], message: Callable[[int], str], help: str = "") -> None:
        """Reports `rows` (from 0) as one kind of problem; `message` describes one row."""
        if len(rows):
            self.reported[rows] = True
            first = int(rows[0])
            self.problems.add(message(first), self.table.place(first, self.name), help, more=len(rows) - 1)

    def misfits(self, rows: NDArray[np.intp], phrase: str, help: str = "") -> None:
        """Reports `rows` with their value and a phrase about it: `"2O21" is not a date`."""
        self.wrong(rows, lambda row: f"{shown(self.raw[row].as_py())} {phrase}", help)

    def required(self, spec: ColumnSpec, missing: Bools) -> None:
        """Reports the missing values of a column that is not optional, except rows that are reported already."""
        if not spec.optional:
            help = f"fill it in, or write optional = true for `{spec.name}` in schema.toml"
            self.absent(missing, "value", help)

    def absent(self, missing: Bools, what: str, help: str) -> None:
        """Reports the rows where `what` is missing, [rows], except rows that are reported already."""
        self.wrong(np.flatnonzero(missing & ~self.reported), lambda _: f"the {what} is missing", help)


# ---- words ----------------------------------------------------------------------------------------------------------


def words(raw: Array, report: Reporter) -> Array:
    """Converts any scalar column to strings, null where missing; whole floats are written without their `.0`."""
    kind = raw.type
    if is_text(kind):
        strings = raw.cast(pa.string())
        return _nulled(strings, pc.equal(strings, ""))
    if pa.types.is_floating(kind):
        whole = pc.equal(raw, pc.floor(raw))
        strings = pc.if_else(whole, raw.cast(pa.int64(), safe=False).cast(pa.string()), raw.cast(pa.string()))
        return _nulled(strings, pc.is_nan(raw))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return raw.cast(pa.string())
    help = 'type = "list of category" reads lists of words' if pa.types.is_nested(kind) else ""
    report.misfits(_valid(raw), "is not a word", help)
    return pa.nulls(len(raw), pa.string())


def _valid(raw: Array) -> NDArray[np.intp]:
    """The rows that are not null."""
    return np.flatnonzero(np.asarray(raw.is_valid()))


def _nulled(strings: Array, unknown: Array) -> Array:
    """The strings with null where `unknown`."""
    return pc.if_else(unknown, pa.scalar(None, pa.string()), strings)


def _stated(strings: Array) -> Array:
    """The strings with null for NaN and the like."""
    return _nulled(strings, pc.is_in(pc.utf8_lower(strings), value_set=pa.array(_NOT_A_NUMBER)))


def _known(strings: Array, spec: ColumnSpec | None) -> Array:
    """The strings with null for the schema's words for "unknown"."""
    missing = spec.missing if spec else ()
    return _nulled(strings, pc.is_in(strings, value_set=pa.array(missing))) if missing else strings


def _cells(raw: Array, spec: ColumnSpec | None, report: Reporter) -> Array:
    """A column of anything but words as trimmed text: null for blanks, NaN and the schema's words for missing."""
    strings = pc.utf8_trim_whitespace(words(raw, report))
    return _known(_stated(_nulled(strings, pc.equal(strings, ""))), spec)


def keys(table: RawTable, name: str, problems: Problems) -> Array:
    """Converts a column of ids to strings; missing ids (also a written NaN) are reported."""
    report = Reporter(table, name, problems)
    strings = words(table.columns[name], report)
    if table.is_text:
        strings = _stated(strings)
    report.absent(np.asarray(strings.is_null()), "id", "every row needs one")
    return strings


def coded(kind: Type, strings: Array) -> WordColumn:
    """Encodes strings as codes into the sorted distinct words, -1 for null."""
    return WordColumn(kind, *_codes(strings))


def _codes(strings: Array) -> tuple[Codes, tuple[str, ...]]:
    encoded = pc.dictionary_encode(strings)
    distinct = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(distinct)
    rank = np.empty(len(distinct) + 1, np.int32)
    rank[order] = np.arange(len(distinct), dtype=np.int32)
    rank[-1] = -1
    return rank[np.asarray(encoded.indices.fill_null(-1))], tuple(distinct[order])


def _lists(raw: Array, spec: ColumnSpec, report: Reporter) -> ListColumn:
    held = raw.type.value_type if is_list(raw.type) else None
    if held is not None and (is_text(held) or pa.types.is_integer(held) or pa.types.is_null(held)):
        missing = np.asarray(raw.is_null())
        lengths = np.asarray(pc.list_value_length(raw).fill_null(0)).astype(np.int64)
        flat = words(raw.flatten(), report)
    else:
        strings = _known(words(raw, report), spec)
        missing = np.asarray(strings.is_null()) if spec.optional else np.zeros(len(raw), np.bool_)
        parts = pc.split_pattern(strings.fill_null(""), spec.separator)
        lengths = np.asarray(pc.list_value_length(parts)).astype(np.int64)
        flat = pc.utf8_trim_whitespace(parts.flatten())
    filled = np.asarray(pc.greater(pc.utf8_length(flat), 0).fill_null(False))  # [entries]; empty ones are no category
    rows = np.repeat(np.arange(len(raw)), lengths)[filled]
    codes, vocabulary = _codes(flat.filter(pa.array(filled)))
    # The first of equal codes in a row stays, in the order of the file.
    pair = rows * np.int64(max(len(vocabulary), 1)) + codes
    first = np.sort(np.unique(pair, return_index=True)[1])
    offsets = np.append(0, np.cumsum(np.bincount(rows[first], minlength=len(raw))))
    return ListColumn(spec.type, Ragged(offsets, codes[first]), vocabulary, missing)


# ---- numbers --------------------------------------------------------------------------------------------------------


def _numbers(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    values = floats(raw, spec, report) * spec.unit
    if spec.type is Type.INT:
        rows = np.flatnonzero(~np.isnan(values) & (values != np.floor(values)))
        report.misfits(rows, "is not a whole number", 'type = "float" reads fractions')
    if spec.type is Type.RATIO:
        rows = np.flatnonzero((values < 0) | (values > 1))
        help = 'a ratio lies in 0..1; write unit = "percent" where 2 means 2%, or type = "float"'
        report.misfits(rows, "is not a ratio", help)
    return values


def floats(raw: Array, spec: ColumnSpec | None, report: Reporter) -> Floats:
    """Converts a column to float64, NaN where missing; what is not a number is reported."""
    kind = raw.type
    if is_text(kind):
        return _parsed(_cells(raw, spec, report), _float, report, "is not a number")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = np.asarray(raw.cast(pa.float64(), safe=False).fill_null(np.nan))
        report.misfits(np.flatnonzero(np.isinf(values)), "is not a number")
        return values
    report.misfits(_valid(raw), "is not a number")
    return np.full(len(raw), np.nan)


def _parsed(text: Array, parse: Callable[[str], float], report: Reporter, phrase: str, help: str = "") -> Floats:
    """`parse` of every string, once per distinct one; NaN for null, and for a string that is reported."""
    valid = np.asarray(text.is_valid())
    if parse in (_float, _time):
        try:
            values: Floats = np.asarray(text.cast(pa.float64()).fill_null(np.nan))
            if np.isfinite(values[valid]).all():
                return values
        except pa.ArrowInvalid:
            pass  # some value is not a number: find out which
    encoded = pc.dictionary_encode(text)
    distinct = np.array([*map(parse, encoded.dictionary.to_pylist()), np.nan], np.float64)
    values = distinct[np.asarray(encoded.indices.fill_null(-1))]
    report.misfits(np.flatnonzero(np.isnan(values) & valid), phrase, help)
    return values


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _truth(raw: Array, spec: ColumnSpec, report: Reporter) -> NDArray[np.int8]:
    """0 false, 1 missing, 2 true."""
    if pa.types.is_boolean(raw.type):
        return np.asarray(pc.if_else(raw, 2, 0).fill_null(1)).astype(np.int8)
    text = pc.utf8_lower(_cells(raw, spec, report))
    yes = np.asarray(pc.is_in(text, value_set=pa.array(["true", "1", "yes"])))
    no = np.asarray(pc.is_in(text, value_set=pa.array(["false", "0", "no"])))
    wrong = np.flatnonzero(~(yes | no | np.asarray(text.is_null())))
    report.misfits(wrong, "is neither true nor false", "allowed: true, false, yes, no, 1, 0")
    return np.where(yes, 2, np.where(no, 0, 1)).astype(np.int8)


# ---- dates ----------------------------------------------------------------------------------------------------------

_YEAR = re.compile(r"-?\d{1,4}")
_UNIX = re.compile(r"-?\d{5,}(\.\d+)?")
_DATE_HELP = "write 2024-05-01, 2024, 2024-05-01T12:30:00Z or Unix seconds"


def dates(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    """Converts ISO dates, years (1 January) and Unix seconds to seconds since 1970 UTC; NaN where missing."""
    kind = raw.type
    if _is_moment(kind):
        return moments(raw, report)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    text = _cells(pc.round(raw.cast(pa.float64(), safe=False)) if numeric else raw, spec, report)
    help = f"{_DATE_HELP}; list words for an unknown date under `missing` in schema.toml"
    values = _parsed(text, lambda t: _date(t, spec.unit), report, "is not a date", help)
    help = 'dates end in the year 5138; for milliseconds write unit = "millisecond" in schema.toml'
    report.misfits(np.flatnonzero(np.abs(values) > _LATEST), "is too late a date", help)
    return values


def moments(raw: Array, report: Reporter) -> Floats:
    """Converts times to seconds since 1970 UTC, NaN where missing.

    Times are Unix seconds (of any size), values of date types, or ISO text.
    """
    if _is_moment(raw.type):
        return seconds(raw)
    if is_text(raw.type):
        help = "write Unix seconds or 2024-05-01T12:30:00Z"
        values = _parsed(_cells(raw, None, report), _time, report, "is not a time", help)
    else:
        values = floats(raw, None, report)
    help = "divide it by 1000: time stamps are in seconds"
    report.misfits(np.flatnonzero(np.abs(values) > _LATEST), "is too late a time", help)
    return values


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(kind) and not pa.types.is_time(kind))


def seconds(raw: Array) -> Floats:
    """Converts a column of time stamps or dates to seconds since 1970 UTC, NaN where missing."""
    micro = raw.cast(pa.timestamp("us", tz=getattr(raw.type, "tz", None)), safe=False).cast(pa.int64())
    return np.asarray(micro.cast(pa.float64(), safe=False).fill_null(np.nan)) / 1e6


def _date(text: str, unit: float) -> float:
    """Seconds since 1970 of a date as text; NaN for a text that is no date."""
    if _YEAR.fullmatch(text):
        return float(np.datetime64(int(text) - 1970, "Y").astype("datetime64[s]").astype(np.int64))
    if _UNIX.fullmatch(text):
        compact = len(text) == 8 and not math.isnan(iso_seconds(text))  # 20240501 as seconds would be a day in 1970
        return math.nan if compact else float(text) * unit
    return iso_seconds(text)


def _time(text: str) -> float:
    value = _float(text)
    return iso_seconds(text) if math.isnan(value) else value


def iso_seconds(text: str) -> float:
    """Converts an ISO 8601 date or time to seconds since 1970 UTC; NaN for any other text. Without a zone it is UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
