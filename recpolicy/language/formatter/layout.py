"""Renders a document of texts and possible line breaks as lines of limited width (after Wadler and Oppen)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, assert_never

WIDTH = 100
INDENT = 2


@dataclass(frozen=True)
class Line:
    """A possible line break: a new line if the group around it is broken, `flat` if not."""

    flat: str = " "


@dataclass(frozen=True)
class Hard:
    """A new line in any case; every group around it is broken."""


@dataclass(frozen=True)
class Remark:
    """A comment at the end of a line; its length does not count."""

    text: str


@dataclass(frozen=True)
class IfBroken:
    """A text that is written only if the group around it is broken."""

    text: str


@dataclass(frozen=True)
class Concat:
    """Documents, one behind the other."""

    docs: tuple[Doc, ...]
    hard: bool


@dataclass(frozen=True)
class Nest:
    """New lines inside are indented one step further."""

    doc: Doc
    hard: bool


@dataclass(frozen=True)
class Group:
    """A document on one line if it fits, else broken at each of its own line breaks."""

    doc: Doc
    hard: bool


Doc: TypeAlias = str | Line | Hard | Remark | IfBroken | Concat | Nest | Group

LINE, EDGE, HARD = Line(), Line(""), Hard()


def concat(*docs: Doc) -> Doc:
    """Joins documents, one behind the other."""
    return Concat(docs, any(map(_is_hard, docs)))


def nest(*docs: Doc) -> Doc:
    """Joins documents, with new lines indented one step further."""
    doc = concat(*docs)
    return Nest(doc, _is_hard(doc))


def group(*docs: Doc) -> Doc:
    """Joins documents into a group, on one line if it fits."""
    doc = concat(*docs)
    return Group(doc, _is_hard(doc))


def _is_hard(doc: Doc) -> bool:
    return isinstance(doc, Hard) or (isinstance(doc, Concat | Nest | Group) and doc.hard)


_Task: TypeAlias = tuple[int, bool, Doc]
"""Indentation, whether the group around is broken, and the document to write."""


def render(doc: Doc, indent: int) -> list[str]:
    """Renders the lines of a document, the first indented by `indent` spaces."""
    lines: list[str] = []
    line = " " * indent
    todo: list[_Task] = [(indent, True, doc)]
    while todo:
        at, broken, part = todo.pop()
        match part:
            case str() | Remark():
                line += part if isinstance(part, str) else part.text
            case IfBroken():
                line += part.text if broken else ""
            case Line() if not broken:
                line += part.flat
            case Line() | Hard():
                lines.append(line.rstrip())
                line = " " * at
            case Concat():
                todo += [(at, broken, inner) for inner in reversed(part.docs)]
            case Nest():
                todo.append((at + INDENT, broken, part.doc))
            case Group():
                fits = not part.hard and _fits(WIDTH - len(line), part.doc, todo)
                todo.append((at, not fits, part.doc))
            case _:
                assert_never(part)
    return [*lines, line.rstrip()]


def _fits(room: int, doc: Doc, behind: list[_Task]) -> bool:
    """True if `doc` on one line, with what follows up to the next possible break, takes no more than `room`."""
    todo: list[tuple[bool, Doc]] = [(False, doc)]
    next_behind = len(behind) - 1
    while room >= 0:
        if not todo:
            if next_behind < 0:
                return True
            todo.append((True, behind[next_behind][2]))
            next_behind -= 1
        loose, part = todo.pop()
        match part:
            case str():
                room -= len(part)
            case Line() if not loose:
                room -= len(part.flat)
            case Line() | Hard() | Remark():
                return True
            case IfBroken():
                room -= len(part.text) if loose else 0
            case Concat():
                todo += [(loose, inner) for inner in reversed(part.docs)]
            case Nest() | Group():
                todo.append((loose, part.doc))
            case _:
                assert_never(part)
    return False
