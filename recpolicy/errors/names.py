"""E02xx: a name that means nothing, means something else, or is taken."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic
from recpolicy.span import Span


def unknown_column(span: Span, table: str, name: str, near: str | None, known: Sequence[str], data: str) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{_column(table, near)}`?"
    elif known:
        help = f"{table} columns are {_listed(known)}"
    else:
        help = f"this data has no {table} columns"
    return Diagnostic("E0201", f"no {table} column `{name}`", span, f"not a column of {data}", help)


def other_table(span: Span, table: str, other: str, name: str) -> Diagnostic:
    return Diagnostic(
        "E0202",
        f"`{name}` is no column of `{table}`",
        span,
        f"a column of `{other}`",
        f"write `{_column(other, name)}`",
    )


def unknown_name(span: Span, name: str, near: str | None) -> Diagnostic:
    help = (
        f"did you mean `{near}`?"
        if near is not None
        else f"define it first with `let {name} = ...`; columns are written `item.NAME` or `user.NAME`"
    )
    return Diagnostic("E0203", f"unknown name `{name}`", span, "not defined", help)


def bare_column(span: Span, name: str, columns: Sequence[str]) -> Diagnostic:
    help = f"write {' or '.join(f'`{c}`' for c in columns)}"
    return Diagnostic("E0204", f"column `{name}` without its table", span, "needs its table", help)


def bare_table(span: Span, table: str) -> Diagnostic:
    return Diagnostic(
        "E0205", f"`{table}` is not a value", span, "no column named", f"name a column, as in `{table}.age`"
    )


def unquoted_word(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0206", f"unknown name `{name}`", span, "not defined", f'to compare with a text, write `"{name}"`'
    )


def used_too_early(span: Span, name: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0207", f"`{name}` is used before its `let`", span, f"defined on line {line}", "move the `let` above this line"
    )


def refers_to_itself(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0208",
        f"`{name}` is defined by itself",
        span,
        "the name being defined",
        "a `let` uses columns and earlier `let`s",
    )


def rule_as_value(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0209",
        f"`{name}` is a rule, not a value",
        span,
        "a rule's name",
        "give the rule's condition a name with `let` and use that in both places",
    )


def unknown_function(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"functions are {_listed(known)}"
    return Diagnostic("E0210", f"unknown function `{name}`", span, "not a function", help)


def unknown_measure(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"measures are {_listed(known)}"
    return Diagnostic("E0211", f"unknown measure `{name}`", span, "not a measure", help)


def unknown_unit(span: Span, unit: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"units are {_listed(known)}"
    return Diagnostic("E0212", f"unknown unit `{unit}`", span, "not a unit of time", help)


def defined_twice(span: Span, name: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0213",
        f"the name `{name}` is taken",
        span,
        f"already defined on line {line}",
        "give one of the two another name",
    )


def unknown_rule(span: Span, kind: str, name: str, near: str | None) -> Diagnostic:
    help = (
        f"did you mean `{near}`?"
        if near is not None
        else f"a rule outside `when` is re-weighted by its name; a new one is written `{kind} {name} weight W = ...`"
    )
    return Diagnostic("E0214", f"no rule `{name}` to re-weight", span, "not a rule outside `when`", help)


def unknown_setting(span: Span, key: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"settings are {_listed(known)}"
    return Diagnostic("E0215", f"unknown setting `{key}`", span, "not a setting", help)


def setting_twice(span: Span, key: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0216", f"`{key}` is set twice", span, f"already set on line {line}", "keep one of the two lines"
    )


def unknown_choice(span: Span, choice: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else "write `on missing mean`, `zero` or `fail`"
    return Diagnostic("E0217", f"unknown choice `{choice}`", span, "not a way to treat missing values", help)


def unknown_data(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f'did you mean "{near}"?' if near is not None else f"give a folder, or one of {_listed(known)}"
    return Diagnostic("E0218", f'no data set "{name}"', span, "neither a known data set nor a folder", help)


def no_schema_file(span: Span, path: str) -> Diagnostic:
    help = "give the path of a schema.toml, starting from the folder of this policy"
    return Diagnostic("E0221", f"no schema file `{path}`", span, "no such file", help)


def unusable_schema(span: Span, message: str, where: str, help: str) -> Diagnostic:
    label = f"in {where}" if where else "named here"
    return Diagnostic("E0219", f"the schema cannot be used: {message}", span, label, help or "mend the schema file")


def not_yet_function(span: Span, name: str, help: str) -> Diagnostic:
    return Diagnostic("E0220", f"`{name}` is not yet in this version of the language", span, "a later version", help)


def _column(table: str, name: str) -> str:
    return f"{table}.{name}" if name.isidentifier() else f"{table}.`{name}`"


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = [f"`{n}`" for n in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
