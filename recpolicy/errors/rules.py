"""Builds the findings E04xx: a rule, a branch or a header that cannot hold as written."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.span import Span


def not_a_measure(span: Span, help: str) -> Diagnostic:
    """Reports an expression where a measure of the slate is needed."""
    return Diagnostic("E0401", "a measure of the slate is needed here", span, "not a measure", help)


def needs_next_items(span: Span, measure: str) -> Diagnostic:
    """Reports a measure of relevance without `next_items`."""
    title = f"`{measure}` compares the slate with what the user took next"
    return Diagnostic("E0402", title, span, "expected `next_items`", f"write `{measure}(next_items)`")


def wrong_column(span: Span, what: str, seen: str, help: str) -> Diagnostic:
    """Reports a column of a type that the measure does not take."""
    return Diagnostic("E0403", f"{what} does not work on {seen}", span, f"this is {seen}", help)


def needs_column(span: Span, what: str, help: str) -> Diagnostic:
    """Reports an expression where an item column is needed."""
    return Diagnostic("E0404", f"{what} needs an item column", span, "not an item column", help)


def unbounded(span: Span, measure: str, write: str, cut: str) -> Diagnostic:
    """Reports a measure of a number that may leave 0 to 1."""
    help = f"scale and cut it, as in `{cut}` where 10 is the largest value that counts"
    title = f"`{measure}` of a number that may leave 0 to 1"
    label = "not known to lie between 0 and 1"
    return Diagnostic(
        "E0405", title, span, label, help if write == cut else f"write `{write}`, its rank among all; or {help}"
    )


def not_a_number(span: Span, measure: str, seen: str, write: str) -> Diagnostic:
    """Reports a measure of a value that is not a number."""
    return Diagnostic("E0406", f"`{measure}` needs a number", span, f"this is {seen}", f"write `{write}`")


def not_popularity(span: Span, column: str | None) -> Diagnostic:
    """Reports `novelty` of another column than the popularity."""
    help = f"write `novelty({column})`" if column is not None else "give a column of the schema the role `popularity`"
    return Diagnostic("E0407", "`novelty` needs the popularity column", span, "not the popularity column", help)


def no_missing_here(span: Span, measure: str) -> Diagnostic:
    """Reports `on missing` on a measure that takes none."""
    help = (
        "leave it out; it goes with `mean`, `discounted`, `distance`, `distinct`, `entropy`, `calibration` "
        "and `serendipity`"
    )
    return Diagnostic("E0408", f"`{measure}` takes no `on missing`", span, "has no effect here", help)


def bad_weight(span: Span, seen: str, help: str, fix: str | None) -> Diagnostic:
    """Reports a weight outside of 0 to 100."""
    return Diagnostic("E0409", f"{seen} is not a weight", span, "expected a number from 0 to 100", help, fix=fix)


def bad_limit(span: Span, slate: int | None) -> Diagnostic:
    """Reports a limit that is not a number of places."""
    most = f"1 to {slate}, the length of the slate" if slate is not None else "1 to the length of the slate"
    help = f"a limit is a whole number from {most}; or leave it out"
    return Diagnostic("E0410", "not a limit", span, "not a number of places", help)


def bad_amount(span: Span, help: str) -> Diagnostic:
    """Reports an amount that is neither a count nor a percentage."""
    return Diagnostic("E0411", "not an amount", span, "expected a count or a percentage", help)


def out_of_places(span: Span, amount: str, places: int, hold: str, label: str, more: str) -> Diagnostic:
    """Reports an amount that is larger than the number of places."""
    help = f"write a count from 1 to {places}, or {more}"
    return Diagnostic("E0412", f"{amount} is more than {hold}", span, label, help)


def always_met(span: Span, amount: str, help: str) -> Diagnostic:
    """Reports a quota that every slate meets."""
    return Diagnostic("E0413", f"`{amount}` is met by every slate", span, "asks for nothing", help)


def no_whole_place(span: Span, amount: str, places: int, write: str, more: str) -> Diagnostic:
    """Reports a percentage of the places that is less than one place."""
    help = f"write `{write}`, {more}, or write a `block` to allow none"
    return Diagnostic("E0414", f"`{amount}` of {places} places is not one place", span, "less than a whole place", help)


def nothing_between(span: Span, low: str, high: str, slate: int, help: str) -> Diagnostic:
    """Reports a `between` that no number of places meets."""
    title = f"no number of places lies between {low} and {high}"
    return Diagnostic("E0415", title, span, f"cannot be met in {slate} places", help)


def mixed_bounds(span: Span) -> Diagnostic:
    """Reports a `between` of a count and a percentage."""
    help = "write both as counts or both as percentages, as in `between 10% and 20%`"
    return Diagnostic("E0416", "`between` mixes a count and a percentage", span, "one count, one percentage", help)


def at_least_per(span: Span) -> Diagnostic:
    """Reports `at least` with `per`."""
    title = "`at least ... per` cannot be met: most values are not in the slate at all"
    help = "write `at most N per item.COLUMN`, or `at least N distinct item.COLUMN` for variety"
    return Diagnostic("E0417", title, span, "only `at most` goes with `per`", help)


def percent_of_values(span: Span, word: str, write: str) -> Diagnostic:
    """Reports a percentage where a count is needed."""
    title = f"`{word}` goes with a count, not a percentage"
    return Diagnostic("E0418", title, span, "a percentage", f"write a count, as in `{write}`")


def item_in_when(span: Span) -> Diagnostic:
    """Reports an item column in the condition of a `when`."""
    title = "`when` chooses users, so it cannot look at an item"
    help = "use `user` columns and `now`; put conditions on items into the rules inside"
    return Diagnostic("E0419", title, span, "uses an item column here", help)


def reweight_outside(span: Span, kind: str, name: str, value: str) -> Diagnostic:
    """Reports a rule outside of `when` that has only a weight."""
    help = "write `= ...` after the weight; only inside `when` a weight alone changes an earlier rule's"
    return Diagnostic("E0420", f"the {kind} `{name}` has a weight and nothing else", span, value, help)


def other_kind(span: Span, name: str, kind: str, written: str) -> Diagnostic:
    """Reports a new weight for a rule of another kind."""
    title = f"`{name}` is a {kind}, not a {written}"
    return Diagnostic("E0421", title, span, f"defined as a {kind}", f"write `{kind} {name} weight ...`")


def overlapping_branches(span: Span, kind: str, name: str, place: str) -> Diagnostic:
    """Reports two branches that may change one weight for the same user."""
    title = f"two branches may change the weight of `{name}` for the same user"
    help = (
        "make the conditions exclude each other, as `when a` and `when not a`, or `user.age < 30` and "
        f"`user.age >= 30`; or write `override {kind} {name} ...` to let this one hold where both are true"
    )
    return Diagnostic("E0422", title, span, f"already changed on {place}", help)


def inside_when(span: Span, what: str, help: str) -> Diagnostic:
    """Reports a statement inside `when` that must stand outside."""
    return Diagnostic("E0423", f"{what} inside `when`", span, "must stand outside of `when`", help)


def no_header(span: Span) -> Diagnostic:
    """Reports a file without a header."""
    help = 'start with `policy "NAME" { language = 1  data = "ml-100k"  slate = 10 }`'
    return Diagnostic("E0424", "the file has no header", span, "expected `policy`", help)


def setting_missing(span: Span, key: str, write: str) -> Diagnostic:
    """Reports a setting that the header must have."""
    return Diagnostic("E0425", f"the header does not set `{key}`", span, f"no `{key}` in this header", f"add `{write}`")


def bad_setting(span: Span, key: str, help: str) -> Diagnostic:
    """Reports a setting with a value that cannot be used."""
    return Diagnostic("E0426", f"not a value of `{key}`", span, "cannot be used", help)


def no_weight_at_all(span: Span) -> Diagnostic:
    """Reports a policy without any weight above 0."""
    help = "add a rule, as in `reward relevance weight 1 = ndcg(next_items)`"
    return Diagnostic("E0427", "no rule of this policy has a weight above 0", span, "nothing to train for", help)


def two_sources(span: Span, keys: Sequence[str]) -> Diagnostic:
    """Reports a header with both `data` and `schema`."""
    title = f"the header sets both {' and '.join(f'`{k}`' for k in keys)}"
    return Diagnostic("E0428", title, span, "a second source of columns", "keep one: `data` brings its schema along")


def bad_ramp(span: Span, seen: str, write: str) -> Diagnostic:
    """Reports an `over` that is not a share of training."""
    label = "expected a percentage above 0% and up to 100%"
    return Diagnostic("E0429", f"`{seen}` is no part of training", span, label, f"write `over {write} of training`")


def bad_window(span: Span, seen: str, slate: int | None) -> Diagnostic:
    """Reports a window that is not a number of places."""
    most = f"1 to {slate}, the length of the slate" if slate is not None else "1 to the length of the slate"
    title = f"a quota cannot look at {seen} places"
    return Diagnostic("E0430", title, span, "not a number of places", f"write a whole number from {most}")


def whole_slate(span: Span, window: str, slate: int) -> Diagnostic:
    """Reports a window that covers the whole slate."""
    help = "leave it out: a quota looks at the whole slate by itself"
    return Diagnostic("E0431", f"`{window}` is the whole slate", span, f"all {slate} places", help, fix="")


def population_as_reward(span: Span, measure: str, text: str) -> Diagnostic:
    """Reports a reward whose measure looks at all users together."""
    bound = "<= 10%" if measure != "coverage" else ">= 20%"
    title = f"`{measure}` looks at the slates of all users together, so no single slate can earn it"
    help = f"make it a target: `target NAME = {text} {bound}`"
    return Diagnostic("E0432", title, span, "not a measure of one slate", help)


def hard_has_no_weight(span: Span, name: str, place: str) -> Diagnostic:
    """Reports a new weight for a hard quota."""
    title = f"the quota `{name}` is hard and has no weight to change"
    help = f"leave the line out; to make it soft, write `override quota {name} weight W = ...` with its demand"
    return Diagnostic("E0433", title, span, f"`hard` on {place}", help)


def weight_again(span: Span, name: str, place: str, write: str) -> Diagnostic:
    """Reports a second weight for a rule outside of `when`."""
    help = f"to change it for everybody, write `{write}`; for some users, put the line into a `when`"
    return Diagnostic("E0434", f"`{name}` has a weight already", span, f"defined on {place}", help)
