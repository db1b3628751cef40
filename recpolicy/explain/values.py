"""Writes numbers, durations, dates and names in plain English."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import date as calendar_date
from fractions import Fraction

from recpolicy.types import DAY, UNITS, Type

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PARTS = {1: "all", 2: "half", 4: "a quarter"}

# ---- numbers --------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Returns `12,500`, `1950` or `0.05`: six significant digits; from ten thousand on all digits, with commas."""
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    short = f"{value:.6g}"
    return short if "e" not in short else f"{value:.10f}".rstrip("0").rstrip(".")


def percent(fraction: float) -> str:
    """Returns a fraction as a percentage: `20%` for 0.2."""
    return f"{number(round(fraction * 100, 6))}%"


def share(fraction: float) -> str:
    """Returns a share in whole per cents, with one decimal below ten (`8.5%`). A share above 0 never reads `0%`."""
    if 0 < fraction < 0.001:
        return "less than 0.1%"
    digits = 0 if fraction >= 0.0995 else 1
    return f"{number(round(fraction * 100, digits))}%"


def counted(count: int, noun: str) -> str:
    """Returns `1 place` or `2 places`."""
    return f"{count} {noun if count == 1 else plural(noun)}"


def spelled(count: int) -> str:
    """Returns a count as a word (`three`), or as digits above twelve."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else str(count)


def ordinal(rank: int) -> str:
    """Returns a rank as `third`, `11th` or `22nd`: a word up to the tenth."""
    if 0 <= rank < len(_ORDINALS):
        return _ORDINALS[rank]
    teen = 10 < rank % 100 < 20
    return f"{rank}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')}"


def part(count: int) -> str:
    """Returns what one of `count` equal parts is called: `half`, `a third`, `1/12`."""
    if count in _PARTS:
        return _PARTS[count]
    return a(_ORDINALS[count]) if 0 < count < len(_ORDINALS) else f"{Fraction(1, count)}"


# ---- time -----------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Returns `90 days` or `36 hours`: in the longest of year, day, hour and minute that gives a whole number."""
    if seconds < 0:
        return f"minus {duration(-seconds)}"
    for unit in ("year", "day", "hour", "minute", "second"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0:
            return counted(int(seconds // UNITS[unit]), unit)
    unit = next((u for u in ("day", "hour", "minute") if seconds >= UNITS[u]), "second")
    amount = number(seconds / UNITS[unit])
    return f"{amount} {unit if amount == '1' else plural(unit)}"


def is_midnight(seconds: float) -> bool:
    """Returns whether a date is the start of its day (UTC), as every date in a policy is."""
    return seconds % DAY == 0


def date(seconds: float) -> str:
    """Returns `31 January 2014`, with the time of day (UTC) where the date is not the start of its day."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"the date {number(seconds / UNITS['year'])} years from 1970"
    return day(moment) if is_midnight(seconds) else f"{day(moment)}, {moment:%H:%M} UTC"


def day(moment: calendar_date) -> str:
    """Returns `31 January 2014`."""
    return f"{moment.day} {moment:%B} {moment.year}"


def amount(value: float, kind: Type) -> str:
    """Returns a number of the type `kind` in its own unit: `20%`, `90 days`, `31 January 2014`, `12,500`."""
    words = {Type.RATIO: percent, Type.DURATION: duration, Type.DATE: date}.get(kind, number)
    return words(value)


# ---- names ----------------------------------------------------------------------------------------------------------


def quoted(word: str) -> str:
    """Returns a word of the data in quotation marks."""
    return f"“{word}”"


def name(column: str) -> str:
    """Returns a column's name as words: `report rate` for `report_rate`."""
    return column.replace("_", " ").strip() or column


def plural(noun: str) -> str:
    """Returns `places`, `countries` or `classes`. A plural noun stays as it is."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("ss", "x", "ch", "sh")) else noun if noun.endswith("s") else f"{noun}s"


def singular(noun: str) -> str:
    """Returns `genre` for `genres`. A singular noun stays as it is."""
    if noun.endswith("ies") and noun not in ("movies", "series", "species"):
        return f"{noun[:-3]}y"
    if noun.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return noun if noun.endswith(("ss", "us", "is", "series", "species", "news")) else noun.removesuffix("s")


def a(noun: str) -> str:
    """Returns the noun with its article: `a genre`, `an item`."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def listed(parts: Sequence[str], word: str) -> str:
    """Returns `x, y and z`: the parts with commas, and `word` before the last."""
    return f" {word} ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def sentence(text: str) -> str:
    """Returns the text with a capital letter first and a full stop last."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
