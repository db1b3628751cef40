"""Checks a `target` and builds the typed demand: what it measures, over which users, and the bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from recpolicy.errors import composition, names, rules, types
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions.literals import literal, shown
from recpolicy.language.checker.expressions.vocabulary import FORMS, FUNCTIONS, MEASURES, POPULATION
from recpolicy.language.checker.scope import RULES, Scope
from recpolicy.language.checker.statements.measures import measure, value_column
from recpolicy.span import Span

_MOST_OF_BASELINE = 1000
_TURNED: dict[str, Literal["<=", ">="]] = {"<": ">=", "<=": ">=", ">": "<=", ">=": "<="}


def target(
    node: syntax.Target, inside: bool, only: policy.Expr | None, because: str | None, scope: Scope
) -> policy.Target | None:
    """Builds the typed target, or reports why it cannot; `inside` a `when` it is about the users of `only`."""
    if isinstance(node.metric, (syntax.Number, syntax.Percent)):
        _turned_around(node, scope)
        return None
    metric = _metric(node.metric, inside, scope)
    bound = _bound(node, scope)
    if node.op in ("<", ">"):
        scope.report(composition.strict_bound(_operator(node, scope), node.op, f"{node.op}="))
        return None
    if metric is None or bound is None:
        return None
    op: Literal[">=", "<="] = ">=" if node.op == ">=" else "<="
    of_baseline = isinstance(node.bound, syntax.OfBaseline)
    if not of_baseline and bound == (0 if op == ">=" else 1):
        help = "every value lies between 0 and 1: write another bound, or leave the target out"
        scope.report(rules.always_met(node.bound.span, f"{op} {scope.text(node.bound.span)}", help))
        return None
    return policy.Target(node.span, node.name.text, metric, op, bound, of_baseline, only, because)


def _metric(node: syntax.Expr, inside: bool, scope: Scope) -> policy.Measure | policy.Population | str | None:
    if isinstance(node, syntax.Name):
        return _rule(node, scope)
    if not isinstance(node, syntax.Call) or node.function not in POPULATION:
        if isinstance(node, syntax.Call) and node.function not in (*MEASURES, *FUNCTIONS, "count"):
            known = (*MEASURES, *POPULATION)
            scope.report(names.unknown_measure(node.head, node.function, scope.near(node.function, known), known))
            return None
        return measure(node, policy.Missing.MEAN, scope)
    name: Any = node.function
    if inside:
        scope.report(composition.population_in_when(node.head, name))
        return None
    if len(node.args) != 1:
        scope.report(types.argument_count(node.span, name, len(node.args), FORMS[name]))
        return None
    column = value_column(node.args[0], name, f"{name}(item.COLUMN)", scope)
    return None if column is None else policy.Population(node.span, name, column)


def _rule(node: syntax.Name, scope: Scope) -> str | None:
    """The name of an earlier rule, or None with a finding."""
    name, known = node.name, scope.defined.get(node.name)
    if known is not None and known.kind in RULES:
        if name not in scope.dormant:
            return name
        scope.report(composition.dormant_metric(node.span, name, scope.dormant[name].isoformat()))
    elif known is not None:
        help = _INSTEAD[known.kind].format(name)
        scope.report(composition.not_a_metric(node.span, name, f"a `{known.kind}`", help))
    elif name in FORMS:
        scope.report(composition.not_a_metric(node.span, name, "a measure's name alone", f"write `{FORMS[name]}`"))
    elif not scope.may_be_unread(name):
        close = scope.near(name, (n for n, d in scope.defined.items() if d.kind in RULES))
        scope.report(names.unknown_metric(node.span, name, close))
    return None


_INSTEAD = {
    "let": "measure it: `share({0})` of a condition, `mean({0})` of a number",
    "param": "a `param` may stand on the right, as the bound",
    "block": "a block holds by itself and needs no target",
    "target": "write the rule or the measure that it looks at, not the other target",
}
"""What to do with the name of a statement that is no rule, by the kind of the statement."""


def _bound(node: syntax.Target, scope: Scope) -> float | None:
    """The bound as a share, or None with a finding."""
    if isinstance(node.bound, syntax.OfBaseline):
        share = node.bound.share
        match literal(share, scope):
            case None:
                return None
            case syntax.Percent(_, percent) if 0 < percent <= _MOST_OF_BASELINE:
                return percent / 100
            case syntax.Number(_, value) if 0 < value <= _MOST_OF_BASELINE / 100:
                write: str | None = f"{value * 100:g}%"
            case _:
                write = None
        scope.report(composition.bad_share_of_baseline(share.span, shown(share, scope), write))
        return None
    match literal(node.bound, scope):
        case None:
            return None
        case syntax.Percent(_, percent) if percent <= 100:
            return percent / 100
        case syntax.Number(_, value) if value <= 1:
            return value
        case syntax.Number(_, value) if value <= 100:
            write = f"{value:g}%"
        case _:
            write = None
    scope.report(composition.bad_bound(node.bound.span, shown(node.bound, scope), write))
    return None


def _turned_around(node: syntax.Target, scope: Scope) -> None:
    """The finding for `20% <= share(...)`."""
    span = Span(node.metric.span.start, node.bound.span.end, node.metric.span.line, node.metric.span.column)
    write = f"{scope.text(node.bound.span)} {_TURNED[node.op]} {scope.text(node.metric.span)}"
    scope.report(composition.bound_first(span, write))


def _operator(node: syntax.Target, scope: Scope) -> Span:
    """The place of the operator, which the tree does not keep."""
    end = node.metric.span.end
    between = scope.source.text[end : node.bound.span.start]
    start = end + between.index(node.op)
    lines = scope.source.text[: start + 1].splitlines()
    return Span(start, start + len(node.op), len(lines), len(lines[-1]))


def contradictions(targets: Iterable[policy.Target], scope: Scope) -> None:
    """Reports targets of the same metric and the same users of which one requires more than another allows."""
    tightest: dict[tuple[object, str], policy.Target] = {}  # by metric, users and direction
    for one in targets:
        sign = 1 if one.op == ">=" else -1
        subject = (one.metric, one.of_baseline, one.only)
        other = tightest.get((subject, "<=" if one.op == ">=" else ">="))
        if other is not None and sign * one.bound > sign * other.bound:
            here, known = scope.defined[one.name], scope.defined[other.name]
            scope.source = here.source
            place, note = scope.place(known), scope.note(known, "the other target")
            scope.report(composition.contradictory_targets(here.name.span, one.name, other.name, place, note))
        strictest = tightest.get((subject, one.op))
        if strictest is None or sign * one.bound > sign * strictest.bound:
            tightest[subject, one.op] = one
