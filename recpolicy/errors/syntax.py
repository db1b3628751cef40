"""Builds the findings E01xx: the text cannot be read."""

from __future__ import annotations

from recpolicy.errors import Diagnostic
from recpolicy.span import Span


def unexpected(span: Span, seen: str, expected: str, help: str) -> Diagnostic:
    """Reports a token that cannot stand in its place."""
    return Diagnostic("E0101", f"unexpected {seen}", span, f"expected {expected}", help)


def misspelt_keyword(span: Span, word: str, keyword: str) -> Diagnostic:
    """Reports a misspelt keyword."""
    title = f"unknown keyword `{word}`"
    return Diagnostic("E0102", title, span, "not a keyword here", f"did you mean `{keyword}`?", fix=keyword)


def foreign_operator(span: Span, seen: str, write: str, fix: str | None = None) -> Diagnostic:
    """Reports an operator of another language."""
    title = f"`{seen}` is not an operator of this language"
    return Diagnostic("E0103", title, span, "not an operator here", write, fix=fix)


def foreign_word(span: Span, seen: str, write: str, fix: str | None = None) -> Diagnostic:
    """Reports a keyword of another language."""
    title = f"`{seen}` is not a word of this language"
    return Diagnostic("E0118", title, span, "not a keyword", write, fix=fix)


def thousands(span: Span, write: str) -> Diagnostic:
    """Reports a number with a comma."""
    return Diagnostic("E0119", "a number with a comma", span, "not a number", f"write `{write}`", fix=write)


def unclosed(span: Span, what: str, closer: str, line: int) -> Diagnostic:
    """Reports a bracket or a brace that is not closed."""
    label = f"expected `{closer}` to close the {what} of line {line}"
    end = "last value" if what in ("record", "list") else "last line"
    help = f"write `{closer}` after the {end} of the {what}"
    return Diagnostic("E0104", f"the {what} is not closed", span, label, help)


def unclosed_text(span: Span) -> Diagnostic:
    """Reports a quoted text without an end."""
    help = 'close it with `"` on the same line, as in `"Drama"`'
    return Diagnostic("E0105", "a quoted text has no end", span, "starts here", help)


def unreadable_character(span: Span, seen: str, help: str, fix: str | None = None) -> Diagnostic:
    """Reports a character that has no meaning."""
    return Diagnostic("E0106", f"unreadable character {seen}", span, "means nothing here", help, fix=fix)


def reserved_word(span: Span, word: str, suggestion: str) -> Diagnostic:
    """Reports a reserved word that is used as a name."""
    help = f"choose another name, such as `{suggestion}`"
    return Diagnostic("E0107", f"`{word}` is a reserved word", span, "cannot be used as a name", help)


def chained_comparison(span: Span) -> Diagnostic:
    """Reports a comparison of a comparison."""
    help = "write two comparisons joined with `and`, as in `item.price > 1 and item.price < 5`"
    return Diagnostic("E0108", "comparisons do not chain", span, "a second comparison", help)


def too_deep(span: Span, most: int) -> Diagnostic:
    """Reports an expression that is nested too deep."""
    help = "give parts of it a name with `let`, or write `x in [...]` instead of many comparisons"
    return Diagnostic("E0109", f"an expression is nested deeper than {most} levels", span, "too deep", help)


def too_many_errors(span: Span, shown: int) -> Diagnostic:
    """Reports that the rest of the file is not read, after `shown` syntax errors."""
    title = f"more than {shown} syntax errors"
    return Diagnostic("E0111", title, span, "not read from here on", "mend those above and check the file again")


def wrong_name(span: Span, seen: str, suggestion: str) -> Diagnostic:
    """Reports a character that cannot stand in a name."""
    help = f"names are letters, digits and `_`, starting with a letter: write `{suggestion}`"
    return Diagnostic("E0112", f"{seen} cannot stand in a name", span, "not part of a name", help, fix=suggestion)


def stray_brace(span: Span) -> Diagnostic:
    """Reports a brace that closes nothing."""
    help = "remove it, or write the `when`, `test` or `policy` that it closes"
    return Diagnostic("E0116", "this `}` closes nothing", span, "no `{` is open", help)


def second_header(span: Span) -> Diagnostic:
    """Reports a header that is not the first statement."""
    help = "a file has one header, `policy` with a name and settings in braces, before everything else"
    return Diagnostic("E0113", "the `policy` header stands out of place", span, "not the first statement", help)


def unquoted_text(span: Span, value: str) -> Diagnostic:
    """Reports a text without quotes."""
    fix = f'"{value}"'
    return Diagnostic("E0114", "a text needs quotes", span, "expected a quoted text", f"write `{fix}`", fix=fix)


def misspelt_table(span: Span, word: str, table: str, column: str) -> Diagnostic:
    """Reports a table other than `item` and `user`."""
    help = f"did you mean `{table}.{column}`?"
    return Diagnostic("E0117", f"no table `{word}`", span, "neither `item` nor `user`", help, fix=table)


def column_without_name(span: Span, table: str) -> Diagnostic:
    """Reports a table and a point without a column."""
    help = f"write a column behind the point, as in `{table}.age`; odd names go in backticks: {table}.`release year`"
    return Diagnostic("E0115", f"`{table}.` without a column's name", span, "no column's name follows", help)


def clause_out_of_place(span: Span, clause: str, help: str) -> Diagnostic:
    """Reports a clause that cannot stand in its place."""
    return Diagnostic("E0120", f"`{clause}` stands out of place", span, "cannot stand here", help)


def target_bound(span: Span, help: str, fix: str | None = None) -> Diagnostic:
    """Reports a target without a bound."""
    return Diagnostic("E0121", "a target needs a bound", span, "neither `>=` nor `<=`", help, fix=fix)


def column_in_quotes(span: Span, word: str) -> Diagnostic:
    """Reports a column that is a reserved word and needs quotes."""
    fix = f'"{word}"'
    title = f"`{word}` is a reserved word"
    return Diagnostic("E0122", title, span, "not a column's name as it stands", f"put it in quotes: `{fix}`", fix=fix)


def item_without_braces(span: Span, seen: str) -> Diagnostic:
    """Reports an item of a slate without braces."""
    help = "write each item in braces, as in `[{price: 3}, {}]`; `hole` is an empty place"
    return Diagnostic("E0123", f"{seen} is no item of a slate", span, "expected `{`", help)
