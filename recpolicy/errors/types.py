"""Builds the findings E03xx: a value of a type that does not fit in its place."""

from __future__ import annotations

from recpolicy.errors import Diagnostic
from recpolicy.span import Span
from recpolicy.types import Type

_PHRASES = {
    Type.BOOL: "a condition (true or false)",
    Type.INT: "a number",
    Type.FLOAT: "a number",
    Type.RATIO: "a percentage",
    Type.DATE: "a date",
    Type.DURATION: "a duration",
    Type.CATEGORY: "a word",
    Type.TEXT: "a text",
    Type.LIST: "a list",
}


def phrase(type: Type) -> str:
    """Returns how messages speak of a value of `type`."""
    return _PHRASES[type]


def number_without_unit(span: Span, type: Type, write: str) -> Diagnostic:
    """Reports a plain number that is compared with a value that has a unit."""
    what = {Type.DURATION: "unit", Type.RATIO: "percent sign", Type.DATE: "month and day"}[type]
    title = f"{phrase(type)} is compared with a plain number"
    return Diagnostic("E0301", title, span, f"no {what}", f"write `{write}`", fix=write)


def cannot_compare(span: Span, left: Type, right: Type, help: str) -> Diagnostic:
    """Reports a comparison of two types that do not go together."""
    title = f"{phrase(left)} cannot be compared with {phrase(right)}"
    return Diagnostic("E0302", title, span, "two different kinds of value", help)


def no_order(span: Span, op: str, type: Type, help: str) -> Diagnostic:
    """Reports an order of values that have none."""
    return Diagnostic("E0303", f"`{op}` does not order {phrase(type)}", span, f"this is {phrase(type)}", help)


def cannot_compute(span: Span, op: str, left: Type, right: Type, help: str) -> Diagnostic:
    """Reports arithmetic with values that have none."""
    title = f"`{op}` does not work on {phrase(left)} and {phrase(right)}"
    return Diagnostic("E0304", title, span, "no such arithmetic", help)


def not_a_condition(span: Span, type: Type, help: str) -> Diagnostic:
    """Reports a value where a condition is needed."""
    return Diagnostic("E0305", "a condition is needed here", span, f"this is {phrase(type)}", help)


def list_compared(span: Span, column: str, word: str) -> Diagnostic:
    """Reports `is` with a list."""
    title = "a list is not compared with `is`"
    return Diagnostic("E0306", title, span, "a list of words", f"write `{word} in {column}`")


def not_a_list(span: Span, type: Type, help: str) -> Diagnostic:
    """Reports `in` without a list on its right."""
    return Diagnostic("E0307", "`in` needs a list on its right", span, f"this is {phrase(type)}", help)


def cannot_be_in(span: Span, seen: str, help: str) -> Diagnostic:
    """Reports a value that cannot be looked up in a list."""
    return Diagnostic("E0308", "this cannot be looked up in a list", span, f"this is {seen}", help)


def not_an_option(span: Span, help: str) -> Diagnostic:
    """Reports an expression in a list of written values."""
    return Diagnostic("E0309", "a list in brackets holds written values only", span, "not a written value", help)


def mixed_options(span: Span, type: Type, expected: Type) -> Diagnostic:
    """Reports a value in a list that is of another type than the compared value."""
    title = f"{phrase(type)} in a list that is compared with {phrase(expected)}"
    help = f"every value in the brackets is {phrase(expected)}"
    return Diagnostic("E0310", title, span, f"this is {phrase(type)}", help)


def argument_count(span: Span, function: str, count: int, form: str) -> Diagnostic:
    """Reports a wrong number of arguments."""
    seen = "no argument" if count == 0 else "1 argument" if count == 1 else f"{count} arguments"
    return Diagnostic("E0311", f"`{function}` with {seen}", span, "wrong number of arguments", f"write `{form}`")


def wrong_argument(span: Span, function: str, type: Type, help: str) -> Diagnostic:
    """Reports an argument of a type that the function does not take."""
    return Diagnostic("E0312", f"`{function}` does not take {phrase(type)}", span, f"this is {phrase(type)}", help)


def no_such_day(span: Span, text: str) -> Diagnostic:
    """Reports a date that is not in the calendar."""
    help = "dates are year-month-day, as in `2014-01-31`"
    return Diagnostic("E0313", f"`{text}` is no day of the calendar", span, "not a date", help)


def too_large(span: Span) -> Diagnostic:
    """Reports a number that is too large to be stored."""
    return Diagnostic("E0314", "the number is too large", span, "not a number a computer holds", "write fewer digits")


def list_out_of_place(span: Span) -> Diagnostic:
    """Reports a list in brackets where it cannot stand."""
    title = "a list in brackets stands out of place"
    return Diagnostic("E0315", title, span, "not a value", "lists follow `in`, as in `x in [1, 2]`")


def measure_as_value(span: Span, name: str, help: str) -> Diagnostic:
    """Reports a measure of a slate where a value of an item is needed."""
    title = f"`{name}` measures a whole slate, not one item"
    return Diagnostic("E0316", title, span, "not a value of an item", help)


def next_items_as_value(span: Span) -> Diagnostic:
    """Reports `next_items` where a value of an item is needed."""
    help = "it stands in `ndcg`, `hit`, `recall`, `precision`, `mrr` and `lcs`, as in `ndcg(next_items)`"
    return Diagnostic("E0317", "`next_items` is not a value of an item", span, "what the user took next", help)


def not_a_date(span: Span, form: str, type: Type) -> Diagnostic:
    """Reports `within the last` or `ago` without a date."""
    return Diagnostic("E0318", f"`{form}` needs a date", span, f"this is {phrase(type)}", _AGE_HELP[form])


_AGE_HELP = {
    "within the last": "put a date column before it; a duration is compared with `<`, as in `item.age < 90 days`",
    "more than ... ago": "put a date column before it; a duration is compared with `>`, as in `item.age > 90 days`",
}


def not_a_duration(span: Span, form: str, type: Type, write: str) -> Diagnostic:
    """Reports a clause that needs a duration."""
    return Diagnostic("E0319", f"`{form}` needs a duration", span, f"this is {phrase(type)}", f"write `{write}`")


def too_big(span: Span, most: int) -> Diagnostic:
    """Reports an expression with too many parts, its `let`s written out."""
    help = "split the rule in two, or compute the value in the data as a column"
    return Diagnostic("E0320", f"with its `let`s written out, this has more than {most} parts", span, "too big", help)


def needs_no_negation(span: Span, type: Type) -> Diagnostic:
    """Reports a minus sign before a value that is not a number."""
    title = f"`-` does not work on {phrase(type)}"
    return Diagnostic("E0321", title, span, f"this is {phrase(type)}", "`-` turns the sign of a number")


def changes_with_time(span: Span, seen: str, help: str) -> Diagnostic:
    """Reports a percentile of a value that depends on `now`."""
    title = f"`percentile` ranks what a table holds, and `{seen}` depends on `now`"
    return Diagnostic("E0322", title, span, "changes with time", help)


def not_of_a_table(span: Span, seen: str, help: str) -> Diagnostic:
    """Reports a percentile of a value that is not of one table's columns."""
    return Diagnostic("E0323", "`percentile` ranks the columns of one table", span, seen, help)


def history_of_history(span: Span) -> Diagnostic:
    """Reports `of history` inside `of history`."""
    help = "compare the two numbers side by side, as in `count(a) of history > count(b) of history`"
    return Diagnostic("E0324", "`of history` inside `of history`", span, "looks at the history again", help)


def count_without_history(span: Span) -> Diagnostic:
    """Reports `count` without `of history`."""
    help = "write `count(CONDITION) of history`; the places of a slate are counted by a `quota`"
    return Diagnostic("E0325", "`count` counts the items of a history", span, "of what?", help)
