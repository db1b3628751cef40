"""What the names of one file mean while it is checked, and the findings so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from recpolicy import policy, syntax
from recpolicy.errors import Diagnostic, names
from recpolicy.errors.near import near
from recpolicy.errors.syntax import reserved_word
from recpolicy.parser import RESERVED
from recpolicy.schema import Schema
from recpolicy.span import Span


@dataclass
class Scope:
    """The names of a file. A `let` whose value has an error maps to None: using it is not reported again.

    `schema` is None where it could not be read: then columns are not checked.
    """

    file: syntax.File
    schema: Schema | None
    slate: int | None
    lets: dict[str, policy.Expr | None] = field(default_factory=dict)
    defined: dict[str, syntax.Ident] = field(default_factory=dict)
    later: dict[str, syntax.Ident] = field(default_factory=dict)
    """The `let`s of the whole file, so that use before definition is told from an unknown name."""
    findings: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.later = {s.name.text: s.name for s in self.file.statements if isinstance(s, syntax.Let)}

    def report(self, finding: Diagnostic) -> None:
        """Add one finding."""
        self.findings.append(finding)

    def define(self, name: syntax.Ident) -> bool:
        """Take `name`; a finding, and False, where it is taken or reserved."""
        if name.text in RESERVED:
            self.report(reserved_word(name.span, name.text, f"{name.text}_rule"))
            return False
        first = self.defined.setdefault(name.text, name)
        if first is not name:
            self.report(names.defined_twice(name.span, name.text, first.span.line))
        return first is name

    def may_be_unread(self, name: str) -> bool:
        """True where a statement with a syntax error may have defined `name`."""
        return name in self.file.unread or None in self.file.unread

    def text(self, span: Span) -> str:
        """The source text of `span`."""
        return self.file.source.text[span.start : span.end]

    def column(self, node: syntax.Column) -> policy.Column | None:
        """The column of the schema, or None with a finding (silently without a schema)."""
        if self.schema is None:
            return None
        table = self.schema.item if node.table == "item" else self.schema.user
        if (spec := table.get(node.name)) is not None:
            return policy.Column(node.span, node.table, spec.name, spec.type)
        other = "user" if node.table == "item" else "item"
        close = near(node.name, table)
        if close is None and node.name in (self.schema.user if other == "user" else self.schema.item):
            self.report(names.other_table(node.span, node.table, other, node.name))
        else:
            known = tuple(table)
            self.report(names.unknown_column(node.span, node.table, node.name, close, known, self.schema.name))
        return None

    def unknown(self, node: syntax.Name) -> None:
        """The finding for a bare name that is no `let` defined so far."""
        name, span = node.name, node.span
        if self.may_be_unread(name):
            return
        columns = [f"{table}.{name}" for table, known in self._tables() if name in known]
        if name in ("item", "user"):
            self.report(names.bare_table(span, name))
        elif name in self.later and self.later[name].span.start < span.start:
            self.report(names.refers_to_itself(span, name))
        elif name in self.later:
            self.report(names.used_too_early(span, name, self.later[name].span.line))
        elif name in self.defined:
            self.report(names.rule_as_value(span, name))
        elif columns:
            self.report(names.bare_column(span, name, columns))
        else:
            self.report(names.unknown_name(span, name, near(name, [*self.lets, "next_items"])))

    def _tables(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        if self.schema is not None:
            yield "item", tuple(self.schema.item)
            yield "user", tuple(self.schema.user)
