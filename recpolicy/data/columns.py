"""A raw Arrow column and its schema entry in, the column as the compiler reads it out; misfits are reported."""

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

from recpolicy.data.files import Array, RawTable
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
"""Ways in which text files spell a missing number or key."""
_LATEST = 1e11
"""Seconds: a later time (after the year 5138) was most likely written in milliseconds."""


def column(table: RawTable, spec: ColumnSpec, problems: Problems) -> ColumnData:
    """Column `spec.source` of `table` as `spec.type`; every value that does not fit goes to `problems`."""
    assert spec.source is not None
    raw = table.columns[spec.source]
    report = Reporter(table, spec.source, problems)
    match spec.type:
        case Type.INT | Type.FLOAT | Type.RATIO | Type.DURATION:
            values = _numbers(raw, spec, report)
            report.required(spec, np.isnan(values))
            return NumberColumn(spec.type, values)
        case Type.DATE:
            values = dates(raw, spec, report)
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
        """Report `rows` (from 0) as one kind of problem; `message` describes one row."""
        if len(rows):
            self.reported[rows] = True
            first = int(rows[0])
            self.problems.add(message(first), self.table.place(first, self.name), help, more=len(rows) - 1)

    def misfits(self, rows: NDArray[np.intp], phrase: str, help: str = "") -> None:
        """Report `rows` by their value and what is the matter with it: `"2O21" is not a date`."""
        self.wrong(rows, lambda row: f"{shown(self.raw[row].as_py())} {phrase}", help)

    def required(self, spec: ColumnSpec, missing: Bools) -> None:
        """Report the missing values of a column that is not optional, but for those that were already reported."""
        if not spec.optional:
            help = f"fill it in, or write optional = true for `{spec.name}` in schema.toml"
            self.wrong(np.flatnonzero(missing & ~self.reported), lambda _: "the value is missing", help)


# ---- words ----------------------------------------------------------------------------------------------------------


def words(raw: Array, report: Reporter) -> Array:
    """Any scalar column as strings, null where missing; whole floats are written without their `.0`."""
    kind = raw.type
    if _is_text(kind):
        strings = raw.cast(pa.string())
        return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)
    if pa.types.is_floating(kind):
        whole = pc.equal(raw, pc.floor(raw))
        strings = pc.if_else(whole, raw.cast(pa.int64(), safe=False).cast(pa.string()), raw.cast(pa.string()))
        return pc.if_else(pc.is_nan(raw), pa.scalar(None, pa.string()), strings)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_null(kind):
        return raw.cast(pa.string())
    rows = np.flatnonzero(np.asarray(raw.is_valid()))
    help = 'type = "list of category" reads lists of words' if pa.types.is_nested(kind) else ""
    report.misfits(rows, "is not a word", help)
    return pa.nulls(len(raw), pa.string())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list_of_words(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    held = kind.value_type
    return _is_text(held) or bool(pa.types.is_integer(held) or pa.types.is_null(held))


def _cells(raw: Array, spec: ColumnSpec | None, report: Reporter) -> Array:
    """A column of anything but words as trimmed text: null for blanks, NaN and the schema's words for missing."""
    strings = pc.utf8_trim_whitespace(words(raw, report))
    strings = pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)
    return _known(_known(strings, None), spec) if spec else _known(strings, None)


def keys(table: RawTable, name: str, problems: Problems) -> Array:
    """A column of ids as strings; missing ones (also a written NaN) are reported."""
    report = Reporter(table, name, problems)
    strings = words(table.columns[name], report)
    if table.is_text:
        strings = _known(strings, None)
    missing = np.asarray(strings.is_null()) & ~report.reported
    report.wrong(np.flatnonzero(missing), lambda _: "the id is missing", "every row needs one")
    return strings


def _known(strings: Array, spec: ColumnSpec | None) -> Array:
    """The strings with those that stand for "unknown" made null; without a spec, NaN and the like."""
    if spec is None:
        unknown = pc.is_in(pc.utf8_lower(strings), value_set=pa.array(_NOT_A_NUMBER))
    elif spec.missing:
        unknown = pc.is_in(strings, value_set=pa.array(spec.missing))
    else:
        return strings
    return pc.if_else(unknown, pa.scalar(None, pa.string()), strings)


def coded(kind: Type, strings: Array) -> WordColumn:
    """Codes into the sorted distinct words."""
    codes, vocabulary = _codes(strings)
    return WordColumn(kind, codes, vocabulary)


def _codes(strings: Array) -> tuple[Codes, tuple[str, ...]]:
    encoded = pc.dictionary_encode(strings)
    found = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(found)
    rank = np.empty(len(found) + 1, np.int32)
    rank[order] = np.arange(len(found), dtype=np.int32)
    rank[-1] = -1
    at = np.asarray(encoded.indices.fill_null(-1))
    return rank[at], tuple(found[order])


def _lists(raw: Array, spec: ColumnSpec, report: Reporter) -> ListColumn:
    kind = raw.type
    if _is_list_of_words(kind):
        missing = np.asarray(raw.is_null())
        lengths = np.asarray(pc.list_value_length(raw).fill_null(0)).astype(np.int64)
        flat = words(raw.flatten(), report)
    else:
        strings = _known(words(raw, report), spec)
        missing = np.asarray(strings.is_null()) if spec.optional else np.zeros(len(raw), np.bool_)
        parts = pc.split_pattern(strings.fill_null(""), spec.separator)
        lengths = np.asarray(pc.list_value_length(parts)).astype(np.int64)
        flat = pc.utf8_trim_whitespace(parts.flatten())
    rows = np.repeat(np.arange(len(raw)), lengths)
    kept = np.asarray(pc.greater(pc.utf8_length(flat), 0).fill_null(False))  # [entries]; empty ones are no category
    codes, vocabulary = _codes(flat.filter(pa.array(kept)))
    # The first of equal codes in a row stays, in the order of the file.
    pair = rows[kept] * np.int64(max(len(vocabulary), 1)) + codes
    first = np.sort(np.unique(pair, return_index=True)[1])
    offsets = np.zeros(len(raw) + 1, np.int64)
    np.cumsum(np.bincount(rows[kept][first], minlength=len(raw)), out=offsets[1:])
    return ListColumn(spec.type, Ragged(offsets, codes[first]), vocabulary, missing)


# ---- numbers --------------------------------------------------------------------------------------------------------


def _numbers(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    values = floats(raw, spec, report) * spec.unit
    whole = spec.type is not Type.INT or values == np.floor(values)
    rows = np.flatnonzero(~np.isnan(values) & ~whole)
    report.misfits(rows, "is not a whole number", 'type = "float" reads fractions')
    if spec.type is Type.RATIO:
        rows = np.flatnonzero((values < 0) | (values > 1))
        help = 'a ratio lies in 0..1; write unit = "percent" where 2 means 2%, or type = "float"'
        report.misfits(rows, "is not a ratio", help)
    return values


def floats(raw: Array, spec: ColumnSpec | None, report: Reporter) -> Floats:
    """Numbers as float64, NaN where missing; what is not a number is reported."""
    kind = raw.type
    if pa.types.is_null(kind):
        return np.full(len(raw), np.nan)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = np.asarray(raw.cast(pa.float64(), safe=False).fill_null(np.nan))
    elif _is_text(kind):
        text = _cells(raw, spec, report)
        values = _parsed(text, _float)
        failed = np.flatnonzero(np.isnan(values) & np.asarray(text.is_valid()))
        report.misfits(failed, "is not a number")
        return values
    else:
        rows = np.flatnonzero(np.asarray(raw.is_valid()))
        report.misfits(rows, "is not a number")
        return np.full(len(raw), np.nan)
    report.misfits(np.flatnonzero(np.isinf(values)), "is not a number")
    return values


def _parsed(text: Array, parse: Callable[[str], float]) -> Floats:
    """`parse` of every string, once per distinct one; NaN for null."""
    if parse is _float:
        try:
            values: Floats = np.asarray(text.cast(pa.float64()).fill_null(np.nan))
            if np.isfinite(values[np.asarray(text.is_valid())]).all():
                return values
        except pa.ArrowInvalid:
            pass  # some value is not a number: find out which
    encoded = pc.dictionary_encode(text)
    distinct = np.array([*map(parse, encoded.dictionary.to_pylist()), np.nan], np.float64)
    result: Floats = distinct[np.asarray(encoded.indices.fill_null(-1))]
    return result


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
    missing = np.asarray(text.is_null())
    wrong = np.flatnonzero(~(yes | no | missing))
    report.misfits(wrong, "is neither true nor false", "allowed: true, false, yes, no, 1, 0")
    return np.where(yes, 2, np.where(no, 0, 1)).astype(np.int8)


# ---- dates ----------------------------------------------------------------------------------------------------------

_YEAR = re.compile(r"-?\d{1,4}")
_UNIX = re.compile(r"-?\d{5,}(\.\d+)?")
_DATE_HELP = "write 2024-05-01, 2024, 2024-05-01T12:30:00Z or Unix seconds"


def dates(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    """Seconds since 1970 UTC of ISO dates, years (1 January) and Unix seconds; NaN where missing."""
    kind = raw.type
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind):
        return moments(raw, report)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    text = _cells(pc.round(raw.cast(pa.float64(), safe=False)) if numeric else raw, spec, report)
    values = _parsed(text, lambda t: _date(t, spec.unit))
    failed = np.flatnonzero(np.isnan(values) & np.asarray(text.is_valid()))
    help = f"{_DATE_HELP}; list words for an unknown date under `missing` in schema.toml"
    report.misfits(failed, "is not a date", help)
    help = 'dates end in the year 5138; for milliseconds write unit = "millisecond" in schema.toml'
    report.misfits(np.flatnonzero(np.abs(values) > _LATEST), "is too late a date", help)
    return values


def moments(raw: Array, report: Reporter) -> Floats:
    """Time stamps as seconds since 1970 UTC: Unix seconds (any size), date types, or ISO text; NaN where missing."""
    kind = raw.type
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind):
        micro = raw.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return np.asarray(micro.cast(pa.float64(), safe=False).fill_null(np.nan)) / 1e6
    if _is_text(kind):
        text = _cells(raw, None, report)
        values = _parsed(text, _float)
        if (np.isnan(values) & np.asarray(text.is_valid())).any():
            values = _parsed(text, lambda t: v if not math.isnan(v := _float(t)) else _iso(t))
        failed = np.flatnonzero(np.isnan(values) & np.asarray(text.is_valid()))
        report.misfits(failed, "is not a time", "write Unix seconds or 2024-05-01T12:30:00Z")
    else:
        values = floats(raw, None, report)
    help = "divide it by 1000: time stamps are in seconds"
    report.misfits(np.flatnonzero(np.abs(values) > _LATEST), "is too late a time", help)
    return values


def _date(text: str, unit: float) -> float:
    """Seconds since 1970 of one date as text; NaN for what is none."""
    if _YEAR.fullmatch(text):
        return float(np.datetime64(int(text) - 1970, "Y").astype("datetime64[s]").astype(np.int64))
    if _UNIX.fullmatch(text):
        compact = len(text) == 8 and not math.isnan(_iso(text))  # 20240501 as seconds would be a day in 1970
        return math.nan if compact else float(text) * unit
    return _iso(text)


def _iso(text: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
