"""Converts columns to texts, and texts to codes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recpolicy.dataset.columns import Codes, WordColumn
from recpolicy.schema import ColumnSpec
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading import Array, RawTable, is_text
from recpolicy.tables.values.reporter import Reporter
from recpolicy.types import Type

NOT_STATED = ("nan", "na", "n/a", "#n/a", "null", "none", "nil", "nat", "<na>", "-", "--", "?", "\\n")
"""Spellings, in small letters, of a missing number, date or truth value. Among words they are words: NA is Namibia."""
_NO_ID = ("nan", "na", "null", "none", "nat", "<na>")
"""Spellings of a missing id: what programs write for one that they do not have."""
_WHOLE = r"^[-+]?\d+(\.0*)?$"
_EXACT = 2.0**53
"""Up to here every whole number is a float of its own."""


def words(raw: Array, report: Reporter) -> Array:
    """Converts any scalar column to strings, null where missing (`texts`); lists are reported."""
    if not pa.types.is_nested(raw.type):
        return texts(raw)
    help = 'type = "list of category" reads lists of words'
    report.misfits(np.flatnonzero(np.asarray(raw.is_valid())), "is not a word", help)
    return pa.nulls(len(raw), pa.string())


def texts(raw: Array) -> Array:
    """Converts scalars of a plain type to strings, null where missing.

    Whole floats have no point: 9.0 is 9. So has a column of texts that are all whole numbers, since some programs turn
    ids into floats where one is missing.
    """
    kind = raw.type
    if is_text(kind):
        return _without_point(nulled(raw, pc.equal(raw, "")))
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(raw, pc.floor(raw)), pc.less(pc.abs(raw), _EXACT))
        numbers = pc.if_else(whole, raw, 0.0).cast(pa.int64(), safe=False)
        strings = pc.if_else(whole, numbers.cast(pa.string()), raw.cast(pa.string()))
        return nulled(strings, pc.is_nan(raw))
    return raw.cast(pa.string())


def _without_point(strings: Array) -> Array:
    pointed = pc.ends_with(strings, ".0")
    if not pc.any(pointed).as_py() or not pc.all(pc.match_substring_regex(strings, _WHOLE)).as_py():
        return strings
    return without_point(strings)


def without_point(strings: Array) -> Array:
    """Returns the texts without a `.0` at their end."""
    return pc.replace_substring_regex(strings, r"\.0*$", "")


def nulled(strings: Array, unknown: Array) -> Array:
    """Returns the strings with null where `unknown`."""
    return pc.if_else(unknown, pa.scalar(None, pa.string()), strings)


def known(strings: Array, spec: ColumnSpec | None) -> Array:
    """Returns the strings with null for the schema's words for "unknown"."""
    missing = spec.missing if spec else ()
    return nulled(strings, pc.is_in(strings, value_set=pa.array(missing, pa.string()))) if missing else strings


def stated(strings: Array) -> Array:
    """Returns the strings trimmed, with null for blanks, NaN and the like."""
    text = pc.utf8_trim_whitespace(strings)
    return nulled(text, pc.is_in(pc.utf8_lower(text), value_set=pa.array(("", *NOT_STATED))))


def cells(raw: Array, spec: ColumnSpec | None, report: Reporter) -> Array:
    """Converts a column of anything but words to trimmed text: null for blanks, NaN and the schema's missing words."""
    return stated(known(pc.utf8_trim_whitespace(words(raw, report)), spec))


def keys(table: RawTable, name: str, problems: Problems) -> Array:
    """Converts a column of ids to strings; missing ids (also a written NaN) are reported."""
    report = Reporter(table, name, problems)
    strings = words(table.columns[name], report)
    strings = nulled(strings, pc.is_in(pc.utf8_lower(strings), value_set=pa.array(_NO_ID)))
    report.absent(np.asarray(strings.is_null()), "id", "every row needs one")
    return strings


def look_up(strings: Array, ids: Array) -> NDArray[np.int32]:
    """Finds the row of each id among `ids`, -1 where unknown; `9.0` is `9` where no id is `9.0`."""
    rows = pc.index_in(strings, value_set=ids)
    if rows.null_count:
        rows = pc.coalesce(rows, pc.index_in(without_point(strings), value_set=ids))
    return np.asarray(rows.fill_null(-1)).astype(np.int32)


def coded(kind: Type, strings: Array) -> WordColumn:
    """Encodes strings as codes into the sorted distinct words, -1 for null."""
    return WordColumn(kind, *codes(strings))


def codes(strings: Array) -> tuple[Codes, tuple[str, ...]]:
    """Encodes strings: returns a code for each, -1 for null, and the sorted distinct words."""
    encoded = pc.dictionary_encode(strings)
    distinct = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(distinct)
    rank = np.empty(len(distinct) + 1, np.int32)
    rank[order] = np.arange(len(distinct), dtype=np.int32)
    rank[-1] = -1
    return rank[np.asarray(encoded.indices.fill_null(-1))], tuple(distinct[order])
