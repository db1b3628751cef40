"""Keeps what the names of a policy mean while it is checked, and the findings so far."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from recpolicy.errors import Diagnostic, Note, names
from recpolicy.errors.near import near
from recpolicy.errors.syntax import reserved_word
from recpolicy.language import policy, syntax
from recpolicy.language.parser import RESERVED
from recpolicy.schema import ColumnSpec, Schema
from recpolicy.span import Source, Span

RULES = ("reward", "boost", "bury", "quota")
"""Kinds of statements with a value and a weight."""

MOST_COMPARED = 20_000
"""Pairs of a wrong and a right name. After that, further wrong names get no suggestion."""


@dataclass(frozen=True)
class Definition:
    """The statement with a name: its kind (`let`, `quota`), its file, and whether it is inside `when`."""

    name: syntax.Ident
    source: Source
    kind: str
    inside: bool = False


@dataclass
class Scope:
    """The names of a policy. A `let` or `param` whose value has an error maps to None: its use is not reported again.

    `schema` is None if it could not be read: then columns are not checked. `later` has all `let`s and `param`s, so that
    use before definition is not taken for an unknown name. `unread` are the names of statements with a syntax error.
    """

    main: Source
    schema: Schema | None
    slate: int | None
    later: Mapping[str, Definition] = field(default_factory=dict)
    unread: frozenset[str | None] = frozenset()
    as_of: datetime.date | None = None
    lets: dict[str, policy.Expr | None] = field(default_factory=dict)
    params: dict[str, syntax.Expr | None] = field(default_factory=dict)
    defined: dict[str, Definition] = field(default_factory=dict)
    dormant: dict[str, datetime.date] = field(default_factory=dict)
    """The rules, blocks and targets that do not hold yet, with their first day."""
    findings: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = self.main  # the file of the statement that is being checked
        self.defining: str | None = None
        """The `let` that is being checked."""
        self.instead: Definition | None = None
        """The definition that the `let` that is being checked overrides and replaces."""
        self.dated = False
        """Whether a rule has dates, so that the policy depends on the day."""
        self._compared = 0

    def report(self, finding: Diagnostic) -> None:
        """Adds one finding about the file that is being checked."""
        self.findings.append(finding if self.source is self.main else replace(finding, source=self.source))

    def define(self, name: syntax.Ident, kind: str, *, inside: bool = False) -> bool:
        """Defines `name` and returns True; reports a name that is taken or reserved, and returns False."""
        if name.text in RESERVED:
            self.report(reserved_word(name.span, name.text, f"{name.text}_rule"))
            return False
        first = self.defined.setdefault(name.text, Definition(name, self.source, kind, inside))
        if first.name is not name:
            self.report(names.defined_twice(name.span, name.text, self.place(first), self.note(first, "defined here")))
        return first.name is name

    def place(self, of: Definition) -> str:
        """Renders the line of a definition for a message."""
        return self.line(of.name.span, of.source)

    def line(self, span: Span, source: Source) -> str:
        """Renders a line for a message, with its file if that is not the one that is being checked."""
        return f"line {span.line}" if source is self.source else f"line {span.line} of {source.name}"

    def note(self, of: Definition, label: str) -> Note:
        """Returns a note that marks a definition as a further place of a finding."""
        return Note(of.name.span, label, None if of.source is self.source else of.source)

    def today(self) -> datetime.date:
        """Returns the day that `from` and `until` are compared with."""
        self.dated = True
        if self.as_of is None:
            self.as_of = datetime.datetime.now(datetime.UTC).date()
        return self.as_of

    def may_be_unread(self, name: str) -> bool:
        """Returns whether a statement with a syntax error may have defined `name`."""
        return name in self.unread or None in self.unread

    def near(self, word: str, allowed: Iterable[str]) -> str | None:
        """Returns the allowed word that was probably meant, or None if none is close."""
        if self._compared > MOST_COMPARED:
            return None
        words = tuple(allowed)
        self._compared += len(words)
        return near(word, words)

    def text(self, span: Span) -> str:
        """Returns the source text of `span`."""
        return self.source.text[span.start : span.end]

    def table(self, name: str) -> Mapping[str, ColumnSpec]:
        """Returns the columns of the table `item` or `user`; without a schema there are none."""
        if self.schema is None:
            return {}
        return self.schema.item if name == "item" else self.schema.user

    def column(self, node: syntax.Column) -> policy.Column | None:
        """Returns the column of the schema, or reports that there is none; without a schema nothing is reported."""
        if self.schema is None:
            return None
        table, other = self.table(node.table), "user" if node.table == "item" else "item"
        if (spec := table.get(node.name)) is not None:
            return policy.Column(node.span, node.table, spec.name, spec.type)
        close = self.near(node.name, table)
        if close is None and node.name in self.table(other):
            self.report(names.other_table(node.span, node.table, other, node.name))
        else:
            self.report(names.unknown_column(node.span, node.table, node.name, close, tuple(table), self.schema.name))
        return None

    def unknown(self, node: syntax.Name) -> None:
        """Reports a bare name that is no `let` and no `param` defined so far."""
        name, span = node.name, node.span
        if self.may_be_unread(name):
            return
        columns = [f"{table}.{name}" for table in ("item", "user") if name in self.table(table)]
        if name in ("item", "user"):
            self.report(names.bare_table(span, name))
        elif name == self.defining:
            self.report(names.refers_to_itself(span, name))
        elif (later := self.later.get(name)) is not None:
            instead = None if self.instead is None else self.place(self.instead)
            self.report(names.used_too_early(span, name, later.kind, self.place(later), instead))
        elif name in self.defined:
            self.report(names.rule_as_value(span, name))
        elif columns:
            self.report(names.bare_column(span, name, columns))
        else:
            known = [*self.lets, *self.params, "next_items", "now"]
            self.report(names.unknown_name(span, name, self.near(name, known)))
