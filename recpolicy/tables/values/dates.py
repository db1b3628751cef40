"""Converts columns to seconds since 1970 UTC: dates of items, times of interactions and of slates alike."""

from __future__ import annotations

import datetime
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.dataset.columns import Bools, Floats
from recpolicy.schema import ColumnSpec
from recpolicy.tables.reading import Array, is_text
from recpolicy.tables.reading.arrow import is_moment
from recpolicy.tables.values.numbers import floats, number, parsed
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import cells

_LATEST = 1e11
"""Seconds, in the year 5138. A greater number is in a smaller unit, each 1,000 times smaller than the one before."""
_UNITS = ((1e11, 1e-3, "milliseconds"), (1e14, 1e-6, "microseconds"), (1e17, 1e-9, "nanoseconds"))
_YEARS = 10_000
_DATE_HELP = "write 2024-05-01, 20240501, 2024, 2024-05-01T12:30:00Z or Unix seconds"
_TIME_HELP = "write Unix seconds, 2024-05-01T12:30:00Z, 2024-05-01 or 20240501"


def dates(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    """Converts dates to seconds since 1970 UTC; NaN where missing.

    A date is an ISO date or time, a number like 20240501, a year (1 January) or a Unix time (`unix_seconds`).
    """
    if is_moment(raw.type):
        return seconds(raw)
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type):
        values = floats(raw, spec, report)
        out = _dates(values, spec.unit)
        report.misfits(np.flatnonzero(np.isnan(out) & ~np.isnan(values)), "is not a date", _DATE_HELP)
    else:
        help = f"{_DATE_HELP}; list words for an unknown date under `missing` in schema.toml"
        text = cells(raw, spec, report)
        out = parsed(text, lambda t: _date(t, spec.unit), report, "is not a date", help)
        values = _numbers(text)
    _units(values, spec.unit, report)
    return out


def moments(raw: Array, unit: float, report: Reporter) -> Floats:
    """Converts times to seconds since 1970 UTC, NaN where missing.

    A time is an ISO date or time, a number like 20240501, or a Unix time (`unix_seconds`) of any size.
    """
    if is_moment(raw.type):
        return seconds(raw)
    if is_text(raw.type):
        text = cells(raw, None, report)
        values = _numbers(text)
        if np.array_equal(np.isnan(values), np.asarray(text.is_null())):
            out = unix_seconds(values, unit)
        else:
            out = parsed(text, lambda t: time_seconds(t, unit), report, "is not a time", _TIME_HELP)
    else:
        values = floats(raw, None, report)
        out = unix_seconds(values, unit)
    _units(values, unit, report)
    return out


def times(raw: Array) -> Floats:
    """Converts times as `moments` does; NaN where missing and for what is no time."""
    if is_moment(raw.type):
        return seconds(raw)
    if not is_text(raw.type):
        return unix_seconds(np.asarray(raw.cast(pa.float64(), safe=False).fill_null(np.nan)))
    encoded = pc.dictionary_encode(raw)
    distinct = np.array([*(time_seconds(t, 1.0) for t in encoded.dictionary.to_pylist()), np.nan], np.float64)
    values: Floats = distinct[np.asarray(encoded.indices.fill_null(-1))]
    return values


def unix_seconds(values: Floats, unit: float = 1.0) -> Floats:
    """Converts numbers to seconds since 1970 UTC, NaN for NaN.

    `unit` is how many seconds 1 stands for. Where it is 1, the size tells milliseconds, microseconds and nanoseconds
    from seconds, and a number like 20240501 is that day (as seconds it would lie in 1970 to 1973).
    """
    if unit != 1.0:
        return values * unit
    out = values.copy()
    for least, factor, _ in _UNITS:
        np.multiply(values, factor, out=out, where=np.abs(values) > least)
    days = compact(values)
    if days.any():
        out[days] = [iso_seconds(str(int(v))) for v in values[days]]
    return out


def compact(values: Floats) -> Bools:
    """Finds the numbers like 20240501: days of the years 1800 to 2199."""
    out: Bools = (values >= 18_000_101) & (values <= 21_991_231) & (values == np.floor(values))
    rest = np.where(out, values, 0).astype(np.int64)
    month, day = rest // 100 % 100, rest % 100
    out &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    if out.any():
        out[out] = [not math.isnan(iso_seconds(str(v))) for v in rest[out]]
    return out


def seconds(raw: Array) -> Floats:
    """Converts a column of time stamps or dates to seconds since 1970 UTC, NaN where missing."""
    micro = raw.cast(pa.timestamp("us", tz=getattr(raw.type, "tz", None)), safe=False).cast(pa.int64())
    return np.asarray(micro.cast(pa.float64(), safe=False).fill_null(np.nan)) / 1e6


def iso_seconds(text: str) -> float:
    """Converts an ISO 8601 date or time to seconds since 1970 UTC; NaN for any other text. Without a zone it is UTC.

    Also read are 2024/05/01, 2024-05 (its first day), and `UTC` after a time.
    """
    text = re.sub(r"^(\d{4})/(\d{1,2})/(\d{1,2})", lambda m: f"{m[1]}-{m[2]:0>2}-{m[3]:0>2}", text.strip())
    text = re.sub(r"^(\d{4}-\d{2})$", r"\1-01", re.sub(r" ?UTC$", "+00:00", text))
    try:
        moment = datetime.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def _dates(values: Floats, unit: float) -> Floats:
    """Seconds of numbers that are dates: years, or as times; NaN for numbers below 10,000 that are not whole."""
    small = np.abs(values) < _YEARS
    out = unix_seconds(values, unit)
    whole = small & (values == np.floor(values))
    out[small] = np.nan
    years = values[whole].astype(np.int64) - 1970
    out[whole] = years.astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    return out


def _date(text: str, unit: float) -> float:
    value = number(text)
    return iso_seconds(text) if math.isnan(value) else float(_dates(np.array([value]), unit)[0])


def time_seconds(text: str, unit: float = 1.0) -> float:
    """Converts a time as text (`moments`) to seconds since 1970 UTC; NaN for any other text."""
    value = number(text)
    return iso_seconds(text) if math.isnan(value) else float(unix_seconds(np.array([value]), unit)[0])


def _numbers(text: Array) -> Floats:
    """The numbers among texts, NaN for others."""
    encoded = pc.dictionary_encode(text)
    distinct = np.array([*(number(t) for t in encoded.dictionary.to_pylist()), np.nan], np.float64)
    values: Floats = distinct[np.asarray(encoded.indices.fill_null(-1))]
    return values


def _units(values: Floats, unit: float, report: Reporter) -> None:
    """Notes that numbers were read in a unit that nobody named."""
    if unit == 1.0:
        with np.errstate(invalid="ignore"):
            far = np.abs(values[np.abs(values) > _LATEST])
        for least, _, name in reversed(_UNITS):
            if count := int((far > least).sum()):
                report.note(f"holds {count:,} times in {name}, by their size.")
                far = far[far <= least]
        if count := int(compact(values).sum()):
            report.note(f"holds {count:,} days written like 20240501.")
