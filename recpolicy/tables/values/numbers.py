"""Converts columns to numbers and truth values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recpolicy.dataset.columns import Floats
from recpolicy.schema import ColumnSpec
from recpolicy.tables.reading import Array, is_text
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import cells
from recpolicy.types import Type


def numbers(raw: Array, spec: ColumnSpec, report: Reporter) -> Floats:
    """Converts a column of int, float, ratio or duration to float64 in the stored unit, NaN where missing."""
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
        values = parsed(cells(raw, spec, report), number, report, "is not a number")
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        values = np.asarray(raw.cast(pa.float64(), safe=False).fill_null(np.nan))
        report.misfits(np.flatnonzero(np.isinf(values)), "is not a number")
    else:
        report.misfits(np.flatnonzero(np.asarray(raw.is_valid())), "is not a number")
        values = np.full(len(raw), np.nan)
    if spec and spec.missing:
        values = np.where(np.isin(values, [number(word) for word in spec.missing]), np.nan, values)
    return values + 0.0  # -0.0 is 0.0, which some formats do not tell apart


def parsed(text: Array, parse: Callable[[str], float], report: Reporter, phrase: str, help: str = "") -> Floats:
    """Parses every string, once per distinct one; NaN for null, and for a string that is reported."""
    valid = np.asarray(text.is_valid())
    if parse is number:
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


def number(text: str) -> float:
    """Parses a finite number; NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def truth(raw: Array, spec: ColumnSpec, report: Reporter) -> NDArray[np.int8]:
    """Converts a column to 0 false, 1 missing, 2 true."""
    if pa.types.is_boolean(raw.type):
        return np.asarray(pc.if_else(raw, 2, 0).fill_null(1)).astype(np.int8)
    text = pc.replace_substring_regex(pc.utf8_lower(cells(raw, spec, report)), r"\.0*$", "")
    yes = np.asarray(pc.is_in(text, value_set=pa.array(["true", "1", "yes", "t", "y"])))
    no = np.asarray(pc.is_in(text, value_set=pa.array(["false", "0", "no", "f", "n"])))
    wrong = np.flatnonzero(~(yes | no | np.asarray(text.is_null())))
    report.misfits(wrong, "is neither true nor false", "allowed: true, false, yes, no, 1, 0")
    return np.where(yes, 2, np.where(no, 0, 1)).astype(np.int8)
