"""Builds the document of words of one statement: spaces, possible line breaks and comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from recpolicy.language.formatter.layout import EDGE, HARD, LINE, Doc, IfBroken, Remark, concat, group, nest
from recpolicy.language.formatter.words import Words

_CLOSERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_LITERALS = frozenset(("NUMBER", "PERCENT", "UNIT", "DATE", "STRING", "TRUE", "FALSE", "NOW"))
_VALUE_ENDS = _LITERALS | {"COLUMN", "NAME", "HOLE", "HISTORY", "RPAR", "RSQB"}
"""Words behind which a `-` subtracts."""
_TIGHT_BEFORE = frozenset(("PERCENT", "COLON", "RPAR", "RSQB", "RBRACE"))


@dataclass(frozen=True)
class Piece:
    """A word, or a bracket with its content of `size` elements."""

    kind: str
    first: int
    doc: Doc
    size: int = 1


@dataclass
class _Open:
    """A bracket that is still open, and the pieces between its commas so far."""

    word: int
    elements: list[list[Piece]]


class Phrases:
    """The documents of one file's words; `pads` are further spaces before words in columns."""

    def __init__(self, words: Words, pads: Mapping[int, int]) -> None:
        self.words, self.pads = words, pads

    def plain(self, first: int, last: int) -> Doc:
        """Joins the words from `first` to `last`, both included, without line breaks."""
        return self._joined([Piece(self.words.kinds[i], i, self.words.texts[i]) for i in range(first, last + 1)])

    def body(self, first: int, last: int) -> Doc:
        """Joins the words from `first` to `last`; breaks at clauses, `or`, `and` and brackets if a line is too long."""
        top = _Open(-1, [[]])
        opened = [top]
        for i in range(first, last + 1):
            kind = self.words.kinds[i]
            if kind in _CLOSERS:
                opened.append(_Open(i, [[]]))
                continue
            if kind in _CLOSERS.values():
                bracket = opened.pop()
                opened[-1].elements[-1].append(self._bracket(bracket, i))
            else:
                opened[-1].elements[-1].append(Piece(kind, i, self.words.texts[i]))
            if i in self.words.commas and len(opened) > 1:
                opened[-1].elements.append([])
        return self._broken(top.elements[0], 0, hang=True)

    # ---- between words

    def gap(self, at: int, default: Doc) -> Doc:
        """Returns what is before the word `at`: its comments and a new line, or `default` if it has none."""
        comments = self._comments(at)
        return concat(*comments, HARD) if comments else default

    def _comments(self, at: int) -> list[Doc]:
        docs: list[Doc] = []
        for comment in self.words.comments[at]:
            docs += [Remark(f"  {comment.text}")] if comment.ends_line else [HARD, comment.text]
        return docs

    def _space(self, at: int) -> str:
        """The space before the word `at` inside a line."""
        kinds = self.words.kinds
        kind, before = kinds[at], kinds[at - 1]
        if kind in _TIGHT_BEFORE or before in ("LPAR", "LSQB"):
            return ""
        if kind == "LPAR" and (before == "NAME" or self._is_call(at - 1)):
            return ""
        if before == "MINUS" and kinds[at - 2] not in _VALUE_ENDS:
            return ""
        return " " * (1 + self.pads.get(at, 0))

    def _is_call(self, at: int) -> bool:
        """True for `distinct` as a function, not as a word of a quota."""
        kinds = self.words.kinds
        return kinds[at] == "DISTINCT" and kinds[at + 1] == "LPAR" and kinds[at - 1] not in _VALUE_ENDS

    def _joined(self, pieces: Sequence[Piece]) -> Doc:
        docs = [pieces[0].doc]
        for piece in pieces[1:]:
            docs += [nest(self.gap(piece.first, self._space(piece.first))), piece.doc]
        return concat(*docs)

    # ---- places to break at

    def _broken(self, pieces: Sequence[Piece], level: int, *, hang: bool) -> Doc:
        """The pieces with line breaks, at the loosest places first; with `hang`, further lines are indented."""
        if level == len(_LEVELS):
            return self._joined(pieces)
        parts = self._parts(pieces, level)
        docs = [self._broken(part, level + 1, hang=hang or len(parts) > 1) for part in parts]
        if len(parts) == 1:
            return docs[0]
        lines = [concat(self.gap(part[0].first, LINE), doc) for part, doc in zip(parts[1:], docs[1:], strict=True)]
        head = nest(docs[0]) if hang and level >= _NESTED else docs[0]
        return group(head, nest(*lines) if hang else concat(*lines))

    def _parts(self, pieces: Sequence[Piece], level: int) -> list[list[Piece]]:
        parts = [[pieces[0]]]
        for before, piece in pairwise(pieces):
            starts = piece.kind in _LEVELS[level]
            match piece.kind:
                case "AND":
                    starts = starts and not _is_between(parts[-1])
                case "UNTIL":
                    starts = starts and parts[-1][0].kind != "FROM"
                case "DISTINCT":
                    starts = starts and not self._is_call(piece.first)
                case "PLUS" | "MINUS":
                    starts = starts and (before.kind in _VALUE_ENDS or before.kind == "BRACKET")
            if starts:
                parts.append([])
            parts[-1].append(piece)
        return parts

    # ---- brackets

    def _bracket(self, bracket: _Open, close: int) -> Piece:
        opener, closer = self.words.texts[bracket.word], self.words.texts[close]
        elements = [element for element in bracket.elements if element]
        kind = self.words.kinds[bracket.word]
        # A list of words, or of items with one column each, fills its lines.
        fills = kind == "LSQB" and all(piece.size <= 1 for element in elements for piece in element)
        docs: list[Doc] = []
        for number, element in enumerate(elements):
            is_last = number == len(elements) - 1
            line = self.gap(element[0].first, LINE if number else EDGE)
            doc = concat(line, self._broken(element, _EXPRESSION, hang=len(elements) > 1), "" if is_last else ",")
            docs.append(group(doc) if fills and number else doc)
        if kind != "LPAR" and elements:
            docs.append(IfBroken(","))
        remarks = self._comments(close)
        end = HARD if remarks else EDGE if elements else ""
        return Piece("BRACKET", bracket.word, group(opener, nest(*docs, *remarks), end, closer), len(elements))


_LEVELS = (
    frozenset(("FROM", "UNTIL", "BECAUSE")),
    frozenset(("LIMIT", "ON", "INSIDE", "WHERE", "PER", "DISTINCT")),
    frozenset(("OR",)),
    frozenset(("AND",)),
    frozenset(("PLUS", "MINUS")),
)
"""The words before which a long statement breaks, the loosest first."""

_EXPRESSION = 2
"""The first level of an expression."""

_NESTED = 2
"""From this level on, the first of several parts is indented like the others."""


def _is_between(part: Sequence[Piece]) -> bool:
    """True if the next `and` belongs to a `between`."""
    kinds = [piece.kind for piece in part]
    return "BETWEEN" in kinds and "AND" not in kinds
