"""Converts Arrow arrays to the few plain types that the rest of the program knows.

Writers have many types for one thing: pandas writes large strings, polars string views and dictionaries, DuckDB UUIDs
and decimals. Here each thing has one type, so that a value is the same whoever wrote it:

    text       string        strings of any layout, dictionaries of them, UUIDs, bytes that are UTF-8
    numbers    int64         integers; decimals without digits after the point
               float64       floats of any width, each as the shortest decimal that names it; other decimals
    times      timestamp[us] time stamps of any unit, with their zone; date32 stays
    truth      bool
    lists      list<...>     lists of any layout of one of these
    nothing    null
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recpolicy.tables.reading.table import Array


def plain(array: Array | pa.ChunkedArray) -> Array:
    """Returns the array in its plain type (see the module).

    Raises ValueError with the reason for a type that holds no values a policy can use, and for text that is not UTF-8.
    """
    try:
        return _plain(_whole(array))
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(str(error).splitlines()[0]) from None


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """Returns the plain type of a type; None for one that holds no values a policy can use."""
    try:
        return plain(pa.nulls(0, kind)).type
    except ValueError:
        return None


def _whole(array: Array | pa.ChunkedArray) -> Array:
    if not isinstance(array, pa.ChunkedArray):
        return array
    return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)


def _plain(array: Array) -> Array:
    kind = array.type
    types = pa.types
    if isinstance(kind, pa.UuidType):
        return pa.array([None if v is None else str(v) for v in array.to_pylist()], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _text(array)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return _text(array)
    if types.is_boolean(kind) or types.is_date32(kind) or types.is_null(kind):
        return array
    if types.is_date64(kind):
        return array.cast(pa.date32())
    if types.is_uint64(kind):  # hashes of 64 bits are ids, not quantities: as text where they do not fit
        return _integers(array)
    if types.is_integer(kind):
        return array.cast(pa.int64())
    if types.is_float16(kind):  # 0.1 stays 0.1, as a text file has it
        shortest = [None if v is None else float(str(np.float16(v))) for v in array.to_pylist()]
        return pa.array(shortest, pa.float64())
    if types.is_float32(kind):
        return array.cast(pa.string()).cast(pa.float64())
    if types.is_float64(kind):
        return array
    if types.is_decimal(kind):
        return _integers(array) if kind.scale <= 0 else array.cast(pa.float64())
    if types.is_timestamp(kind):
        return array.cast(pa.timestamp("us", kind.tz), safe=False)
    if types.is_list_view(kind) or types.is_large_list_view(kind) or types.is_fixed_size_list(kind):
        return _plain(pc.cast(array, pa.list_(kind.value_type)))
    if types.is_list(kind) or types.is_large_list(kind):
        return _list(array)
    raise ValueError(f"{_short(kind)} is of no type that a policy can use")


def _text(array: Array) -> Array:
    text = array.cast(pa.string())
    text.validate(full=True)  # files of any origin may hold bytes that are not UTF-8
    return text


def _integers(array: Array) -> Array:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([None if v is None else str(int(v)) for v in array.to_pylist()], pa.string())


def _list(array: Array) -> Array:
    values = _plain(array.flatten())
    lengths = pc.list_value_length(array)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths.cast(pa.int64()).fill_null(0))])
    return pa.LargeListArray.from_arrays(offsets, values, mask=array.is_null())


def _short(kind: pa.DataType) -> str:
    name = str(kind)
    return name if len(name) <= 40 else name[:37] + "..."


def is_moment(kind: pa.DataType) -> bool:
    """Checks for a plain type of times or dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind))
