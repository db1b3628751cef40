"""Builds the findings E05xx: files that use each other, overrides, params, days of rules, and targets."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors.words import unknown
from recpolicy.span import Span


def no_such_file(span: Span, path: str, near: str | None) -> Diagnostic:
    """Reports a used policy file that does not exist."""
    help, fix = "give the path of a .policy file, starting from the folder of this one", None
    if near:
        help, fix = f'did you mean "{near}"?', f'"{near}"'
    return Diagnostic("E0501", f"no policy file `{path}`", span, "no such file", help, fix=fix)


def circle(span: Span, files: Sequence[str]) -> Diagnostic:
    """Reports policy files that use each other in a circle."""
    help = "move what they share into a file of its own that both use"
    return Diagnostic("E0502", "policy files use each other in a circle", span, " uses ".join(files), help)


def outside(span: Span, path: str) -> Diagnostic:
    """Reports a used file outside of the policy's folder."""
    title = f"`{path}` lies outside the folder of the policy"
    help = "a policy uses files of its own folder and the folders in it: put the file there"
    return Diagnostic("E0503", title, span, "outside the policy's folder", help)


def unusable_file(span: Span, path: str, reason: str, help: str) -> Diagnostic:
    """Reports a used file that cannot be read."""
    return Diagnostic("E0504", f"`{path}` cannot be used: {reason}", span, "named here", help or "give another file")


def overrides_nothing(span: Span, kind: str, name: str, near: str | None) -> Diagnostic:
    """Reports an `override` of a statement that does not exist."""
    help = "leave out `override`, or put it behind what it is to override"
    return unknown("E0505", f"no {kind} `{name}` to override", span, "not defined before", near, help)


def overrides_other_kind(span: Span, name: str, kind: str, written: str) -> Diagnostic:
    """Reports an `override` of a statement of another kind."""
    help = f"write `override {kind} {name} ...`, or give the {written} a name of its own"
    return Diagnostic("E0506", f"`{name}` is a {kind}, not a {written}", span, f"defined as a {kind}", help)


def not_a_literal(span: Span, name: str) -> Diagnostic:
    """Reports a `param` that is not a written value."""
    help = f"write a number, a percentage, a duration, a date, a word or `true`; or define `let {name} = ...`"
    return Diagnostic("E0507", "a `param` is a written value", span, "not a written value", help)


def let_as_literal(span: Span, name: str) -> Diagnostic:
    """Reports a `let` where a written value is needed."""
    title = f"`{name}` is a `let`, and a written value is needed here"
    help = f"write the value itself, or define it as `param {name} = ...`"
    return Diagnostic("E0508", title, span, "not a written value", help)


def not_a_day(span: Span, word: str, day: str | None) -> Diagnostic:
    """Reports a `from` or `until` without a date."""
    help = f"write the date without quotes: `{word} {day}`" if day else f"write a date, as in `{word} 2026-01-31`"
    return Diagnostic("E0509", f"`{word}` needs a date", span, "not a date", help, fix=day)


def clause_twice(span: Span, word: str, line: int) -> Diagnostic:
    """Reports a clause that is written twice."""
    label = f"already written on line {line}"
    return Diagnostic("E0510", f"`{word}` is written twice", span, label, "keep one of the two")


def never_holds(span: Span, name: str, start: str, end: str) -> Diagnostic:
    """Reports a statement that ends before it starts."""
    help = f"write `from {end} until {start}`, or give it a later end"
    return Diagnostic("E0511", f"`{name}` ends before it starts", span, f"starts on {start}", help)


def expired(span: Span, name: str, end: str) -> Diagnostic:
    """Reports a statement that has ended."""
    help = f"take it out, or give it a later `until`; to look at an earlier day, use `--as-of {end}`"
    return Diagnostic("E0512", f"`{name}` has expired", span, f"ended on {end}", help)


def not_a_metric(span: Span, name: str, what: str, help: str) -> Diagnostic:
    """Reports a target for something other than a rule or a measure."""
    title = f"a target looks at a rule or a measure, and `{name}` is {what}"
    return Diagnostic("E0513", title, span, f"this is {what}", help)


def bad_bound(span: Span, seen: str, write: str | None) -> Diagnostic:
    """Reports a bound of a target outside of 0% to 100%."""
    help = f"write `{write}`" if write else "write a percentage or a number, as in `>= 20%` or `>= 0.2`"
    title = f"`{seen}` is no bound of a target"
    return Diagnostic("E0514", title, span, "expected a value from 0% to 100%", help, fix=write)


def bad_share_of_baseline(span: Span, seen: str, write: str | None) -> Diagnostic:
    """Reports a share of the baseline outside of its range."""
    title = f"`{seen}` is no share of the baseline"
    label = "expected a percentage above 0% and up to 1000%"
    return Diagnostic("E0515", title, span, label, f"write `{write or '97%'} of baseline`", fix=write)


def strict_bound(span: Span, seen: str, write: str) -> Diagnostic:
    """Reports a target with `>` or `<`."""
    title = f"a target takes `>=` or `<=`, not `{seen}`"
    return Diagnostic("E0516", title, span, "a bound counts as met", f"write `{write}`", fix=write)


def bound_first(span: Span, write: str) -> Diagnostic:
    """Reports a target whose bound stands before its measure."""
    title = "a target starts with what it measures"
    return Diagnostic("E0517", title, span, "the bound stands first", f"write `{write}`", fix=write)


def contradictory_targets(span: Span, name: str, other: str, place: str, note: Note) -> Diagnostic:
    """Reports two targets that cannot both be met."""
    title = f"the targets `{other}` and `{name}` cannot both be met"
    help = "move one of the two bounds, or leave one target out"
    return Diagnostic("E0518", title, span, f"contradicts `{other}` on {place}", help, (note,))


def population_in_when(span: Span, measure: str) -> Diagnostic:
    """Reports a target inside `when` whose measure looks at all users together."""
    title = f"`{measure}` looks at the slates of all users together"
    return Diagnostic("E0519", title, span, "inside `when`", "move the target in front of the `when`")


def dormant_metric(span: Span, name: str, since: str) -> Diagnostic:
    """Reports a target for a rule that does not hold yet."""
    help = f"give the target the same `from {since}`, or take it out until then"
    return Diagnostic("E0520", f"`{name}` holds only from {since} on", span, "does not hold yet", help)
