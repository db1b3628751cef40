"""E04xx: a rule, a branch or a header that cannot hold as written."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.span import Span


def not_a_measure(span: Span, help: str) -> Diagnostic:
    return Diagnostic("E0401", "a measure of the slate is needed here", span, "not a measure", help)


def needs_next_items(span: Span, measure: str) -> Diagnostic:
    return Diagnostic(
        "E0402",
        f"`{measure}` compares the slate with what the user took next",
        span,
        "expected `next_items`",
        f"write `{measure}(next_items)`",
    )


def wrong_column(span: Span, what: str, seen: str, help: str) -> Diagnostic:
    return Diagnostic("E0403", f"{what} does not work on {seen}", span, f"this is {seen}", help)


def needs_column(span: Span, what: str, help: str) -> Diagnostic:
    return Diagnostic("E0404", f"{what} needs an item column", span, "not an item column", help)


def unbounded(span: Span, measure: str, write: str, cut: str) -> Diagnostic:
    help = f"scale and cut it, as in `{cut}` where 10 is the largest value that counts"
    return Diagnostic(
        "E0405",
        f"`{measure}` of a number that may leave 0 to 1",
        span,
        "not known to lie between 0 and 1",
        help if write == cut else f"write `{write}`, its rank among all; or {help}",
    )


def not_a_number(span: Span, measure: str, seen: str, write: str) -> Diagnostic:
    return Diagnostic("E0406", f"`{measure}` needs a number", span, f"this is {seen}", f"write `{write}`")


def not_popularity(span: Span, column: str | None) -> Diagnostic:
    help = f"write `novelty({column})`" if column is not None else "give a column of the schema the role `popularity`"
    return Diagnostic("E0407", "`novelty` needs the popularity column", span, "not the popularity column", help)


def no_missing_here(span: Span, measure: str) -> Diagnostic:
    return Diagnostic(
        "E0408",
        f"`{measure}` takes no `on missing`",
        span,
        "has no effect here",
        "leave it out; it goes with `mean`, `discounted`, `distance`, `distinct`, `entropy`, `calibration` "
        "and `serendipity`",
    )


def bad_weight(span: Span, seen: str, help: str, fix: str | None) -> Diagnostic:
    return Diagnostic("E0409", f"{seen} is not a weight", span, "expected a number from 0 to 100", help, fix=fix)


def bad_limit(span: Span, slate: int | None) -> Diagnostic:
    most = f"1 to {slate}, the length of the slate" if slate is not None else "1 to the length of the slate"
    return Diagnostic(
        "E0410",
        "not a limit",
        span,
        "not a number of places",
        f"a limit is a whole number from {most}; or leave it out",
    )


def bad_amount(span: Span, help: str) -> Diagnostic:
    return Diagnostic("E0411", "not an amount", span, "expected a count or a percentage", help)


def out_of_places(span: Span, amount: str, places: int, hold: str, label: str, more: str) -> Diagnostic:
    return Diagnostic(
        "E0412",
        f"{amount} is more than {hold}",
        span,
        label,
        f"write a count from 1 to {places}, or {more}",
    )


def always_met(span: Span, amount: str, help: str) -> Diagnostic:
    return Diagnostic("E0413", f"`{amount}` is met by every slate", span, "asks for nothing", help)


def no_whole_place(span: Span, amount: str, places: int, write: str, more: str) -> Diagnostic:
    return Diagnostic(
        "E0414",
        f"`{amount}` of {places} places is not one place",
        span,
        "less than a whole place",
        f"write `{write}`, {more}, or write a `block` to allow none",
    )


def nothing_between(span: Span, low: str, high: str, slate: int, help: str) -> Diagnostic:
    return Diagnostic(
        "E0415",
        f"no number of places lies between {low} and {high}",
        span,
        f"cannot be met in {slate} places",
        help,
    )


def mixed_bounds(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0416",
        "`between` mixes a count and a percentage",
        span,
        "one count, one percentage",
        "write both as counts or both as percentages, as in `between 10% and 20%`",
    )


def at_least_per(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0417",
        "`at least ... per` cannot be met: most values are not in the slate at all",
        span,
        "only `at most` goes with `per`",
        "write `at most N per item.COLUMN`, or `at least N distinct item.COLUMN` for variety",
    )


def percent_of_values(span: Span, word: str, write: str) -> Diagnostic:
    return Diagnostic(
        "E0418",
        f"`{word}` goes with a count, not a percentage",
        span,
        "a percentage",
        f"write a count, as in `{write}`",
    )


def item_in_when(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0419",
        "`when` chooses users, so it cannot look at an item",
        span,
        "uses an item column here",
        "use `user` columns and `now`; put conditions on items into the rules inside",
    )


def reweight_outside(span: Span, kind: str, name: str, value: str) -> Diagnostic:
    return Diagnostic(
        "E0420",
        f"the {kind} `{name}` has a weight and nothing else",
        span,
        value,
        "write `= ...` after the weight; only inside `when` a weight alone changes an earlier rule's",
    )


def other_kind(span: Span, name: str, kind: str, written: str) -> Diagnostic:
    return Diagnostic(
        "E0421",
        f"`{name}` is a {kind}, not a {written}",
        span,
        f"defined as a {kind}",
        f"write `{kind} {name} weight ...`",
    )


def overlapping_branches(span: Span, kind: str, name: str, place: str) -> Diagnostic:
    return Diagnostic(
        "E0422",
        f"two branches may change the weight of `{name}` for the same user",
        span,
        f"already changed on {place}",
        "make the conditions exclude each other, as `when a` and `when not a`, or `user.age < 30` and "
        f"`user.age >= 30`; or write `override {kind} {name} ...` to let this one hold where both are true",
    )


def inside_when(span: Span, what: str, help: str) -> Diagnostic:
    return Diagnostic("E0423", f"{what} inside `when`", span, "must stand outside of `when`", help)


def no_header(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0424",
        "the file has no header",
        span,
        "expected `policy`",
        'start with `policy "NAME" { language = 1  data = "ml-100k"  slate = 10 }`',
    )


def setting_missing(span: Span, key: str, write: str) -> Diagnostic:
    return Diagnostic("E0425", f"the header does not set `{key}`", span, f"no `{key}` in this header", f"add `{write}`")


def bad_setting(span: Span, key: str, help: str) -> Diagnostic:
    return Diagnostic("E0426", f"not a value of `{key}`", span, "cannot be used", help)


def no_weight_at_all(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0427",
        "no rule of this policy has a weight above 0",
        span,
        "nothing to train for",
        "add a rule, as in `reward relevance weight 1 = ndcg(next_items)`",
    )


def two_sources(span: Span, keys: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        "E0428",
        f"the header sets both {' and '.join(f'`{k}`' for k in keys)}",
        span,
        "a second source of columns",
        "keep one: `data` brings its schema along",
    )


def bad_ramp(span: Span, seen: str, write: str) -> Diagnostic:
    return Diagnostic(
        "E0429",
        f"`{seen}` is no part of training",
        span,
        "expected a percentage above 0% and up to 100%",
        f"write `over {write} of training`",
    )


def bad_window(span: Span, seen: str, slate: int | None) -> Diagnostic:
    most = f"1 to {slate}, the length of the slate" if slate is not None else "1 to the length of the slate"
    title = f"a quota cannot look at {seen} places"
    return Diagnostic("E0430", title, span, "not a number of places", f"write a whole number from {most}")


def whole_slate(span: Span, window: str, slate: int) -> Diagnostic:
    return Diagnostic(
        "E0431",
        f"`{window}` is the whole slate",
        span,
        f"all {slate} places",
        "leave it out: a quota looks at the whole slate by itself",
        fix="",
    )


def population_as_reward(span: Span, measure: str, text: str) -> Diagnostic:
    bound = "<= 10%" if measure != "coverage" else ">= 20%"
    return Diagnostic(
        "E0432",
        f"`{measure}` looks at the slates of all users together, so no single slate can earn it",
        span,
        "not a measure of one slate",
        f"make it a target: `target NAME = {text} {bound}`",
    )


def hard_has_no_weight(span: Span, name: str, place: str) -> Diagnostic:
    return Diagnostic(
        "E0433",
        f"the quota `{name}` is hard and has no weight to change",
        span,
        f"`hard` on {place}",
        f"leave the line out; to make it soft, write `override quota {name} weight W = ...` with its demand",
    )


def weight_again(span: Span, name: str, place: str, write: str) -> Diagnostic:
    return Diagnostic(
        "E0434",
        f"`{name}` has a weight already",
        span,
        f"defined on {place}",
        f"to change it for everybody, write `{write}`; for some users, put the line into a `when`",
    )
