"""Packs arrays of values per item side by side in memory: one read an item instead of one an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64
"""Bytes of a cache line, which is what memory hands out: the most a record is long."""

CACHED = 1 << 20
"""Records of less than this many bytes lie in the cache with the arrays they are made of, which are then as fast."""


@dataclass(frozen=True, eq=False)
class Records:
    """Some arrays of a compiled policy, and their values as one record an item."""

    arrays: tuple[NDArray[Any], ...]
    """[items, ...] or, with a row for a hole, [items + 1, ...]; known by what they are, not by what they hold."""
    rows: NDArray[Any] = field(init=False)
    """[items + 1], a field an array, `f0` the first. A hole without values of its own has the last item's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", _packed(self.arrays))

    def __reduce__(self) -> tuple[Callable[..., Records], tuple[Any, ...]]:
        return Records, (self.arrays,)

    def find(self, values: NDArray[Any]) -> str | None:
        """Returns the name of the field with an array's values, None where there is none."""
        return next((f"f{i}" for i, array in enumerate(self.arrays) if array is values), None)


def pack(arrays: Sequence[NDArray[Any]], items: int) -> Records:
    """Packs those of the arrays that fit into a line, the widest first; none where that saves no time."""
    packed, width = list[NDArray[Any]](), 0
    for array in sorted({id(a): a for a in arrays}.values(), key=_width, reverse=True):
        if width + _width(array) <= LINE:
            packed.append(array)
            width += _width(array)
    return Records(tuple(packed)) if len(packed) > 1 and width * items > CACHED else SEPARATE


def _width(array: NDArray[Any]) -> int:
    return array.itemsize * int(np.prod(array.shape[1:]))


def _packed(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Records of a power of two of bytes that begin where lines do, so that none lies in two."""
    if not arrays:
        return np.zeros(0, np.uint8)
    widths = [_width(array) for array in arrays]
    width = 1 << (sum(widths) - 1).bit_length()
    kind = np.dtype(
        {
            "names": [f"f{i}" for i in range(len(arrays))],
            "formats": [(array.dtype, array.shape[1:]) for array in arrays],
            "offsets": [sum(widths[:i]) for i in range(len(arrays))],
            "itemsize": width,
        }
    )
    count = max(map(len, arrays))
    memory = np.zeros(count * width + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    rows = memory[first : first + count * width].view(kind)
    for i, array in enumerate(arrays):
        rows[f"f{i}"][: len(array)] = array
        rows[f"f{i}"][len(array) :] = array[-1:]
    return rows


SEPARATE = Records(())
"""No array has been packed."""
