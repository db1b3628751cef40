"""Evaluates what a schema says about interactions: which of them count, and how much.

Both are expressions of the policy language in which a bare name is a column of the interactions' file.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recpolicy.compiler import TRUE, evaluate
from recpolicy.dataset.columns import Bools, Floats, Table
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import PolicyError
from recpolicy.language import checker, parser
from recpolicy.language.policy import Boost, Compare
from recpolicy.schema import ColumnSpec, Role, Schema
from recpolicy.span import Source
from recpolicy.tables.infer import guess
from recpolicy.tables.problems import Problems
from recpolicy.tables.reading import RawTable
from recpolicy.tables.values.columns import column
from recpolicy.types import Type

_HEADER = 'policy "interactions" {\n  language = 1\n  data = "interactions"\n  slate = 1\n}\n'
_NAME = re.compile(r'"[^"]*"|`([^`]+)`|(?<![\w.])([A-Za-z_]\w*)(?![\w(])')
"""Bare names, with backticks or without, and texts in quotes, in which there are none."""
_WORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "is",
        "in",
        "between",
        "within",
        "the",
        "last",
        "ago",
        "from",
        "until",
        "true",
        "false",
        "missing",
        "now",
    ]
)
"""Words of conditions, which no column takes away from the language: such a column needs backticks."""


def condition(table: RawTable, text: str, problems: Problems) -> Bools:
    """Finds the rows for which `text` is true, [rows]; not those for which it is unknown."""
    found = _evaluate(table, text, "positive", text, problems)
    return np.ones(table.rows, np.bool_) if found is None else found == TRUE


def quantity(table: RawTable, text: str, counts: Bools, problems: Problems) -> Floats:
    """Computes the number `text` for every row, [rows]; 0 where it is missing. Negative ones are reported."""
    found = _evaluate(table, text, "weight", f"({text}) >= 0", problems)
    if found is None:
        return np.ones(table.rows)
    below = np.flatnonzero(counts & (found < 0))
    if len(below):
        message = f"the weight of this interaction is {found[below[0]]:g}"
        place = f"{table.path}, {table.row_name(int(below[0]))}"
        problems.add(message, place, "weights are 0 or more", more=len(below) - 1)
    return np.asarray(np.nan_to_num(found), np.float64)


def _evaluate(table: RawTable, text: str, key: str, condition: str, problems: Problems) -> NDArray[Any] | None:
    """The value for every row: truth values of a condition, or the number on the left of `>= 0`.

    None after reporting an expression that is none, or columns that do not hold what it needs.
    """
    names: set[str] = set()

    def of_item(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in table.columns or (match[2] and name in _WORDS):
            return match[0]
        names.add(name)
        return f"item.`{name}`"

    rewritten = _NAME.sub(of_item, condition)
    specs = {name: _spec(table, name) for name in sorted(names)}
    schema = Schema("interactions", {"id": ColumnSpec("id", Type.TEXT, role=Role.ID), **specs}, {})
    source = Source("schema.toml", f"{_HEADER}boost value weight 1 = {rewritten}\n")
    try:
        rule = checker.check(parser.parse(source), schema).rules[0]
    except PolicyError as error:
        first = error.findings[0]
        what, example = ("number", "rating / 5") if key == "weight" else ("condition", "rating >= 4")
        help = f"{first.help}; " if first.help and "let" not in first.help else ""
        help += f"write a {what} over the columns of {table.path.name}, as in `{example}`: {', '.join(table.names)}"
        problems.add(f"`{text}`: {first.title}", f"schema.toml, key interactions.{key}", help)
        return None
    assert isinstance(rule, Boost)
    operand = rule.where.left if key == "weight" and isinstance(rule.where, Compare) else rule.where
    values = {name: column(table, spec, problems) for name, spec in specs.items()}
    nothing = np.zeros(0)
    dataset = Dataset(
        schema.name, schema, Table(table.rows, values), Table(0, {}), (), (), np.zeros(1, np.int64),
        nothing.astype(np.int32), nothing, (), "",
    )  # fmt: skip
    return evaluate(dataset, operand)


def _spec(table: RawTable, name: str) -> ColumnSpec:
    """A column of the interactions as the policy language sees it."""
    found = guess(name, table.columns[name])
    return ColumnSpec(name, found.type or Type.TEXT, optional=True, source=name)
