"""A syntax tree and a schema in, a typed policy out, or every finding of the file at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recpolicy import parser, syntax
from recpolicy.checker import loading
from recpolicy.checker.header import Settings, settings
from recpolicy.checker.loading import samples
from recpolicy.checker.rules import Statements
from recpolicy.checker.scope import Scope
from recpolicy.errors import Diagnostic, PolicyError, rules
from recpolicy.policy import Policy
from recpolicy.schema import Schema
from recpolicy.span import NOWHERE, Source

__all__ = ["Loaded", "check", "load", "read", "samples"]


@dataclass(frozen=True)
class Loaded:
    """A checked policy, the text it was read from and the schema it was checked against.

    `folder` is where relative paths of the header (`data`, `schema`) start.
    """

    policy: Policy
    source: Source
    schema: Schema
    folder: Path


def check(file: syntax.File, schema: Schema) -> Policy:
    """The typed policy of `file`.

    Raises PolicyError with every finding, syntax errors too, in the order of the text.
    """
    findings: list[Diagnostic] = []
    return _check(file, settings(file, findings.append), schema, findings)


def load(policy: str, *, schema: Schema | None = None) -> Policy:
    """Read and check a policy: a path, or the name of a sample (`relevance`).

    The schema is that of the header's `data` or `schema` unless given. Raises PolicyError for findings and
    UsageError where there is no such file.
    """
    return read(policy, schema=schema).policy


def read(policy: str, *, schema: Schema | None = None) -> Loaded:
    """Like `load`, with the text and the schema kept."""
    source, folder = loading.read(policy)
    file = parser.parse(source)
    findings: list[Diagnostic] = []
    header = settings(file, findings.append)
    if schema is None:
        schema = loading.schema_of(header, folder, findings.append)
    checked = _check(file, header, schema, findings)
    assert schema is not None, "a header without a readable schema is a finding"
    return Loaded(checked, source, schema, folder)


def _check(file: syntax.File, header: Settings, schema: Schema | None, findings: list[Diagnostic]) -> Policy:
    scope = Scope(file, schema, header.slate)
    typed, blocks = Statements(scope).check()
    findings = [*file.problems, *findings, *scope.findings]
    if not findings and not any(
        w > 0 for rule in typed for w in (rule.weight.base, *(c[1] for c in rule.weight.changes))
    ):
        findings.append(rules.no_weight_at_all(file.header.title.span if file.header else NOWHERE))
    if findings or header.name is None or header.slate is None:
        unique = dict.fromkeys(sorted(findings, key=lambda f: (f.span.start, f.code)))
        raise PolicyError(tuple(unique), file.source)
    return Policy(
        name=header.name,
        version=header.version,
        data=header.data.value if header.data is not None else None,
        slate=header.slate,
        rules=typed,
        blocks=blocks,
        owner=header.owner,
    )
