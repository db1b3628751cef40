"""Numbers, durations, dates and names in, the words people say for them out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import date as calendar_date
from fractions import Fraction

from recpolicy.types import DAY, UNITS, Type

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PARTS = (
    "",
    "all",
    "half",
    "a third",
    "a quarter",
    "a fifth",
    "a sixth",
    "a seventh",
    "an eighth",
    "a ninth",
    "a tenth",
)


# ---- numbers --------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """`12,500`, `1950`, `0.05`: up to six digits that matter, thousands parted by commas from ten thousand on."""
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    short = f"{value:.6g}"
    return short if "e" not in short else f"{value:.10f}".rstrip("0").rstrip(".")


def percent(fraction: float) -> str:
    """`20%` of 0.2."""
    return f"{number(round(fraction * 100, 6))}%"


def share(fraction: float) -> str:
    """A share as one would say it: whole per cents, `8.5%` below ten, and never 0 of something."""
    if 0 < fraction < 0.001:
        return "less than 0.1%"
    digits = 0 if fraction >= 0.0995 else 1
    return f"{number(round(fraction * 100, digits))}%"


def counted(count: int, noun: str) -> str:
    """`1 place`, `2 places`."""
    return f"{count} {noun if count == 1 else plural(noun)}"


def spelled(count: int) -> str:
    """`three`; digits above twelve."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else str(count)


def ordinal(rank: int) -> str:
    """`third`, `11th`, `22nd`."""
    if 0 <= rank < len(_ORDINALS):
        return _ORDINALS[rank]
    teen = 10 < rank % 100 < 20
    return f"{rank}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')}"


def part(count: int) -> str:
    """One of `count` equal parts: `half`, `a third`, `1/12`."""
    return _PARTS[count] if 0 < count < len(_PARTS) else f"{Fraction(1, count)}"


def first_places(count: int) -> str:
    """`the first place`, `the first three places`."""
    return "the first place" if count == 1 else f"the first {spelled(count)} places"


# ---- time -----------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """`90 days`, `2 years`, `36 hours`: the longest of year, day, hour, minute that gives a whole number."""
    if seconds < 0:
        return f"minus {duration(-seconds)}"
    for unit in ("year", "day", "hour", "minute", "second"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0:
            return counted(int(seconds // UNITS[unit]), unit)
    unit = next((u for u in ("day", "hour", "minute") if seconds >= UNITS[u]), "second")
    amount = number(seconds / UNITS[unit])
    return f"{amount} {unit if amount == '1' else plural(unit)}"


def last(seconds: float) -> str:
    """`the last 90 days`, `the last year`."""
    return f"the last {duration(seconds).removeprefix('1 ')}"


def is_midnight(seconds: float) -> bool:
    """Whether a date is the start of its day (UTC), as every written date is."""
    return seconds % DAY == 0


def date(seconds: float) -> str:
    """`31 January 2014`, with the time of day (UTC) where it is not the start of the day."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"the date {number(seconds / UNITS['year'])} years from 1970"
    said = day(moment)
    return said if is_midnight(seconds) else f"{said}, {moment:%H:%M} UTC"


def day(moment: calendar_date) -> str:
    """`31 January 2014`."""
    return f"{moment.day} {moment:%B} {moment.year}"


def amount(value: float, kind: Type) -> str:
    """A literal of a measured type."""
    match kind:
        case Type.RATIO:
            return percent(value)
        case Type.DURATION:
            return duration(value)
        case Type.DATE:
            return date(value)
        case _:
            return number(value)


# ---- names ----------------------------------------------------------------------------------------------------------


def quoted(word: str) -> str:
    """A word of the data."""
    return f"“{word}”"


def name(column: str) -> str:
    """A column's name as words: `report_rate` is `report rate`."""
    return column.replace("_", " ").strip() or column


def plural(noun: str) -> str:
    """`places`, `countries`, `classes`; a noun in the plural stays."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("ss", "x", "ch", "sh")) else noun if noun.endswith("s") else f"{noun}s"


def singular(noun: str) -> str:
    """`genre` of `genres`; a noun in the singular stays."""
    if noun.endswith("ies") and noun not in ("movies", "series", "species"):
        return f"{noun[:-3]}y"
    if noun.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return (
        noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is", "series", "species", "news")) else noun
    )


def a(noun: str) -> str:
    """`a genre`, `an item`."""
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def listed(parts: Sequence[str], word: str) -> str:
    """`x, y and z` with `word` before the last."""
    return f" {word} ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
