"""E02xx: a name that means nothing, means something else, or is taken."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.span import Span


def unknown_column(span: Span, table: str, name: str, near: str | None, known: Sequence[str], data: str) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{_column(table, near)}`?"
    elif known:
        help = f"{table} columns are {_listed(known)}"
    else:
        help = f"this data has no {table} columns"
    fix = None if near is None else _column(table, near)
    return Diagnostic("E0201", f"no {table} column `{name}`", span, f"not a column of {data}", help, fix=fix)


def other_table(span: Span, table: str, other: str, name: str) -> Diagnostic:
    return Diagnostic(
        "E0202",
        f"`{name}` is no column of `{table}`",
        span,
        f"a column of `{other}`",
        f"write `{_column(other, name)}`",
        fix=_column(other, name),
    )


def unknown_name(span: Span, name: str, near: str | None) -> Diagnostic:
    help = (
        f"did you mean `{near}`?"
        if near is not None
        else f"define it first with `let {name} = ...`; columns are written `item.NAME` or `user.NAME`"
    )
    return Diagnostic("E0203", f"unknown name `{name}`", span, "not defined", help, fix=near)


def bare_column(span: Span, name: str, columns: Sequence[str]) -> Diagnostic:
    help = f"write {' or '.join(f'`{c}`' for c in columns)}"
    fix = columns[0] if len(columns) == 1 else None
    return Diagnostic("E0204", f"column `{name}` without its table", span, "needs its table", help, fix=fix)


def bare_table(span: Span, table: str) -> Diagnostic:
    return Diagnostic(
        "E0205", f"`{table}` is not a value", span, "no column named", f"name a column, as in `{table}.age`"
    )


def unquoted_word(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "E0206",
        f"unknown name `{name}`",
        span,
        "not defined",
        f'to compare with a text, write `"{name}"`',
        fix=f'"{name}"',
    )


def used_too_early(span: Span, name: str, kind: str, place: str, instead: str | None) -> Diagnostic:
    """`instead` is the place of what the statement overrides, which is where its names must be known."""
    help = f"move the `{kind}` above this line"
    if instead is not None:
        help = f"an `override` stands in the place of {instead}: move the `{kind}` above that, or in front of its `use`"
    return Diagnostic("E0207", f"`{name}` is used before its `{kind}`", span, f"defined on {place}", help)


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
    return Diagnostic("E0210", f"unknown function `{name}`", span, "not a function", help, fix=near)


def unknown_measure(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"measures are {_listed(known)}"
    return Diagnostic("E0211", f"unknown measure `{name}`", span, "not a measure", help, fix=near)


def unknown_unit(span: Span, unit: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"units are {_listed(known)}"
    return Diagnostic("E0212", f"unknown unit `{unit}`", span, "not a unit of time", help, fix=near)


def defined_twice(span: Span, name: str, place: str, first: Note) -> Diagnostic:
    return Diagnostic(
        "E0213",
        f"the name `{name}` is taken",
        span,
        f"already defined on {place}",
        "give one of the two another name, or write `override` in front of this one to let it take the other's place",
        (first,),
    )


def unknown_rule(span: Span, kind: str, name: str, near: str | None) -> Diagnostic:
    help = (
        f"did you mean `{near}`?"
        if near is not None
        else f"a rule outside `when` is re-weighted by its name; a new one is written `{kind} {name} weight W = ...`"
    )
    return Diagnostic("E0214", f"no rule `{name}` to re-weight", span, "not a rule outside `when`", help, fix=near)


def unknown_setting(span: Span, key: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"settings are {_listed(known)}"
    return Diagnostic("E0215", f"unknown setting `{key}`", span, "not a setting", help, fix=near)


def setting_twice(span: Span, key: str, line: int) -> Diagnostic:
    return Diagnostic(
        "E0216", f"`{key}` is set twice", span, f"already set on line {line}", "keep one of the two lines"
    )


def unknown_choice(span: Span, choice: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else "write `on missing mean`, `zero` or `fail`"
    return Diagnostic("E0217", f"unknown choice `{choice}`", span, "not a way to treat missing values", help, fix=near)


def unknown_data(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    help = f'did you mean "{near}"?' if near is not None else f"give a folder, or one of {_listed(known)}"
    fix = None if near is None else f'"{near}"'
    return Diagnostic("E0218", f'no data set "{name}"', span, "neither a known data set nor a folder", help, fix=fix)


def no_schema_file(span: Span, path: str) -> Diagnostic:
    help = "give the path of a schema.toml, starting from the folder of this policy"
    return Diagnostic("E0221", f"no schema file `{path}`", span, "no such file", help)


def unusable_schema(span: Span, message: str, where: str, help: str) -> Diagnostic:
    label = f"in {where}" if where else "named here"
    return Diagnostic("E0219", f"the schema cannot be used: {message}", span, label, help or "mend the schema file")


def unknown_aggregate(span: Span, name: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else "`count`, `share` and `mean` go with `of history`"
    title = f"`{name}` does not go with `of history`"
    return Diagnostic("E0222", title, span, "nothing to ask of a history", help, fix=near)


def unknown_param(span: Span, name: str, near: str | None) -> Diagnostic:
    help = f"did you mean `{near}`?" if near is not None else f"define it first, as in `param {name} = 3`"
    return Diagnostic("E0223", f"no `param` named `{name}`", span, "not a written value, nor a param", help, fix=near)


def unknown_metric(span: Span, name: str, near: str | None) -> Diagnostic:
    if near is not None:
        help = f"did you mean `{near}`?"
    else:
        help = "name a rule above this line, or write a measure, as in `share(item.is_new)`"
    return Diagnostic("E0224", f"no rule `{name}`", span, "not a rule defined before", help, fix=near)


def _column(table: str, name: str) -> str:
    return f"{table}.{name}" if name.isidentifier() else f"{table}.`{name}`"


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = [f"`{n}`" for n in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
