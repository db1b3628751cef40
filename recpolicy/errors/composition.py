"""E05xx: files that use each other, overrides, params, the days on which rules hold, and targets."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.span import Span


def no_such_file(span: Span, path: str, near: str | None) -> Diagnostic:
    help = (
        f'did you mean "{near}"?' if near else "give the path of a .policy file, starting from the folder of this one"
    )
    fix = f'"{near}"' if near else None
    return Diagnostic("E0501", f"no policy file `{path}`", span, "no such file", help, fix=fix)


def circle(span: Span, files: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        "E0502",
        "policy files use each other in a circle",
        span,
        " uses ".join(files),
        "move what they share into a file of its own that both use",
    )


def outside(span: Span, path: str) -> Diagnostic:
    return Diagnostic(
        "E0503",
        f"`{path}` lies outside the folder of the policy",
        span,
        "outside the policy's folder",
        "a policy uses files of its own folder and the folders in it: put the file there",
    )


def unusable_file(span: Span, path: str, reason: str, help: str) -> Diagnostic:
    return Diagnostic("E0504", f"`{path}` cannot be used: {reason}", span, "named here", help or "give another file")


def overrides_nothing(span: Span, kind: str, name: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near else "leave out `override`, or put it behind what it is to override"
    return Diagnostic("E0505", f"no {kind} `{name}` to override", span, "not defined before", help, fix=near)


def overrides_other_kind(span: Span, name: str, kind: str, written: str) -> Diagnostic:
    return Diagnostic(
        "E0506",
        f"`{name}` is a {kind}, not a {written}",
        span,
        f"defined as a {kind}",
        f"write `override {kind} {name} ...`, or give the {written} a name of its own",
    )


def not_a_literal(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0507",
        "a `param` is a written value",
        span,
        "not a written value",
        f"write a number, a percentage, a duration, a date, a word or `true`; or define `let {name} = ...`",
    )


def let_as_literal(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0508",
        f"`{name}` is a `let`, and a written value is needed here",
        span,
        "not a written value",
        f"write the value itself, or define it as `param {name} = ...`",
    )


def not_a_day(span: Span, word: str, day: str | None) -> Diagnostic:
    help = f"write the date without quotes: `{word} {day}`" if day else f"write a date, as in `{word} 2026-01-31`"
    return Diagnostic("E0509", f"`{word}` needs a date", span, "not a date", help, fix=day)


def clause_twice(span: Span, word: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0510", f"`{word}` is written twice", span, f"already written on line {line}", "keep one of the two"
    )


def never_holds(span: Span, name: str, start: str, end: str) -> Diagnostic:
    return Diagnostic(
        "E0511",
        f"`{name}` ends before it starts",
        span,
        f"starts on {start}",
        f"write `from {end} until {start}`, or give it a later end",
    )


def expired(span: Span, name: str, end: str) -> Diagnostic:
    return Diagnostic(
        "E0512",
        f"`{name}` has expired",
        span,
        f"ended on {end}",
        f"take it out, or give it a later `until`; to look at an earlier day, use `--as-of {end}`",
    )


def not_a_metric(span: Span, name: str, what: str, help: str) -> Diagnostic:
    return Diagnostic(
        "E0513", f"a target looks at a rule or a measure, and `{name}` is {what}", span, f"this is {what}", help
    )


def bad_bound(span: Span, seen: str, write: str | None) -> Diagnostic:
    help = f"write `{write}`" if write else "write a percentage or a number, as in `>= 20%` or `>= 0.2`"
    return Diagnostic(
        "E0514", f"`{seen}` is no bound of a target", span, "expected a value from 0% to 100%", help, fix=write
    )


def bad_share_of_baseline(span: Span, seen: str, write: str | None) -> Diagnostic:
    return Diagnostic(
        "E0515",
        f"`{seen}` is no share of the baseline",
        span,
        "expected a percentage above 0% and up to 1000%",
        f"write `{write or '97%'} of baseline`",
        fix=write,
    )


def strict_bound(span: Span, seen: str, write: str) -> Diagnostic:
    return Diagnostic(
        "E0516",
        f"a target takes `>=` or `<=`, not `{seen}`",
        span,
        "a bound counts as met",
        f"write `{write}`",
        fix=write,
    )


def bound_first(span: Span, write: str) -> Diagnostic:
    return Diagnostic(
        "E0517",
        "a target starts with what it measures",
        span,
        "the bound stands first",
        f"write `{write}`",
        fix=write,
    )


def contradictory_targets(span: Span, name: str, other: str, place: str, note: Note) -> Diagnostic:
    return Diagnostic(
        "E0518",
        f"the targets `{other}` and `{name}` cannot both be met",
        span,
        f"contradicts `{other}` on {place}",
        "move one of the two bounds, or leave one target out",
        (note,),
    )


def population_in_when(span: Span, measure: str) -> Diagnostic:
    return Diagnostic(
        "E0519",
        f"`{measure}` looks at the slates of all users together",
        span,
        "inside `when`",
        "move the target in front of the `when`",
    )


def dormant_metric(span: Span, name: str, since: str) -> Diagnostic:
    return Diagnostic(
        "E0520",
        f"`{name}` holds only from {since} on",
        span,
        "does not hold yet",
        f"give the target the same `from {since}`, or take it out until then",
    )
