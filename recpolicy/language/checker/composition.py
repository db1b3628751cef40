"""Collects the statements of a policy file and of the files it uses, in the order of checking, overrides applied."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from recpolicy.errors import Diagnostic, UsageError, composition
from recpolicy.errors.near import near
from recpolicy.language import parser, syntax
from recpolicy.language.checker import loading
from recpolicy.language.checker.header import Report
from recpolicy.language.checker.scope import MOST_COMPARED, Definition
from recpolicy.span import Source

Plain: TypeAlias = syntax.Use | syntax.Let | syntax.Param | syntax.Rule | syntax.Reweight | syntax.When | syntax.Test
"""A statement without its `override`; a `use` among them is in a place where none is allowed."""


@dataclass(frozen=True)
class Entry:
    """One statement, in the place where it is checked.

    `when` is the branch it is in, or None. `order` is its place among the rules, for an override that of the overridden
    one. `overrides` is True behind the word `override`; `instead` is then the overridden definition, if there is one.
    """

    source: Source
    node: Plain
    when: syntax.When | None
    order: int
    overrides: bool = False
    instead: Definition | None = None


@dataclass(frozen=True)
class Composition:
    """All statements, `when` before those inside it, and the files they come from, the main one first."""

    entries: tuple[Entry, ...]
    files: tuple[syntax.File, ...]


def compose(main: syntax.File, folder: Path, report: Report) -> Composition:
    """Collects the statements of `main` and of the files it uses, from `folder` on, and applies each `override`.

    Each finding goes to `report`.
    """

    def report_in(source: Source, finding: Diagnostic) -> None:
        report(finding if source is main.source else replace(finding, source=source))

    files = _Files(main, folder, report_in)
    return Composition(_with_overrides(files.statements(), files, report_in), tuple(files.read.values()))


# ---- use ------------------------------------------------------------------------------------------------------------

_ReportIn: TypeAlias = Callable[[Source, Diagnostic], None]


@dataclass(frozen=True)
class _Written:
    """One statement as written, with its file and its branch."""

    source: Source
    node: syntax.Statement
    when: syntax.When | None = None


def _broken(node: syntax.Node, file: syntax.File) -> bool:
    """True if `node` contains a syntax error."""
    return any(node.span.start <= problem.span.start < node.span.end for problem in file.problems)


class _Files:
    """The files read so far, by their real paths."""

    def __init__(self, main: syntax.File, folder: Path, report: _ReportIn) -> None:
        self.folder, self.report = folder, report
        self.read: dict[str, syntax.File] = {os.path.realpath(main.source.name): main}

    def statements(self) -> Iterator[_Written]:
        """Yields the statements of all files: those of a used file, except its tests, replace the `use`.

        A file that was used before adds nothing again. A test with a syntax error is left out: what it seems to lack
        may be in the part that could not be read.
        """
        ((path, main),) = self.read.items()
        stack = [(path, main, iter(main.statements))]
        while stack:
            path, file, rest = stack[-1]
            node = next(rest, None)
            if node is None:
                stack.pop()
            elif isinstance(node, syntax.Use):
                start = self.folder if file is main else Path(file.source.name).parent
                real = self._resolve(node.path, file.source, start, [p for p, _, _ in stack])
                if real is not None and (used := self._read(real, node.path, file.source, start)) is not None:
                    stack.append((real, used, iter(used.statements)))
            elif not isinstance(node, syntax.Test) or (file is main and not _broken(node, file)):
                yield from _flat(node, file.source)

    def _resolve(self, path: syntax.Text, source: Source, start: Path, open: list[str]) -> str | None:
        """The real path of the named file; reports why there is none."""
        try:
            real = os.path.realpath(start / path.value)
        except ValueError:
            self.report(source, composition.unusable_file(path.span, path.value, "not a usable path", ""))
            return None
        if not Path(real).is_relative_to(os.path.realpath(self.folder)):
            self.report(source, composition.outside(path.span, path.value))
        elif real in open:
            circle = [os.path.basename(p) for p in (*open[open.index(real) :], real)]
            self.report(source, composition.circle(path.span, circle))
        elif not os.path.isfile(real):
            self.report(source, composition.no_such_file(path.span, path.value, _nearest(start, path.value)))
        else:
            return real
        return None

    def _read(self, real: str, path: syntax.Text, source: Source, start: Path) -> syntax.File | None:
        """The file at a real path; None if it was read before or, with a finding, if it cannot be read."""
        if real in self.read:
            return None
        try:
            text = loading.decoded(Path(real).read_bytes(), os.path.normpath(start / path.value))
        except (OSError, UsageError) as error:
            reason, help = (error.message, error.help) if isinstance(error, UsageError) else (str(error.strerror), "")
            self.report(source, composition.unusable_file(path.span, path.value, reason, help))
            return None
        self.read[real] = parser.parse(text)
        for problem in self.read[real].problems:
            self.report(text, problem)
        return self.read[real]


def _nearest(start: Path, named: str) -> str | None:
    """The policy file that was probably meant, as a policy writes it."""
    parent = Path(named).parent
    try:
        stems = [p.stem for p in sorted((start / parent).iterdir()) if p.suffix == ".policy"]
    except OSError:
        return None
    name = Path(named).name.removesuffix(".policy")
    close = name if name in stems else near(name, stems)
    return None if close is None else (parent / f"{close}.policy").as_posix()


def _flat(node: syntax.Statement, source: Source) -> Iterator[_Written]:
    """The statement, and behind a `when` those inside it."""
    todo: list[_Written] = [_Written(source, node)]
    while todo:
        statement = todo.pop()
        yield statement
        if isinstance(statement.node, syntax.When):
            todo += [_Written(source, inner, statement.node) for inner in reversed(statement.node.statements)]


# ---- override -------------------------------------------------------------------------------------------------------


def _with_overrides(statements: Iterator[_Written], files: _Files, report: _ReportIn) -> tuple[Entry, ...]:
    """The entries, with each override in its place.

    An overriding `let` or `param` is checked in the place of the earlier one, so that every later statement uses the
    new value. A rule is checked where it is written; only its place among the rules is that of the earlier one.
    """
    entries: list[Entry | None] = []
    latest: dict[str, int] = {}
    compared = 0
    for item in statements:
        overrides = isinstance(item.node, syntax.Override)
        node = item.node.statement if isinstance(item.node, syntax.Override) else item.node
        entry = Entry(item.source, node, item.when, len(entries), overrides)
        name = name_of(node)
        if name is None or (isinstance(node, syntax.Reweight) and (item.when is not None or not overrides)):
            entries.append(entry)
            continue
        if not overrides:
            latest.setdefault(name.text, len(entries))
            entries.append(entry)
            continue
        at = latest.get(name.text)
        earlier = None if at is None else entries[at]
        if at is None or earlier is None:
            unread = {word for file in files.read.values() for word in file.unread}
            if name.text not in unread and None not in unread:
                compared += len(latest)
                close = near(name.text, latest) if compared <= MOST_COMPARED else None
                report(item.source, composition.overrides_nothing(name.span, kind_of(node), name.text, close))
            entries.append(None if isinstance(node, syntax.Reweight) else entry)
            continue
        instead = _definition(earlier)
        if kind_of(node) != instead.kind:
            report(item.source, composition.overrides_other_kind(name.span, name.text, instead.kind, kind_of(node)))
            continue
        entry = replace(entry, order=earlier.order, instead=instead)
        if isinstance(node, (syntax.Let, syntax.Param)):
            entries[at] = entry
            continue
        if not isinstance(node, syntax.Reweight):
            entries[at], latest[name.text] = None, len(entries)
        entries.append(entry)
    return tuple(entry for entry in entries if entry is not None)


def kind_of(node: Plain) -> str:
    """Returns the keyword that a statement starts with."""
    return node.kind if isinstance(node, syntax.Reweight) else type(node).__name__.lower()


def name_of(node: Plain) -> syntax.Ident | None:
    """Returns the name that a statement defines or changes."""
    return None if isinstance(node, (syntax.Use, syntax.When, syntax.Test)) else node.name


def _definition(entry: Entry) -> Definition:
    name = name_of(entry.node)
    assert name is not None
    return Definition(name, entry.source, kind_of(entry.node), entry.when is not None)


def values(entries: tuple[Entry, ...]) -> dict[str, Definition]:
    """Returns the first definition of each `let` and `param`, by name."""
    definitions: dict[str, Definition] = {}
    for entry in entries:
        if isinstance(entry.node, (syntax.Let, syntax.Param)):
            definitions.setdefault(entry.node.name.text, _definition(entry))
    return definitions
