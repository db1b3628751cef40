"""Writes the canonical lines of a file: one statement per line, similar statements in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from recpolicy.language import syntax
from recpolicy.language.formatter.layout import INDENT, WIDTH, Doc, concat, nest, render
from recpolicy.language.formatter.phrases import Phrases
from recpolicy.language.formatter.words import Words

_Item: TypeAlias = syntax.Header | syntax.Setting | syntax.Statement | syntax.Given | syntax.Expect | syntax.Case


@dataclass(frozen=True)
class _Cells:
    """The columns of a statement: the first word of each, and the word behind the last."""

    kind: str
    """Statements of one kind can share columns."""
    starts: tuple[int, ...]


def lines(file: syntax.File, words: Words) -> list[str]:
    """Returns the lines of a file without problems."""
    items: list[_Item] = [*([file.header] if file.header else []), *file.statements]
    writer = _Writer(words)
    writer.write(items, 0, end=len(words.kinds) - 1)
    return writer.lines


class _Writer:
    """The lines written so far."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.lines: list[str] = []
        self.pads: dict[int, int] = {}
        self.phrases = Phrases(words, self.pads)

    def write(self, items: Sequence[_Item], indent: int, *, end: int) -> None:
        """Writes the items of a file or a block, and the comments behind the last, before the word `end`."""
        self._align(items)
        for number, item in enumerate(items):
            first = self.words.first(item.span)
            fresh = self._comments(first, indent, fresh=number == 0)
            if self.words.blanks[first] and not fresh:
                self.lines.append("")
            self._item(item, indent)
        self._comments(end, indent, fresh=not items)

    def _comments(self, at: int, indent: int, *, fresh: bool) -> bool:
        """Writes the comments before the word `at`; returns True if its block is still empty, as with `fresh`."""
        for comment in self.words.comments[at]:
            if comment.ends_line:
                self.lines[-1] += f"  {comment.text}"
                continue
            if comment.blank and not fresh:
                self.lines.append("")
            self.lines.append(f"{' ' * indent}{comment.text}")
            fresh = False
        return fresh

    def _item(self, item: _Item, indent: int) -> None:
        first, last = self.words.first(item.span), self.words.last(item.span)
        match item:
            case syntax.Header():
                self._block(self.phrases.plain(first, first + 2), item.settings, last, indent)
            case syntax.Test() | syntax.Case():
                self._block(self.phrases.plain(first, first + 2), item.parts, last, indent)
            case syntax.When():
                brace = self.words.last(item.predicate.span) + 1
                predicate = self.phrases.body(first + 1, brace - 1)
                gaps = (nest(self.phrases.gap(at, " ")) for at in (first + 1, brace))
                head = concat(self.words.texts[first], next(gaps), predicate, next(gaps), "{")
                self._block(head, item.statements, last, indent)
            case _:
                self.lines += render(self._statement(item, first, last), indent)

    def _block(self, head: Doc, items: Sequence[_Item], last: int, indent: int) -> None:
        self.lines += render(head, indent)
        self.write(items, indent + INDENT, end=last)
        self.lines.append(f"{' ' * indent}}}")

    def _statement(self, item: _Item, first: int, last: int) -> Doc:
        """The document of a statement without braces; its head has no line breaks."""
        head = self._head(item)
        if head == last:
            return self.phrases.plain(first, last)
        behind = " " * (1 + self.pads.get(head + 1, 0))
        return concat(
            self.phrases.plain(first, head),
            nest(self.phrases.gap(head + 1, behind)),
            self.phrases.body(head + 1, last),
        )

    def _head(self, item: _Item) -> int:
        """The last word before the body of a statement: the `=`, or the words before a test's brackets."""
        match item:
            case syntax.Override():
                return self._head(item.statement)
            case syntax.Given():
                return self.words.last((item.name or item.what).span)
            case syntax.Use() | syntax.Reweight() | syntax.ExpectState() | syntax.ExpectOrder():
                return self.words.last(item.span)
            case _:
                return self.words.kinds.index("EQUAL", self.words.first(item.span))

    # ---- columns

    def _align(self, items: Sequence[_Item]) -> None:
        """Sets the further spaces of every run of similar statements."""
        run: list[_Cells] = []
        for item in items:
            cells = self._cells(item)
            if run and (cells is None or cells.kind != run[-1].kind or self._is_separate(item)):
                self._pad(run)
                run = []
            if cells is not None:
                run.append(cells)
        self._pad(run)

    def _is_separate(self, item: _Item) -> bool:
        """True for a statement behind a blank line or a line of comment."""
        first = self.words.first(item.span)
        return self.words.blanks[first] or any(not comment.ends_line for comment in self.words.comments[first])

    def _cells(self, item: _Item) -> _Cells | None:
        """The columns of a statement; None if it has none, or if there are comments between them."""
        first = self.words.first(item.span)
        match item:
            case syntax.Override():
                inner = self._cells(item.statement)
                return inner and self._whole(f"override {inner.kind}", (first, *inner.starts[1:]))
            case syntax.Setting() | syntax.ExpectValue():
                return self._whole(type(item).__name__, (first, self._head(item)))
            case syntax.Let() | syntax.Param() | syntax.Block() | syntax.Target():
                return self._whole(type(item).__name__, (first, self.words.first(item.name.span), self._head(item)))
            case syntax.Reward() | syntax.Boost() | syntax.Bury() | syntax.Quota() | syntax.Reweight():
                name, weight = self.words.first(item.name.span), self.words.first(item.weight.span)
                starts = [first, name, weight]
                has_ramp = isinstance(item.weight, syntax.Weight) and isinstance(item.weight.value, syntax.Ramp)
                if not isinstance(item, syntax.Reweight) and not has_ramp:  # a ramp would push every `=` far away
                    starts.append(self._head(item))
                return self._whole("weighted", starts)
            case syntax.Given() if self._is_short(item):
                return self._whole("slate" if item.name else "given", (first, self._head(item) + 1))
            case syntax.ExpectState():
                return self._whole("state", (first, self.words.kinds.index("IS", first)))
            case _:
                return None

    def _is_short(self, item: syntax.Given) -> bool:
        """True if the item fits on one line."""
        first, last = self.words.first(item.span), self.words.last(item.span)
        letters = sum(map(len, self.words.texts[first : last + 1]))
        return letters <= WIDTH and len(render(self._statement(item, first, last), 0)) == 1

    def _whole(self, kind: str, starts: Sequence[int]) -> _Cells | None:
        between = range(starts[0] + 1, starts[-1] + 1)
        return None if any(self.words.comments[i] for i in between) else _Cells(kind, tuple(starts))

    def _pad(self, run: Sequence[_Cells]) -> None:
        """Makes every column of a run as wide as its widest cell."""
        columns = max((len(cells.starts) for cells in run), default=0) - 1
        for column in range(columns):
            ends = [cells.starts[column : column + 2] for cells in run if len(cells.starts) > column + 1]
            widths = [len(render(self.phrases.plain(start, end - 1), 0)[0]) for start, end in ends]
            widest = max(widths)
            for (_, end), width in zip(ends, widths, strict=True):
                self.pads[end] = widest - width
