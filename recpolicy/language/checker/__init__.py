"""Checks a syntax tree against a schema: returns the typed policy, or raises PolicyError with every finding at once."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recpolicy.errors import Diagnostic, PolicyError
from recpolicy.errors.rules import no_weight_at_all
from recpolicy.language import parser, syntax
from recpolicy.language.checker import loading
from recpolicy.language.checker.composition import compose, values
from recpolicy.language.checker.conflicts import conflicts
from recpolicy.language.checker.header import Settings, settings
from recpolicy.language.checker.loading import samples
from recpolicy.language.checker.scope import Scope
from recpolicy.language.checker.statements.params import given
from recpolicy.language.checker.statements.rules import Checked, statements
from recpolicy.language.policy import Policy, highest
from recpolicy.schema import Schema
from recpolicy.span import NOWHERE, Source

__all__ = ["Loaded", "check", "load", "read", "samples"]


@dataclass(frozen=True)
class Loaded:
    """A checked policy, the text it was read from and the schema it was checked against.

    Relative paths of the header (`data`, `schema`) start from `folder`. `sources` has the file of every rule, block and
    target that is not in `source` itself, by name.
    """

    policy: Policy
    source: Source
    schema: Schema
    folder: Path
    sources: Mapping[str, Source]


def check(
    file: syntax.File,
    schema: Schema,
    *,
    folder: Path = Path(),
    as_of: datetime.date | None = None,
    params: Mapping[str, str] | None = None,
) -> Policy:
    """Checks `file`, whose `use` starts from `folder`, and returns its typed policy; `as_of` and `params` as in `read`.

    Raises PolicyError with every finding, syntax errors too, in the order of the text, and UsageError for `params`.
    """
    findings: list[Diagnostic] = []
    return _check(file, settings(file, findings.append), schema, findings, folder, as_of, params or {})[0]


def load(
    policy: str,
    *,
    schema: Schema | None = None,
    as_of: datetime.date | None = None,
    params: Mapping[str, str] | None = None,
) -> Policy:
    """Reads and checks a policy as `read` does, and returns the policy alone."""
    return read(policy, schema=schema, as_of=as_of, params=params).policy


def read(
    policy: str,
    *,
    schema: Schema | None = None,
    as_of: datetime.date | None = None,
    params: Mapping[str, str] | None = None,
) -> Loaded:
    """Reads and checks a policy: a path, or the name of a sample (`relevance`).

    Without `schema`, the schema is that of the header's `data` or `schema`. `as_of` is the day that `from` and `until`
    are compared with, by default today (UTC). `params` are other values for `param`s, written as on the command line:
    `0.4`, `20%`, `90 days`, `2026-01-01`, `Drama`, `true`. Raises PolicyError for findings. Raises UsageError if there
    is no such file or param, or if a value is of another kind than the policy's own.
    """
    source, folder = loading.read(policy)
    file = parser.parse(source)
    findings: list[Diagnostic] = []
    header = settings(file, findings.append)
    if schema is None:
        schema = loading.schema_of(header, folder, findings.append)
    checked, sources = _check(file, header, schema, findings, folder, as_of, params or {})
    assert schema is not None, "a header without a readable schema is a finding"
    return Loaded(checked, source, schema, folder, sources)


def _check(
    file: syntax.File,
    header: Settings,
    schema: Schema | None,
    findings: list[Diagnostic],
    folder: Path,
    as_of: datetime.date | None,
    texts: Mapping[str, str],
) -> tuple[Policy, Mapping[str, Source]]:
    composed = compose(file, folder, findings.append)
    unread = frozenset[str | None]().union(*(f.unread for f in composed.files))
    scope = Scope(file.source, schema, header.slate, values(composed.entries), unread, as_of)
    checked = statements(composed.entries, given(texts, composed.entries, unread), scope)
    findings += [*file.problems, *scope.findings]
    if not findings and not _has_aim(checked):
        findings.append(no_weight_at_all(file.header.title.span if file.header else NOWHERE))
    sources = tuple(f.source for f in composed.files)
    if findings or header.name is None or header.slate is None:
        raise PolicyError(_in_order(findings, sources), file.source)
    policy = Policy(
        name=header.name,
        version=header.version,
        data=header.data.value if header.data is not None else None,
        slate=header.slate,
        rules=checked.rules,
        blocks=checked.blocks,
        owner=header.owner,
        targets=checked.targets,
        params=checked.params,
        dormant=checked.dormant,
        tests=checked.tests,
        as_of=scope.as_of if scope.dated else None,
        sources=sources,
    )
    elsewhere = {name: d.source for name, d in scope.defined.items() if d.source is not file.source}
    if contradictions := conflicts(policy, elsewhere):
        raise PolicyError(_in_order(contradictions, sources), file.source)
    return policy, elsewhere


def _has_aim(checked: Checked) -> bool:
    """True if a rule's weight is ever above 0, or if there is a target, whose weight training finds."""
    levels = [level for rule in checked.rules for level in (rule.weight.base, *(c[1] for c in rule.weight.changes))]
    return bool(checked.targets) or any(highest(level) > 0 for level in levels)


def _in_order(findings: list[Diagnostic], sources: tuple[Source, ...]) -> tuple[Diagnostic, ...]:
    """Each finding once, file by file in the order of the text."""
    place = {id(source): at for at, source in enumerate(sources)}
    ordered = sorted(findings, key=lambda f: (0 if f.source is None else place[id(f.source)], f.span.start, f.code))
    return tuple(dict.fromkeys(ordered))
