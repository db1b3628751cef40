"""E01xx: the text cannot be read."""

from __future__ import annotations

from recpolicy.errors import Diagnostic
from recpolicy.span import Span


def unexpected(span: Span, seen: str, expected: str, help: str) -> Diagnostic:
    return Diagnostic("E0101", f"unexpected {seen}", span, f"expected {expected}", help)


def misspelt_keyword(span: Span, word: str, keyword: str) -> Diagnostic:
    title = f"unknown keyword `{word}`"
    return Diagnostic("E0102", title, span, "not a keyword here", f"did you mean `{keyword}`?", fix=keyword)


def foreign_operator(span: Span, seen: str, write: str, fix: str | None = None) -> Diagnostic:
    title = f"`{seen}` is not an operator of this language"
    return Diagnostic("E0103", title, span, "not an operator here", write, fix=fix)


def foreign_word(span: Span, seen: str, write: str, fix: str | None = None) -> Diagnostic:
    title = f"`{seen}` is not a word of this language"
    return Diagnostic("E0118", title, span, "not a keyword", write, fix=fix)


def thousands(span: Span, write: str) -> Diagnostic:
    return Diagnostic("E0119", "a number with a comma", span, "not a number", f"write `{write}`", fix=write)


def unclosed(span: Span, what: str, closer: str, line: int) -> Diagnostic:
    label = f"expected `{closer}` to close the {what} of line {line}"
    end = "last value" if what in ("record", "list") else "last line"
    return Diagnostic(
        "E0104", f"the {what} is not closed", span, label, f"write `{closer}` after the {end} of the {what}"
    )


def unclosed_text(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0105", "a quoted text has no end", span, "starts here", 'close it with `"` on the same line, as in `"Drama"`'
    )


def unreadable_character(span: Span, seen: str, help: str, fix: str | None = None) -> Diagnostic:
    return Diagnostic("E0106", f"unreadable character {seen}", span, "means nothing here", help, fix=fix)


def reserved_word(span: Span, word: str, suggestion: str) -> Diagnostic:
    return Diagnostic(
        "E0107",
        f"`{word}` is a reserved word",
        span,
        "cannot be used as a name",
        f"choose another name, such as `{suggestion}`",
    )


def chained_comparison(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0108",
        "comparisons do not chain",
        span,
        "a second comparison",
        "write two comparisons joined with `and`, as in `item.price > 1 and item.price < 5`",
    )


def too_deep(span: Span, most: int) -> Diagnostic:
    return Diagnostic(
        "E0109",
        f"an expression is nested deeper than {most} levels",
        span,
        "too deep",
        "give parts of it a name with `let`, or write `x in [...]` instead of many comparisons",
    )


def too_many_errors(span: Span, shown: int) -> Diagnostic:
    title = f"more than {shown} syntax errors"
    return Diagnostic("E0111", title, span, "not read from here on", "mend those above and check the file again")


def wrong_name(span: Span, seen: str, suggestion: str) -> Diagnostic:
    return Diagnostic(
        "E0112",
        f"{seen} cannot stand in a name",
        span,
        "not part of a name",
        f"names are letters, digits and `_`, starting with a letter: write `{suggestion}`",
        fix=suggestion,
    )


def stray_brace(span: Span) -> Diagnostic:
    help = "remove it, or write the `when`, `test` or `policy` that it closes"
    return Diagnostic("E0116", "this `}` closes nothing", span, "no `{` is open", help)


def second_header(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0113",
        "the `policy` header stands out of place",
        span,
        "not the first statement",
        "a file has one header, `policy` with a name and settings in braces, before everything else",
    )


def unquoted_text(span: Span, value: str) -> Diagnostic:
    fix = f'"{value}"'
    return Diagnostic("E0114", "a text needs quotes", span, "expected a quoted text", f"write `{fix}`", fix=fix)


def misspelt_table(span: Span, word: str, table: str, column: str) -> Diagnostic:
    help = f"did you mean `{table}.{column}`?"
    return Diagnostic("E0117", f"no table `{word}`", span, "neither `item` nor `user`", help, fix=table)


def column_without_name(span: Span, table: str) -> Diagnostic:
    return Diagnostic(
        "E0115",
        f"`{table}.` without a column's name",
        span,
        "no column's name follows",
        f"write a column behind the point, as in `{table}.age`; odd names go in backticks: {table}.`release year`",
    )


def clause_out_of_place(span: Span, clause: str, help: str) -> Diagnostic:
    return Diagnostic("E0120", f"`{clause}` stands out of place", span, "cannot stand here", help)


def target_bound(span: Span, help: str, fix: str | None = None) -> Diagnostic:
    return Diagnostic("E0121", "a target needs a bound", span, "neither `>=` nor `<=`", help, fix=fix)


def column_in_quotes(span: Span, word: str) -> Diagnostic:
    fix = f'"{word}"'
    title = f"`{word}` is a reserved word"
    return Diagnostic("E0122", title, span, "not a column's name as it stands", f"put it in quotes: `{fix}`", fix=fix)


def item_without_braces(span: Span, seen: str) -> Diagnostic:
    help = "write each item in braces, as in `[{price: 3}, {}]`; `hole` is an empty place"
    return Diagnostic("E0123", f"{seen} is no item of a slate", span, "expected `{`", help)
