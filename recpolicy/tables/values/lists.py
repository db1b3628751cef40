"""Converts columns to lists of categories."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.dataset.columns import Bools, Ints, ListColumn, Ragged
from recpolicy.schema import ColumnSpec
from recpolicy.tables.reading import Array, is_list, is_text
from recpolicy.tables.values.reporter import Reporter
from recpolicy.tables.values.words import codes, known, words

SEPARATORS = ("|", ";", ",")
"""What may part the entries of a list that is written as text, the likeliest first."""
_NO_LIST = ("", "[]", "\\n", "nan", "null", "none", "n/a", "<na>")
"""Texts, in small letters, that stand for no entries."""
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def lists(raw: Array, spec: ColumnSpec, report: Reporter) -> ListColumn:
    """Converts a column to lists of words, in the order of the file and each word once in a row.

    Lists in a text are `['a', 'b']`, or parted by the separator of the schema, else by the first of `SEPARATORS` that
    occurs. The schema's missing words are no entries. In an optional column a row without entries is missing; in
    another it is an empty list, unless it is null in a column of lists.
    """
    if is_list(raw.type):
        absent = np.asarray(raw.is_null())
        lengths = np.asarray(pc.list_value_length(raw).fill_null(0)).astype(np.int64)
        entries = _entries(raw, report)
    else:
        absent = np.zeros(len(raw), np.bool_)
        strings = known(words(raw, report), spec).fill_null("")
        strings = pc.if_else(_no_list(strings), "", strings)
        literal = literals(strings)
        separator = spec.separator or found_separator(strings.filter(pc.invert(pa.array(literal))), report)
        parts = pc.split_pattern(strings, separator) if separator else _alone(strings)
        if literal.any():
            parts = _with_literals(parts, strings, literal)
        lengths = np.asarray(pc.list_value_length(parts)).astype(np.int64)
        entries = pc.utf8_trim_whitespace(parts.flatten())
    column = _packed(spec, known(entries, spec), lengths)
    return replace(column, missing=column.values.lengths == 0 if spec.optional else absent)


def any_empty(raw: Array) -> bool:
    """Returns whether some row has no entries."""
    if is_list(raw.type):
        return bool(pc.any(pc.equal(pc.list_value_length(raw).fill_null(0), 0)).as_py())
    return raw.null_count > 0 or (is_text(raw.type) and bool(pc.any(_no_list(raw)).as_py()))


def _no_list(strings: Array) -> Array:
    """Finds the texts that stand for no entries."""
    return pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(strings)), value_set=pa.array(_NO_LIST))


def _entries(raw: Array, report: Reporter) -> Array:
    """The entries of all rows, as words."""
    flat = raw.flatten()
    if is_text(flat.type) or pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type):
        return words(flat, report)
    if not pa.types.is_null(flat.type):
        filled = np.asarray(pc.greater(pc.list_value_length(raw).fill_null(0), 0))
        report.wrong(np.flatnonzero(filled), lambda row: f"{raw[row].as_py()!r:.60} is not a list of words")
    return pa.nulls(len(flat), pa.string())


def _packed(spec: ColumnSpec, entries: Array, lengths: Ints) -> ListColumn:
    """Packs entries, null or empty for none; no row is missing."""
    filled = np.asarray(pc.greater(pc.utf8_length(entries), 0).fill_null(False))
    rows = np.repeat(np.arange(len(lengths)), lengths)[filled]
    coded, vocabulary = codes(entries.filter(pa.array(filled)))
    # The first of equal codes in a row stays, in the order of the file.
    pair = rows * np.int64(max(len(vocabulary), 1)) + coded
    first = np.sort(np.unique(pair, return_index=True)[1])
    offsets = np.append(0, np.cumsum(np.bincount(rows[first], minlength=len(lengths))))
    return ListColumn(spec.type, Ragged(offsets, coded[first]), vocabulary, np.zeros(len(lengths), np.bool_))


# ---- lists in a text ------------------------------------------------------------------------------------------------


def literals(strings: Array) -> Bools:
    """Finds the texts that are lists in brackets, [rows]: `['a', 'b']`."""
    text = pc.utf8_trim_whitespace(strings)
    return np.asarray(pc.and_(pc.starts_with(text, "["), pc.ends_with(text, "]")).fill_null(False))


def found_separator(strings: Array, report: Reporter) -> str | None:
    """Returns the separator that a column of texts uses, and notes one that is not `|`; None where it has none.

    A comma parts entries only where some of them occur again; else it belongs to the words.
    """
    for separator in SEPARATORS:
        if not pc.any(pc.match_substring(strings, separator)).as_py():
            continue
        if separator == ",":
            parts = pc.utf8_trim_whitespace(pc.split_pattern(strings, separator).flatten())
            if pc.count_distinct(parts).as_py() == len(parts):
                return None
        if separator != SEPARATORS[0]:
            report.note(f"is split at `{separator}`; `separator` in schema.toml can say otherwise.")
        return separator
    return None


def _alone(strings: Array) -> Array:
    """Each text as a list of its own."""
    return pa.ListArray.from_arrays(np.arange(len(strings) + 1, dtype=np.int32), strings)


def _with_literals(parts: Array, strings: Array, literal: Bools) -> Array:
    """The lists with those in brackets read as such."""
    read = parts.to_pylist()
    for row in np.flatnonzero(literal):
        read[row] = _literal(strings[int(row)].as_py().strip())
    return pa.array(read, pa.list_(pa.string()))


def _literal(text: str) -> list[str]:
    """The entries of one list in brackets, as Python, JSON or NumPy (without commas) writes it."""
    quoted = [a or b for a, b in _QUOTED.findall(text)]
    if quoted and "," not in _QUOTED.sub("", text):
        return quoted
    for parse in (json.loads, ast.literal_eval):
        try:
            return ["" if v is None else str(v) for v in parse(text)]
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return [part.strip().strip("'\"") for part in text[1:-1].split(",")]
