"""Writes a first `schema.toml` and a first policy for a data set, as texts."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

import numpy as np

from recpolicy.dataset.columns import ColumnData, Floats, Ints, ListColumn, NumberColumn, TruthColumn, WordColumn
from recpolicy.dataset.rows import Dataset
from recpolicy.language import formatter
from recpolicy.language.parser import RESERVED
from recpolicy.schema import ROLE_TYPES, ColumnSpec, Role, Schema
from recpolicy.span import Source
from recpolicy.types import DAY, Type

MOST_PLACES = 10
"""K of a first policy if the catalog has at least twice as many items; else half the catalog."""
_WINDOWS = {
    "1 day": 1, "3 days": 3, "7 days": 7, "30 days": 30, "90 days": 90, "365 days": 365, "2 years": 730, "5 years": 1825
}  # fmt: skip
"""How many days old a new item may be. The first entry that fits the catalog is used."""
_FRESH = (0.02, 0.5)
"""Smallest and largest share of the items that may be new."""
_TIME_NAME = re.compile(r".*(_s|_ms|_sec|_min|_hours?|_days?|duration|length|seconds|minutes)")
_AD_NAME = re.compile(r"(is_)?(ad|ads|sponsored|promoted|promotion|advert|advertisement)")
_ROLES = {
    Role.TITLE: ("A title", ""),
    Role.CREATOR: ("Who made the item", "of whom should a list not hold too much?"),
    Role.PUBLISHED: ("When the item appeared", "is this the day from which it could be recommended?"),
}
"""What the column of a role is, and what to check."""
_OTHERS = {
    Type.BOOL: (Type.INT, Type.CATEGORY),
    Type.INT: (Type.FLOAT, Type.BOOL, Type.DATE, Type.DURATION, Type.CATEGORY),
    Type.FLOAT: (Type.INT, Type.RATIO, Type.DURATION),
    Type.RATIO: (Type.FLOAT,),
    Type.DATE: (Type.CATEGORY,),
    Type.DURATION: (Type.FLOAT,),
    Type.CATEGORY: (Type.TEXT, Type.LIST),
    Type.LIST: (Type.CATEGORY, Type.TEXT),
    Type.TEXT: (Type.CATEGORY, Type.LIST),
}
"""What a column of each type could be as well."""
_CODES = 30
"""Whole numbers with at most so many different values may be codes."""

# ---- schema.toml ----------------------------------------------------------------------------------------------------


def schema_text(dataset: Dataset, *, origins: Mapping[str, str] | None = None, log: Sequence[str] = ()) -> str:
    """Writes `schema.toml` for data whose columns were inferred. Read with it, the data are the same as without.

    The comment above each column says what it was inferred from, what a person should check and what else it could be.
    `origins` say where columns come from (`"items.title"`); `log` are further lines for [interactions].
    """
    schema, names = dataset.schema, dataset.schema.interactions
    lines = [
        "# The columns that a policy may name. All of it was inferred from names and values: read it through, and mend",
        "# what is wrong. docs/schema.md says what each key means.",
        f"# Types: {', '.join(kind.value for kind in Type)}. A duration needs its unit.",
        f"# Further keys: optional, missing, unit, separator, role ({', '.join(role.value for role in _ROLES)}).",
        *(f"# Noted while reading: {_line(note)}" for note in dataset.notes),
        "",
        f"name = {_toml(schema.name)}",
    ]
    if schema.now is not None:
        lines += ["# Events without a time stamp: policies judge what is new as on this day. Check it."]
        lines += [f"now = {_moment(schema.now)}"]
    for of, specs, table in (("item", schema.item, dataset.items), ("user", schema.user, dataset.users)):
        lines += ["", f"[{of}]"]
        for name, spec in specs.items():
            if spec.source is not None:
                origin = (origins or {}).get(f"{of}s.{spec.source}")
                about = _evidence(spec, table.columns[name]) + _others(spec, schema if of == "item" else None)
                lines += [f"# {_line(f'{origin}. {about}' if origin else about)}", _entry(spec)]
        computed = [f"{of}.{name}" for name, spec in specs.items() if spec.source is None]
        lines += [f"# Computed, and so not listed: {', '.join(computed)}."] if computed else []
    lines += ["", "[interactions]", f"# {len(dataset.item):,} rows count; {_order(dataset.time)}."]
    lines += [f"user = {_toml(names.user)}", f"item = {_toml(names.item)}", *map(_line, log)]
    return "\n".join(lines) + "\n"


def _entry(spec: ColumnSpec) -> str:
    keys = {"type": _toml(spec.type.value)}
    if spec.source != spec.name:
        keys = {"column": _toml(spec.source or ""), **keys}
    if spec.role is not None:
        keys["role"] = _toml(spec.role.value)
    if spec.optional:
        keys["optional"] = "true"
    if spec.missing:
        keys["missing"] = f"[{', '.join(map(_toml, spec.missing))}]"
    if spec.type is Type.LIST and spec.separator not in (None, "|"):
        keys["separator"] = _toml(spec.separator or "")
    key = spec.name if re.fullmatch(r"[A-Za-z0-9_-]+", spec.name) else _toml(spec.name)
    return f"{key} = {{ {', '.join(f'{k} = {v}' for k, v in keys.items())} }}"


def _evidence(spec: ColumnSpec, column: ColumnData) -> str:
    """What the column was inferred from, what it holds, and what to check."""
    content, doubt = _content(column), _doubt(spec, column)
    text = content[:1].upper() + content[1:]
    if spec.role is Role.ID:
        text = "The id: every row has its own"
    elif spec.role is not None:
        text = f"{_ROLES[spec.role][0]}, by its name; {content}"
    return f"{text}. Check: {doubt}" if doubt else f"{text}."


def _others(spec: ColumnSpec, item: Schema | None) -> str:
    """The other types that such a column may have, and the roles that no column of the items holds."""
    if spec.role is not None:
        return ""
    roles = [r for r in _ROLES if item is not None and spec.type in ROLE_TYPES[r] and item.with_role(r) is None]
    role = f"; or role = {_toml(roles[0].value)}" if roles else ""
    return f" Could be: {', '.join(kind.value for kind in _OTHERS[spec.type])}{role}."


def _doubt(spec: ColumnSpec, column: ColumnData) -> str:
    if spec.role in _ROLES and (question := _ROLES[spec.role][1]):
        return question
    if spec.name == "genres":
        return "is this what an item is about?"
    if not isinstance(column, NumberColumn) or not column.type.is_number:
        return ""
    values = np.unique(_known(column.values))
    if _TIME_NAME.fullmatch(spec.source or ""):
        return 'is it a time span? Then write type = "duration" and unit = "second", "minute", "hour" or "day".'
    if set(values) == {0, 1}:
        return 'is it true or false? Then write type = "bool".'
    if spec.type is Type.FLOAT and len(values) and values[0] >= 0 and values[-1] <= 1:
        return 'is it a share? Then write type = "ratio".'
    if spec.type is Type.INT and len(values) <= _CODES:
        return 'are the numbers codes? Then write type = "category".'
    return ""


def _content(column: ColumnData) -> str:
    """What a column holds, in a few words."""
    match column:
        case NumberColumn(kind, values):
            known, missing = _known(values), np.isnan(values)
            words = {Type.DATE: "dates", Type.INT: "whole numbers", Type.RATIO: "shares"}.get(kind, "numbers")
            what = f"{words}, {_text(kind, known.min())} to {_text(kind, known.max())}" if len(known) else "no value"
        case TruthColumn(_, truth):
            missing, what = truth == 1, f"true or false, {(truth == 2).mean():.0%} true"
        case WordColumn(kind, codes, vocabulary):
            noun = "texts" if kind is Type.TEXT else "words"
            missing, what = codes < 0, f"{len(vocabulary):,} different {noun}{_few(vocabulary)}"
        case ListColumn(_, lists, vocabulary, absent):
            each = lists.lengths.mean() if len(lists) else 0.0
            missing, what = absent, f"lists of {len(vocabulary):,} different words{_few(vocabulary)}, {each:.1f} a row"
        case _:
            assert_never(column)
    return what + (f", {missing.mean():.1%} missing" if missing.any() else "")


def _few(vocabulary: tuple[str, ...]) -> str:
    if not vocabulary or len(vocabulary) > 50:
        return ""
    return f" ({', '.join(word[:20] for word in vocabulary[:3])}{', ...' if len(vocabulary) > 3 else ''})"


def _text(kind: Type, value: float) -> str:
    if kind is Type.DATE:
        return _day(value)
    return f"{value:.1%}" if kind is Type.RATIO else f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:g}"


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _order(time: Floats) -> str:
    if np.isnan(time).any():
        return "not all have a time stamp: another column says which came first"
    return f"ordered by their time stamps, {_day(time.min())} to {_day(time.max())}"


def _day(seconds: float) -> str:
    return str(np.datetime64(int(seconds // DAY), "D"))


def _moment(seconds: float) -> str:
    """A TOML date, or date and time where the day alone would not be the same moment."""
    if seconds % DAY == 0:
        return _day(seconds)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def _toml(text: str) -> str:
    """A TOML string: JSON's, and the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """A comment's text: one line without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


# ---- the policy -----------------------------------------------------------------------------------------------------


def policy_text(dataset: Dataset, *, setting: str, value: str) -> str:
    """Writes a first policy for the columns of `dataset`, in canonical format, with tests that pass.

    `setting = "value"` is the header's line that names the source of the columns (`data` or `schema`).
    """
    k = max(1, min(MOST_PLACES, dataset.items.rows // 2))
    name = "".join(c for c in dataset.name if c.isprintable() and c not in '"\\').strip() or "first"
    head = f"""\
# A first policy for these data, to start from: change the weights, throw rules out, add your own.
# Weights compare with each other; what each rule means: grammar/README.md.
policy "{name}" {{
  language = 1
  version = 1
  {setting} = {_quoted(value)}
  slate = {k}
}}
"""
    parts = list(_rules(dataset, k))
    rules = [f"# {reason}\n{rule}\n" for reason, rule, _ in parts]
    tests = [test for _, _, test in parts if test]
    more = "# More that these columns allow. Take the # away from a rule to try it, then check again.\n"
    more += "".join(f"# {line}\n" for idea in _ideas(dataset) for line in idea.splitlines())
    return formatter.format(Source(f"{name}.policy", "\n".join([head, *rules, more, *tests])))


def _rules(dataset: Dataset, k: int) -> Iterator[tuple[str, str, str]]:
    """Each rule: the reason for it, its text, and a test of it, empty where there is none."""
    yield (
        "What people take next stays the main thing: without it the rest is worth nothing.",
        "reward relevance weight 0.6 = ndcg(next_items)",
        """\
test "what was taken next belongs on top" {
  next_items [ {id: "a"} ]
  slate good [ {id: "a"}, {id: "b"} ]
  slate poor [ {id: "b"}, {id: "a"} ]
  expect relevance of good = 1
  expect good above poor
}
""",
    )
    if (topics := _topics(dataset)) is not None and k > 1:
        reason = "Unlike items side by side: a wrong guess about today's mood costs one place and not the whole list."
        yield reason, f"reward variety weight 0.2 = distance({_column(topics)})", ""
    if (popularity := _role(dataset, Role.POPULARITY)) is not None:
        reason = "Items that few have taken: the well-known ones are found without help."
        yield reason, f"reward surprise weight 0.1 = novelty({_column(popularity)})", ""
    if (creator := _role(dataset, Role.CREATOR)) is not None and _crowded(dataset, creator, k):
        yield (
            "Nobody takes a whole list over.",
            f"quota one_voice weight 0.1 = at most 2 per {_column(creator)}",
            f"""\
test "three of one maker are one too many" {{
  slate [ {", ".join(f'{{{_field(creator)}: "{who}"}}' for who in "aaab")} ]
  expect one_voice = 0.75
  expect one_voice is not satisfied
}}
""",
        )
    published = _role(dataset, Role.PUBLISHED)
    if published is not None and k > 2 and (window := _window(dataset, published)) is not None:
        yield (
            "Something new in every list, or nobody would ever find it.",
            f"quota fresh weight 0.1 = at least 1 where {_column(published)} within the last {window}",
            f"""\
test "one new item is enough" {{
  slate new [ {{{_field(published)}: 1 hour ago}}, {{{_field(published)}: 20 years ago}} ]
  slate old [ {{{_field(published)}: 20 years ago}}, {{{_field(published)}: 20 years ago}} ]
  expect fresh of new is satisfied
  expect fresh of old is not satisfied
}}
""",
        )
    if (ads := _ads(dataset)) is not None and k > 2:
        yield (
            "Advertisements pay for the list, but nobody opens it for them.",
            f"quota ads weight 0.1 = at most 1 where {_column(ads)}",
            f"""\
test "two advertisements are one too many" {{
  slate [ {{{_field(ads)}: true}}, {{{_field(ads)}: true}}, {{{_field(ads)}: false}} ]
  expect ads is not satisfied
}}
""",
        )


def _ideas(dataset: Dataset) -> Iterator[str]:
    """Rules that the columns allow and that a person has to decide on."""
    user = dataset.schema.user
    yield "target keep = relevance >= 97% of baseline"
    if (topics := _topics(dataset)) is not None:
        yield f"reward taste weight 0.1 = calibration({_column(topics)})"
    for spec, column in _writable(dataset):
        if spec.type is Type.RATIO and isinstance(column, NumberColumn) and not np.isnan(column.values).all():
            most = np.round(100 * np.nanquantile(column.values, 0.95), 2)
            yield f"bury doubtful weight 0.2 = {_column(spec)} > {most:g}%"
            break
    for spec, _ in _writable(dataset):
        if spec.type is Type.CATEGORY and spec.name in user and user[spec.name].type is spec.type:
            yield f"reward shared weight 0.1 = share({_column(spec)} is {_column(spec, 'user')})"
            break
    if (segment := _segment(dataset)) is not None:
        yield f"when {segment} {{\n  reward surprise weight 0.3\n}}"


def _segment(dataset: Dataset) -> str | None:
    """A condition that holds for some users, on the first column that allows one."""
    for spec, column in _writable(dataset, "user"):
        where = _column(spec, "user")
        match column:
            case WordColumn(Type.CATEGORY, codes, words) if 2 <= len(words) <= 50:
                return f"{where} is {_quoted(words[int(np.bincount(codes[codes >= 0]).argmax())])}"
            case TruthColumn(_, truth) if (truth == 2).any():
                return where
            case NumberColumn(Type.INT | Type.FLOAT, values) if len(np.unique(_known(values))) > 2:
                middle = float(np.nanmedian(values))
                if 0 < middle < 1e9:
                    return f"{where} < {np.round(middle, 2):g}" if middle < 1e5 else f"{where} < {middle:.0f}"
            case NumberColumn(Type.DATE, values) if not np.isnan(values).all():
                return f"{where} more than 30 days ago"
    return None


def _topics(dataset: Dataset) -> ColumnSpec | None:
    """The column that says what items are about: the first with lists of words, else the first category."""
    for kind in (Type.LIST, Type.CATEGORY):
        for spec, column in _writable(dataset):
            if spec.type is not kind or spec.role is not None or not isinstance(column, WordColumn | ListColumn):
                continue
            if 2 <= len(column.words) <= max(50, dataset.items.rows // 2):
                return spec
    return None


def _ads(dataset: Dataset) -> ColumnSpec | None:
    for spec, column in _writable(dataset):
        if _AD_NAME.fullmatch(spec.name) and isinstance(column, TruthColumn) and len(np.unique(column.values)) > 1:
            return spec
    return None


def _crowded(dataset: Dataset, creator: ColumnSpec, k: int) -> bool:
    """Whether some creator has more than 2 items, and `at most 2 per creator` can be met in K places."""
    column = dataset.items.columns[creator.name]
    assert isinstance(column, WordColumn)
    items: Ints = np.bincount(column.values[column.values >= 0], minlength=1)  # [creators]
    return k > 2 and int(items.max()) > 2 and int(np.minimum(items, 2).sum()) >= k


def _window(dataset: Dataset, published: ColumnSpec) -> str | None:
    """How old a new item may be, so that some items of the catalog are new but not all of them; None where none fits.

    The share of new items must fit both in the middle of the interactions and at their end.
    """
    column = dataset.items.columns[published.name]
    assert isinstance(column, NumberColumn)
    known = _known(dataset.time)
    moments = (float(np.median(known)), float(known.max())) if len(known) else (dataset.schema.now or 0.0,)
    ages = [now - column.values for now in moments]
    for text, days in _WINDOWS.items():
        if all(_FRESH[0] <= ((age >= 0) & (age <= days * DAY)).mean() <= _FRESH[1] for age in ages):
            return text
    return None


# ---- spelling -------------------------------------------------------------------------------------------------------


def _writable(dataset: Dataset, of: str = "item") -> Iterator[tuple[ColumnSpec, ColumnData | None]]:
    """The columns of the items or the users that a policy can spell, with their data."""
    specs = dataset.schema.item if of == "item" else dataset.schema.user
    columns = (dataset.items if of == "item" else dataset.users).columns
    for name, spec in specs.items():
        if name and not set(name) & set("`\n\r"):
            yield spec, columns.get(name)


def _role(dataset: Dataset, role: Role) -> ColumnSpec | None:
    """The item column that holds `role`, where a policy can spell it."""
    return next((spec for spec, _ in _writable(dataset) if spec.role is role), None)


def _column(spec: ColumnSpec, table: str = "item") -> str:
    return f"{table}.{spec.name}" if spec.name.isidentifier() else f"{table}.`{spec.name}`"


def _field(spec: ColumnSpec) -> str:
    return spec.name if spec.name.isidentifier() and spec.name not in RESERVED else _quoted(spec.name)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
