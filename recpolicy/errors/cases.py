"""E08xx: a `test` block that gives or expects what cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.errors.types import phrase
from recpolicy.span import Span
from recpolicy.types import Type

# ---- what is given --------------------------------------------------------------------------------------------------


def unknown_part(span: Span, word: str, near: str | None) -> Diagnostic:
    help = (
        f"did you mean `{near}`?"
        if near is not None
        else "a test gives `user {...}`, `now DATE`, `history [...]`, `next_items [...]` and `slate [...]`"
    )
    return Diagnostic("E0801", f"`{word}` is no part of a test", span, "not known here", help, fix=near)


def wrong_part(span: Span, part: str, seen: str, write: str) -> Diagnostic:
    return Diagnostic("E0802", f"`{part}` is not {seen}", span, f"this is {seen}", f"write `{write}`")


def part_named(span: Span, part: str) -> Diagnostic:
    return Diagnostic(
        "E0803",
        f"`{part}` takes no name",
        span,
        "only a slate has a name",
        f"leave the name out; for another {part}, write another `case`",
    )


def given_twice(span: Span, part: str, line: int) -> Diagnostic:
    help = (
        "give each further slate a name, as in `slate better [...]`"
        if part == "slate"
        else "give one of the two another name"
        if part.startswith("slate ")
        else "keep one of the two, or put each into a `case` of its own"
    )
    return Diagnostic("E0804", f"`{part}` is given twice", span, f"already given on line {line}", help)


def slate_length(span: Span, places: int, most: int) -> Diagnostic:
    return Diagnostic(
        "E0805",
        f"a slate of {places} places",
        span,
        "no places" if places == 0 else "too long",
        f"state 1 to {most} items; `{{}}` is an item about which nothing is known, `hole` an empty place",
    )


def hole_outside(span: Span, part: str) -> Diagnostic:
    return Diagnostic(
        "E0806", f"a `hole` in `{part}`", span, "only a slate has places", "leave it out, or state an item `{...}`"
    )


def unknown_column(
    span: Span, table: str, name: str, near: str | None, known: Sequence[str], other: str | None
) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{near}`?"
    elif other is not None:
        help = f"`{name}` is a column of `{other}`: state it there"
    else:
        help = f"{table} columns are {_listed(known)}" if known else f"this data has no {table} columns"
    fix = None if near is None else near if near.isidentifier() else f'"{near}"'
    return Diagnostic("E0807", f"no {table} column `{name}`", span, "not a column", help, fix=fix)


def column_twice(span: Span, name: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0808", f"`{name}` is stated twice", span, f"already stated on line {line}", "keep one of the two"
    )


def wrong_value(span: Span, column: str, wanted: Type, seen: Type, help: str, fix: str | None) -> Diagnostic:
    return Diagnostic(
        "E0809",
        f"`{column}` holds {holds(wanted)}, not {holds(seen)}",
        span,
        f"this is {holds(seen)}",
        help,
        fix=fix,
    )


def impossible_value(span: Span, column: str, text: str, help: str) -> Diagnostic:
    return Diagnostic("E0810", f"{text} is no value of `{column}`", span, "cannot be", help)


def not_written_out(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0811",
        "a test states values, it does not compute",
        span,
        "not a written value",
        "write the value itself, as in `3`, `20%`, `10 days`, `2014-01-31` or `true`; a moment may be `10 days ago`",
    )


def unquoted_value(span: Span, word: str, near: str | None, quoted: bool) -> Diagnostic:
    fix = near or (f'"{word}"' if quoted else None)
    if near is not None:
        help = f"did you mean `{near}`?"
    elif quoted:
        help = f"texts stand in quotes: write `{fix}`"
    else:
        help = "write the value itself, or name a `param`"
    return Diagnostic("E0812", f"`{word}` is not a value", span, "not defined", help, fix=fix)


def same_moment(span: Span, name: str, age: str, published: str) -> Diagnostic:
    return Diagnostic(
        "E0813",
        f"`{age}` and `{published}` state the same moment",
        span,
        f"`{age}` is the time since `{published}`",
        f"keep one of the two: leave `{name}` out",
    )


def repeated_item(span: Span, id: str) -> Diagnostic:
    return Diagnostic(
        "E0814",
        f'the item "{id}" stands twice in the slate',
        span,
        "stands here again",
        "a repeated item is never shown a second time: write `hole` in its place",
    )


def two_values(span: Span, id: str, column: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0815",
        f'the item "{id}" is stated with two values of `{column}`',
        span,
        f"another value on line {line}",
        "items of one `id` are one item: state each column once, or give one of them another `id`",
    )


# ---- what is expected -----------------------------------------------------------------------------------------------


def nothing_expected(span: Span, what: str) -> Diagnostic:
    return Diagnostic(
        "E0816",
        f"this {what} expects nothing",
        span,
        "nothing to check",
        "say what holds, as in `expect RULE = 1`, `expect QUOTA is satisfied` or `expect slate is blocked`",
    )


def no_slate(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0817",
        "there is no slate to expect this of",
        span,
        "needs a slate",
        "give one above it, as in `slate [ {...}, {...} ]`; a case sees those of its test and its own",
    )


def which_slate(span: Span, subject: str, names: Sequence[str]) -> Diagnostic:
    fix = f"{subject} of {names[0]}"
    return Diagnostic(
        "E0818",
        "of which slate?",
        span,
        f"the slates are {_listed(names)}" if len(names) > 1 else f"the only slate is `{names[0]}`",
        f"write `expect {fix} ...`",
        fix=fix,
    )


def unknown_slate(span: Span, name: str, near: str | None, known: Sequence[str], unnamed: bool) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{near}`?"
    elif known:
        help = f"the slates with a name are {_listed(known)}"
    elif unnamed:
        help = f"the slate has no name: leave `of {name}` out"
    else:
        help = f"give it, as in `slate {name} [ {{...}}, {{...}} ]`"
    return Diagnostic("E0819", f"no slate `{name}`", span, "not a slate of this test", help, fix=near)


def slate_above_itself(span: Span, name: str) -> Diagnostic:
    return Diagnostic("E0820", f"`{name}` is compared with itself", span, "the same slate", "name two slates")


def unknown_rule(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{near}`?"
    elif name == "slate":
        help = "the whole list has no value to state: compare two slates, as in `expect better above worse`"
    else:
        help = f"the rules are {_listed(known)}" if known else "this policy has no rules"
    return Diagnostic("E0821", f"no rule `{name}`", span, "not a rule of this policy", help, fix=near)


def not_a_rule(span: Span, name: str, kind: str) -> Diagnostic:
    return Diagnostic(
        "E0822",
        f"`{name}` is a `{kind}`, not a rule",
        span,
        "has no value of a slate",
        "expect something of a rule that uses it",
    )


def not_a_share(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0824",
        "a rule's value is never this",
        span,
        "not between 0 and 1",
        "every rule is worth 0 to 1, whatever its weight: write a number such as `0.5`, or a percentage",
    )


def no_value(span: Span, name: str, what: str, help: str) -> Diagnostic:
    return Diagnostic("E0825", f"{what} has no value of one slate", span, f"`{name}` is {what}", help)


def not_a_quota(span: Span, name: str, kind: str) -> Diagnostic:
    help = f"write `expect {name} is blocked`" if kind == "block" else f"write `expect {name} = VALUE`"
    return Diagnostic("E0826", "only a quota is satisfied or not", span, f"`{name}` is a {kind}", help)


def slate_as_block(span: Span, name: str) -> Diagnostic:
    fix = f"slate of {name}"
    return Diagnostic("E0827", f"`{name}` is a slate", span, "not a block", f"write `expect {fix} is ...`", fix=fix)


def not_a_block(span: Span, name: str, kind: str) -> Diagnostic:
    end = "is satisfied" if kind == "quota" else "= VALUE"
    help = f"write `expect {name} {end}`, or `expect slate is blocked`"
    return Diagnostic("E0828", "only a slate or a block is blocked", span, f"`{name}` is a {kind}", help)


def unknown_state(span: Span, state: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else "a quota is `satisfied`, a slate or a block is `blocked`"
    return Diagnostic("E0829", f"unknown state `{state}`", span, "not a state", help, fix=near)


def holds(type: Type) -> str:
    """How messages speak of what a column of `type` holds."""
    return {Type.BOOL: "true or false", Type.LIST: "a list of words"}.get(type, phrase(type))


def _listed(names: Sequence[str], most: int = 12) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
