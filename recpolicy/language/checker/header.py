"""Checks the header of a policy and returns its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from recpolicy.errors import Diagnostic, names, rules
from recpolicy.errors.near import near
from recpolicy.language import syntax
from recpolicy.span import Span

MAX_SLATE = 100
Report: TypeAlias = Callable[[Diagnostic], None]
_SETTINGS = ("language", "owner", "version", "data", "schema", "slate")


@dataclass(frozen=True)
class Settings:
    """The header's values; None for one that is absent or wrong (which is reported)."""

    name: str | None
    slate: int | None
    version: int = 1
    owner: str | None = None
    data: syntax.Text | None = None
    schema: syntax.Text | None = None


def settings(file: syntax.File, report: Report) -> Settings:
    """Checks the settings of `file` and returns them; each finding goes to `report`."""
    header = file.header
    if header is None:
        if not file.problems:
            report(rules.no_header(Span(0, 0, 1, 1)))
        return Settings(None, None)
    values: dict[str, syntax.Setting] = {}
    for setting in header.settings:
        key = setting.key
        if key.text not in _SETTINGS:
            close = near(key.text, _SETTINGS)
            report(names.unknown_setting(key.span, key.text, close, _SETTINGS))
            if close is not None:  # most likely meant, so it is not missing as well
                values.setdefault(close, setting)
        elif key.text in values:
            report(names.setting_twice(key.span, key.text, values[key.text].span.line))
        else:
            values[key.text] = setting
    broken = any(header.span.start <= p.span.start <= header.span.end for p in file.problems)
    if not broken:
        _report_missing(header, values, report)
    _whole(values.get("language"), 1, 1, "this version reads `language = 1`", report)
    most = f"a slate has 1 to {MAX_SLATE} places, as in `slate = 10`"
    if isinstance(header.title, syntax.Text) and not header.title.value.strip():
        help = 'give the policy a name, as in `policy "creator growth"`'
        report(rules.bad_setting(header.title.span, "policy", help))
    return Settings(
        name=header.title.value if isinstance(header.title, syntax.Text) else None,
        slate=_whole(values.get("slate"), 1, MAX_SLATE, most, report),
        version=_whole(values.get("version"), 1, 10**9, "versions are counted from 1: `version = 1`", report) or 1,
        owner=(owner.value if (owner := _text(values.get("owner"), '"growth-team"', report)) else None),
        data=_text(values.get("data"), '"ml-100k"', report),
        schema=_text(values.get("schema"), '"shop.schema.toml"', report),
    )


def _report_missing(header: syntax.Header, values: dict[str, syntax.Setting], report: Report) -> None:
    span = Span(header.span.start, header.span.start + len("policy"), header.span.line, header.span.column)
    if "language" not in values:
        report(rules.setting_missing(span, "language", "language = 1"))
    if "slate" not in values:
        report(rules.setting_missing(span, "slate", "slate = 10"))
    if "data" not in values and "schema" not in values:
        report(rules.setting_missing(span, "data", 'data = "ml-100k"'))
    if "data" in values and "schema" in values:
        second = max(values["data"], values["schema"], key=lambda s: s.span.start)
        report(rules.two_sources(second.key.span, ("data", "schema")))


def _whole(setting: syntax.Setting | None, low: int, high: int, help: str, report: Report) -> int | None:
    if setting is None:
        return None
    value = setting.value
    if isinstance(value, syntax.Number) and value.value.is_integer() and low <= value.value <= high:
        return int(value.value)
    report(rules.bad_setting(value.span, setting.key.text, help))
    return None


def _text(setting: syntax.Setting | None, example: str, report: Report) -> syntax.Text | None:
    if setting is None:
        return None
    if isinstance(setting.value, syntax.Text) and setting.value.value.strip():
        return setting.value
    key = setting.key.text
    report(rules.bad_setting(setting.value.span, key, f"write a text in quotes, as in `{key} = {example}`"))
    return None
