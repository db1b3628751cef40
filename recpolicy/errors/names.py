"""Builds the findings E02xx: a name that is unknown, means something else, or is taken."""

from __future__ import annotations

from collections.abc import Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors.words import listed, unknown
from recpolicy.span import Span


def unknown_column(span: Span, table: str, name: str, near: str | None, known: Sequence[str], data: str) -> Diagnostic:
    """Reports a column that the table does not have."""
    help = f"{table} columns are {listed(known, 20)}" if known else f"this data has no {table} columns"
    meant = None if near is None else _column(table, near)
    return unknown("E0201", f"no {table} column `{name}`", span, f"not a column of {data}", meant, help)


def other_table(span: Span, table: str, other: str, name: str) -> Diagnostic:
    """Reports a column that belongs to the other table."""
    title = f"`{name}` is no column of `{table}`"
    help = f"write `{_column(other, name)}`"
    return Diagnostic("E0202", title, span, f"a column of `{other}`", help, fix=_column(other, name))


def unknown_name(span: Span, name: str, near: str | None) -> Diagnostic:
    """Reports a name that is not defined."""
    help = f"define it first with `let {name} = ...`; columns are written `item.NAME` or `user.NAME`"
    return unknown("E0203", f"unknown name `{name}`", span, "not defined", near, help)


def bare_column(span: Span, name: str, columns: Sequence[str]) -> Diagnostic:
    """Reports a column that is written without its table."""
    help = f"write {' or '.join(f'`{c}`' for c in columns)}"
    fix = columns[0] if len(columns) == 1 else None
    return Diagnostic("E0204", f"column `{name}` without its table", span, "needs its table", help, fix=fix)


def bare_table(span: Span, table: str) -> Diagnostic:
    """Reports a table that is written without a column."""
    help = f"name a column, as in `{table}.age`"
    return Diagnostic("E0205", f"`{table}` is not a value", span, "no column named", help)


def unquoted_word(span: Span, name: str) -> Diagnostic:
    """Reports a text that is written without quotes."""
    help = f'to compare with a text, write `"{name}"`'
    return Diagnostic("E0206", f"unknown name `{name}`", span, "not defined", help, fix=f'"{name}"')


def used_too_early(span: Span, name: str, kind: str, place: str, instead: str | None) -> Diagnostic:
    """Reports a name that is used before its definition.

    `instead` is the place of what the statement overrides, which is where its names must be known.
    """
    help = f"move the `{kind}` above this line"
    if instead is not None:
        help = f"an `override` stands in the place of {instead}: move the `{kind}` above that, or in front of its `use`"
    return Diagnostic("E0207", f"`{name}` is used before its `{kind}`", span, f"defined on {place}", help)


def refers_to_itself(span: Span, name: str) -> Diagnostic:
    """Reports a `let` that uses its own name."""
    help = "a `let` uses columns and earlier `let`s"
    return Diagnostic("E0208", f"`{name}` is defined by itself", span, "the name being defined", help)


def rule_as_value(span: Span, name: str) -> Diagnostic:
    """Reports a rule's name where a value is needed."""
    help = "give the rule's condition a name with `let` and use that in both places"
    return Diagnostic("E0209", f"`{name}` is a rule, not a value", span, "a rule's name", help)


def unknown_function(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports a function that does not exist."""
    help = f"functions are {listed(known, 20)}"
    return unknown("E0210", f"unknown function `{name}`", span, "not a function", near, help)


def unknown_measure(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports a measure that does not exist."""
    help = f"measures are {listed(known, 20)}"
    return unknown("E0211", f"unknown measure `{name}`", span, "not a measure", near, help)


def unknown_unit(span: Span, unit: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports a unit of time that does not exist."""
    help = f"units are {listed(known, 20)}"
    return unknown("E0212", f"unknown unit `{unit}`", span, "not a unit of time", near, help)


def defined_twice(span: Span, name: str, place: str, first: Note) -> Diagnostic:
    """Reports a name that is defined twice."""
    help = "give one of the two another name, or write `override` in front of this one to let it take the other's place"
    return Diagnostic("E0213", f"the name `{name}` is taken", span, f"already defined on {place}", help, (first,))


def unknown_rule(span: Span, kind: str, name: str, near: str | None) -> Diagnostic:
    """Reports a new weight for a rule that does not exist outside of `when`."""
    help = f"a rule outside `when` is re-weighted by its name; a new one is written `{kind} {name} weight W = ...`"
    return unknown("E0214", f"no rule `{name}` to re-weight", span, "not a rule outside `when`", near, help)


def unknown_setting(span: Span, key: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports a setting of the header that does not exist."""
    help = f"settings are {listed(known, 20)}"
    return unknown("E0215", f"unknown setting `{key}`", span, "not a setting", near, help)


def setting_twice(span: Span, key: str, line: int) -> Diagnostic:
    """Reports a setting that the header sets twice."""
    label = f"already set on line {line}"
    return Diagnostic("E0216", f"`{key}` is set twice", span, label, "keep one of the two lines")


def unknown_choice(span: Span, choice: str, near: str | None) -> Diagnostic:
    """Reports an unknown way to treat missing values."""
    help = "write `on missing mean`, `zero` or `fail`"
    return unknown("E0217", f"unknown choice `{choice}`", span, "not a way to treat missing values", near, help)


def unknown_data(span: Span, name: str, near: str | None, known: Sequence[str]) -> Diagnostic:
    """Reports a data set that does not exist."""
    help = f'did you mean "{near}"?' if near is not None else f"give a folder, or one of {listed(known, 20)}"
    fix = None if near is None else f'"{near}"'
    return Diagnostic("E0218", f'no data set "{name}"', span, "neither a known data set nor a folder", help, fix=fix)


def no_schema_file(span: Span, path: str) -> Diagnostic:
    """Reports a schema file that does not exist."""
    help = "give the path of a schema.toml, starting from the folder of this policy"
    return Diagnostic("E0221", f"no schema file `{path}`", span, "no such file", help)


def unusable_schema(span: Span, message: str, where: str, help: str) -> Diagnostic:
    """Reports a schema file that cannot be used."""
    label = f"in {where}" if where else "named here"
    return Diagnostic("E0219", f"the schema cannot be used: {message}", span, label, help or "mend the schema file")


def unknown_aggregate(span: Span, name: str, near: str | None) -> Diagnostic:
    """Reports a function that does not go with `of history`."""
    title, help = f"`{name}` does not go with `of history`", "`count`, `share` and `mean` go with `of history`"
    return unknown("E0222", title, span, "nothing to ask of a history", near, help)


def unknown_param(span: Span, name: str, near: str | None) -> Diagnostic:
    """Reports a `param` that does not exist."""
    help = f"define it first, as in `param {name} = 3`"
    return unknown("E0223", f"no `param` named `{name}`", span, "not a written value, nor a param", near, help)


def unknown_metric(span: Span, name: str, near: str | None) -> Diagnostic:
    """Reports a target for a rule that does not exist."""
    help = "name a rule above this line, or write a measure, as in `share(item.is_new)`"
    return unknown("E0224", f"no rule `{name}`", span, "not a rule defined before", near, help)


def _column(table: str, name: str) -> str:
    return f"{table}.{name}" if name.isidentifier() else f"{table}.`{name}`"
