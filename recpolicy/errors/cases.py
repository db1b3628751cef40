"""Builds the findings E08xx: a `test` block that gives or expects something impossible."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.errors.types import phrase
from recpolicy.errors.words import listed, unknown
from recpolicy.span import Span
from recpolicy.types import Type

# ---- what is given --------------------------------------------------------------------------------------------------


def unknown_part(span: Span, word: str, near: str | None) -> Diagnostic:
    """Reports a word in a test that is no part of a test."""
    help = "a test gives `user {...}`, `now DATE`, `history [...]`, `next_items [...]` and `slate [...]`"
    return unknown("E0801", f"`{word}` is no part of a test", span, "not known here", near, help)


def wrong_part(span: Span, part: str, seen: str, write: str) -> Diagnostic:
    """Reports a part of a test that is given in the wrong form."""
    return Diagnostic("E0802", f"`{part}` is not {seen}", span, f"this is {seen}", f"write `{write}`")


def part_named(span: Span, part: str) -> Diagnostic:
    """Reports a name on a part of a test that takes none."""
    help = f"leave the name out; for another {part}, write another `case`"
    return Diagnostic("E0803", f"`{part}` takes no name", span, "only a slate has a name", help)


def given_twice(span: Span, part: str, line: int) -> Diagnostic:
    """Reports a part of a test that is given twice."""
    help = "keep one of the two, or put each into a `case` of its own"
    if part == "slate":
        help = "give each further slate a name, as in `slate better [...]`"
    elif part.startswith("slate "):
        help = "give one of the two another name"
    return Diagnostic("E0804", f"`{part}` is given twice", span, f"already given on line {line}", help)


def slate_length(span: Span, places: int, most: int) -> Diagnostic:
    """Reports a slate without places, or with too many."""
    help = f"state 1 to {most} items; `{{}}` is an item about which nothing is known, `hole` an empty place"
    return Diagnostic("E0805", f"a slate of {places} places", span, "no places" if places == 0 else "too long", help)


def hole_outside(span: Span, part: str) -> Diagnostic:
    """Reports a `hole` outside of a slate."""
    help = "leave it out, or state an item `{...}`"
    return Diagnostic("E0806", f"a `hole` in `{part}`", span, "only a slate has places", help)


def unknown_column(
    span: Span, table: str, name: str, near: str | None, known: Sequence[str], other: str | None
) -> Diagnostic:
    """Reports a column that the table of a test's record does not have."""
    if near is not None:
        help = f"did you mean `{near}`?"
    elif other is not None:
        help = f"`{name}` is a column of `{other}`: state it there"
    else:
        help = f"{table} columns are {listed(known, 12, ', ')}" if known else f"this data has no {table} columns"
    fix = None if near is None else near if near.isidentifier() else f'"{near}"'
    return Diagnostic("E0807", f"no {table} column `{name}`", span, "not a column", help, fix=fix)


def column_twice(span: Span, name: str, line: int) -> Diagnostic:
    """Reports a column that a record states twice."""
    label = f"already stated on line {line}"
    return Diagnostic("E0808", f"`{name}` is stated twice", span, label, "keep one of the two")


def wrong_value(span: Span, column: str, expected: Type, seen: Type, help: str, fix: str | None) -> Diagnostic:
    """Reports a value of another type than its column's."""
    title = f"`{column}` holds {holds(expected)}, not {holds(seen)}"
    return Diagnostic("E0809", title, span, f"this is {holds(seen)}", help, fix=fix)


def impossible_value(span: Span, column: str, text: str, help: str) -> Diagnostic:
    """Reports a value that its column cannot hold."""
    return Diagnostic("E0810", f"{text} is no value of `{column}`", span, "cannot be", help)


def not_written_out(span: Span) -> Diagnostic:
    """Reports an expression where a test needs a written value."""
    help = "write the value itself, as in `3`, `20%`, `10 days`, `2014-01-31` or `true`; a moment may be `10 days ago`"
    return Diagnostic("E0811", "a test states values, it does not compute", span, "not a written value", help)


def unquoted_value(span: Span, word: str, near: str | None, quoted: bool) -> Diagnostic:
    """Reports a word that is not a value: a text without quotes, or an unknown name."""
    fix = near or (f'"{word}"' if quoted else None)
    if near is not None:
        help = f"did you mean `{near}`?"
    elif quoted:
        help = f"texts stand in quotes: write `{fix}`"
    else:
        help = "write the value itself, or name a `param`"
    return Diagnostic("E0812", f"`{word}` is not a value", span, "not defined", help, fix=fix)


def same_moment(span: Span, name: str, age: str, published: str) -> Diagnostic:
    """Reports an age stated beside the date that it is computed from."""
    title = f"`{age}` and `{published}` state the same moment"
    label = f"`{age}` is the time since `{published}`"
    return Diagnostic("E0813", title, span, label, f"keep one of the two: leave `{name}` out")


def repeated_item(span: Span, id: str) -> Diagnostic:
    """Reports an item that stands twice in one slate."""
    help = "a repeated item is never shown a second time: write `hole` in its place"
    return Diagnostic("E0814", f'the item "{id}" stands twice in the slate', span, "stands here again", help)


def two_values(span: Span, id: str, column: str, line: int) -> Diagnostic:
    """Reports an item that is stated with two values of one column."""
    title = f'the item "{id}" is stated with two values of `{column}`'
    help = "items of one `id` are one item: state each column once, or give one of them another `id`"
    return Diagnostic("E0815", title, span, f"another value on line {line}", help)


# ---- what is expected -----------------------------------------------------------------------------------------------


def nothing_expected(span: Span, what: str) -> Diagnostic:
    """Reports a test or a case without an expectation."""
    help = "say what holds, as in `expect RULE = 1`, `expect QUOTA is satisfied` or `expect slate is blocked`"
    return Diagnostic("E0816", f"this {what} expects nothing", span, "nothing to check", help)


def no_slate(span: Span) -> Diagnostic:
    """Reports an expectation that has no slate to look at."""
    help = "give one above it, as in `slate [ {...}, {...} ]`; a case sees those of its test and its own"
    return Diagnostic("E0817", "there is no slate to expect this of", span, "needs a slate", help)


def which_slate(span: Span, subject: str, names: Sequence[str]) -> Diagnostic:
    """Reports an expectation that does not name its slate where it must."""
    fix = f"{subject} of {names[0]}"
    label = f"the slates are {listed(names, 12, ', ')}" if len(names) > 1 else f"the only slate is `{names[0]}`"
    return Diagnostic("E0818", "of which slate?", span, label, f"write `expect {fix} ...`", fix=fix)


def unknown_slate(span: Span, name: str, near: str | None, known: Sequence[str], unnamed: bool) -> Diagnostic:
    """Reports the name of a slate that the test does not have."""
    if known:
        help = f"the slates with a name are {listed(known, 12, ', ')}"
    elif unnamed:
        help = f"the slate has no name: leave `of {name}` out"
    else:
        help = f"give it, as in `slate {name} [ {{...}}, {{...}} ]`"
    return unknown("E0819", f"no slate `{name}`", span, "not a slate of this test", near, help)


def slate_above_itself(span: Span, name: str) -> Diagnostic:
    """Reports a slate that is compared with itself."""
    return Diagnostic("E0820", f"`{name}` is compared with itself", span, "the same slate", "name two slates")


def unknown_rule(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports an expectation of a rule that the policy does not have."""
    help = f"the rules are {listed(known, 12, ', ')}" if known else "this policy has no rules"
    if name == "slate":
        help = "the whole list has no value to state: compare two slates, as in `expect better above worse`"
    return unknown("E0821", f"no rule `{name}`", span, "not a rule of this policy", near, help)


def not_a_rule(span: Span, name: str, kind: str) -> Diagnostic:
    """Reports an expectation of a statement that is not a rule."""
    help = "expect something of a rule that uses it"
    return Diagnostic("E0822", f"`{name}` is a `{kind}`, not a rule", span, "has no value of a slate", help)


def not_a_share(span: Span) -> Diagnostic:
    """Reports an expected value outside of 0 to 1."""
    help = "every rule is worth 0 to 1, whatever its weight: write a number such as `0.5`, or a percentage"
    return Diagnostic("E0824", "a rule's value is never this", span, "not between 0 and 1", help)


def no_value(span: Span, name: str, what: str, help: str) -> Diagnostic:
    """Reports an expectation of a thing that has no value for one slate."""
    return Diagnostic("E0825", f"{what} has no value of one slate", span, f"`{name}` is {what}", help)


def not_a_quota(span: Span, name: str, kind: str) -> Diagnostic:
    """Reports `is satisfied` about something other than a quota."""
    help = f"write `expect {name} is blocked`" if kind == "block" else f"write `expect {name} = VALUE`"
    return Diagnostic("E0826", "only a quota is satisfied or not", span, f"`{name}` is a {kind}", help)


def slate_as_block(span: Span, name: str) -> Diagnostic:
    """Reports the name of a slate where a block is expected."""
    fix = f"slate of {name}"
    return Diagnostic("E0827", f"`{name}` is a slate", span, "not a block", f"write `expect {fix} is ...`", fix=fix)


def not_a_block(span: Span, name: str, kind: str) -> Diagnostic:
    """Reports `is blocked` about something other than a slate or a block."""
    end = "is satisfied" if kind == "quota" else "= VALUE"
    help = f"write `expect {name} {end}`, or `expect slate is blocked`"
    return Diagnostic("E0828", "only a slate or a block is blocked", span, f"`{name}` is a {kind}", help)


def unknown_state(span: Span, state: str, near: str | None) -> Diagnostic:
    """Reports a state other than `satisfied` and `blocked`."""
    help = "a quota is `satisfied`, a slate or a block is `blocked`"
    return unknown("E0829", f"unknown state `{state}`", span, "not a state", near, help)


def holds(type: Type) -> str:
    """Returns how messages speak of the values in a column of `type`."""
    return {Type.BOOL: "true or false", Type.LIST: "a list of words"}.get(type, phrase(type))
