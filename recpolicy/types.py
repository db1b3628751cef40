"""Defines the value types of the language, those of columns and of expressions, and the units of time."""

from __future__ import annotations

from enum import Enum

DAY = 86400.0
"""Seconds in a day: dates are seconds since 1970-01-01 UTC and durations are seconds."""

UNITS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": DAY,
    "week": 7 * DAY,
    "month": 30 * DAY,
    "year": 365 * DAY,
}
"""Seconds per duration unit; a month is 30 days and a year 365 (language page, "Expressions")."""


class Type(Enum):
    """A type of the policy language; `value` is its name in `schema.toml` and in messages."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    RATIO = "ratio"
    """A number written as a percentage: `2%` is 0.02."""
    DATE = "date"
    """Seconds since 1970-01-01 UTC."""
    DURATION = "duration"
    """Seconds."""
    CATEGORY = "category"
    TEXT = "text"
    LIST = "list of category"

    @property
    def is_number(self) -> bool:
        """True for plain numbers, which mix freely in arithmetic; ratios, dates and durations do not."""
        return self in (Type.INT, Type.FLOAT)

    @property
    def is_measured(self) -> bool:
        """True for every type that is ordered and stored as float64."""
        return self in (Type.INT, Type.FLOAT, Type.RATIO, Type.DATE, Type.DURATION)

    @property
    def is_word(self) -> bool:
        """True for single strings: `category` and `text`."""
        return self in (Type.CATEGORY, Type.TEXT)
