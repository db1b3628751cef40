"""Finds the kinds of item that conditions distinguish: which conditions can be true of one item together.

Every value that conditions compare is a variable, of which a few values matter: the numbers it is compared with and
those between them, the literal words and any other word, true and false. An item for which a condition is unknown is no
kind of its own: with any value instead of the missing one it breaks no further quota and may help to meet some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recpolicy.language import policy
from recpolicy.language.checker.expressions.branches import Edge, Line, listed, ranged

Variable: TypeAlias = Line | policy.Expr
"""A number on a line, a word, or a condition taken as a whole."""

Value: TypeAlias = Edge | str | bool | None
"""None is any word that is not a literal of the policy."""


@dataclass(frozen=True)
class Part:
    """One comparison: true if the variable has one of the values, or a value in one of the ranges."""

    variable: Variable
    values: frozenset[Value]
    ranges: tuple[tuple[Edge, Edge], ...] = ()

    def holds(self, value: Value) -> bool:
        """Returns whether the comparison is true of a value of its variable."""
        return value in self.values or (
            isinstance(value, tuple) and any(low <= value <= high for low, high in self.ranges)
        )


@dataclass(frozen=True)
class Both:
    """`and` and `or`."""

    op: Literal["and", "or"]
    left: Formula
    right: Formula


@dataclass(frozen=True)
class Opposite:
    """`not`."""

    of: Formula


Formula: TypeAlias = bool | Part | Both | Opposite


def formula(expr: policy.Expr) -> Formula:
    """Builds from a condition the comparisons of single variables that it is made of."""
    match expr:
        case policy.Truth(_, truth):
            return truth
        case policy.Logic(_, op, left, right):
            return Both(op, formula(left), formula(right))
        case policy.Not(_, operand):
            return Opposite(formula(operand))
        case policy.Compare(span, "is not", left, right):
            return Opposite(formula(policy.Compare(span, "is", left, right)))
        case policy.Compare(_, "is", left, policy.Truth(_, truth)):
            return formula(left) if truth else Opposite(formula(left))
        case policy.Compare(span, "is", (policy.Word() | policy.Truth()) as literal, policy.Column() as column):
            return formula(policy.Compare(span, "is", column, literal))
        case policy.Among(_, operand, options) if operand.type.is_measured:
            edges: list[Edge] = [(option.value, 0) for option in options if isinstance(option, policy.Number)]
            return Part((operand, False), frozenset(), tuple((edge, edge) for edge in edges))
    if (within := ranged(expr)) is not None:
        line, low, high = within
        return Part(line, frozenset(), ((low, high),))
    if (words := listed(expr)) is not None:
        return Part(words[0], frozenset(word.value for word in words[1] if isinstance(word, policy.Word)))
    match expr:
        case policy.Compare(span, ">", left, right):
            return Part(policy.Compare(span, "<", right, left), frozenset((True,)))
        case policy.Compare(span, ">=", left, right):
            return Opposite(Part(policy.Compare(span, "<", left, right), frozenset((True,))))
        case policy.Compare(span, "<=", left, right):
            return Opposite(Part(policy.Compare(span, "<", right, left), frozenset((True,))))
        case _:
            return Part(expr, frozenset((True,)))


def parts(node: Formula) -> Iterator[Part]:
    """Yields every comparison in a formula."""
    match node:
        case Part():
            yield node
        case Both(_, left, right):
            yield from parts(left)
            yield from parts(right)
        case Opposite(of):
            yield from parts(of)


def kinds(formulas: Sequence[Formula], most: int) -> list[tuple[bool, ...]] | None:
    """Returns for each kind of item which formulas are true of it; None if there may be more than `most` kinds.

    A variable gets values at the first formula that needs it and is dropped after the last one.
    """
    domains = _domains(formulas)
    needed = [dict.fromkeys(part.variable for part in parts(node)) for node in formulas]
    last = {variable: i for i, variables in enumerate(needed) for variable in variables}
    live: list[Variable] = []
    states: set[tuple[tuple[Value, ...], tuple[bool, ...]]] = {((), ())}
    for i, node in enumerate(formulas):
        for variable in needed[i]:
            if variable not in live:
                if len(states) * len(domains[variable]) > most:
                    return None
                live.append(variable)
                states = {((*values, value), truths) for values, truths in states for value in domains[variable]}
        keep = [at for at, variable in enumerate(live) if last[variable] > i]
        states = {
            (tuple(values[at] for at in keep), (*truths, _holds(node, dict(zip(live, values, strict=True)))))
            for values, truths in states
        }
        live = [live[at] for at in keep]
    return sorted(truths for _, truths in states)


def _domains(formulas: Sequence[Formula]) -> dict[Variable, tuple[Value, ...]]:
    tests: dict[Variable, dict[Part, None]] = {}
    for node in formulas:
        for part in parts(node):
            tests.setdefault(part.variable, {})[part] = None
    return {variable: _domain(tuple(of_variable)) for variable, of_variable in tests.items()}


def _domain(tests: Sequence[Part]) -> tuple[Value, ...]:
    """Values of a variable, one for every set of tests that can be true of it."""
    numbers = {edge[0] for part in tests for pair in part.ranges for edge in pair if abs(edge[0]) < float("inf")}
    words = {word for part in tests for word in part.values if isinstance(word, str)}
    values: list[Value] = [(number, side) for number in sorted(numbers) for side in (-1, 0, 1)]
    if not values:
        values = [None, *sorted(words)] if words else [False, True]
    by_truths = {tuple(part.holds(value) for part in tests): value for value in values}
    return tuple(by_truths.values())


def _holds(node: Formula, values: Mapping[Variable, Value]) -> bool:
    match node:
        case Part():
            return node.holds(values[node.variable])
        case Both(op, left, right):
            first = _holds(left, values)
            return _holds(right, values) if first is (op == "and") else first
        case Opposite(of):
            return not _holds(of, values)
        case _:
            return node
