"""Checks the weights that branches give to rules and collects them by rule, each with its branch's condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recpolicy.errors import names, rules
from recpolicy.language import policy, syntax
from recpolicy.language.checker.expressions.branches import Disjuncts, exclude
from recpolicy.language.checker.scope import RULES, Scope
from recpolicy.span import Source

_MOST_BRANCHES = 300
"""Branches of one rule that are compared with each other; further ones count as overlapping."""


@dataclass(frozen=True)
class Branch:
    """The users a statement is for: `only` is None outside `when`. `ok` is False after an error in the condition."""

    only: policy.Expr | None = None
    ok: bool = True
    disjuncts: Disjuncts | None = None


@dataclass(frozen=True)
class Change:
    """A branch gives a rule another weight; `level` is None after an error."""

    source: Source
    node: syntax.Reweight
    branch: Branch
    level: policy.Level | None
    overrides: bool


def by_rule(
    changes: Iterable[Change], hard: frozenset[str], scope: Scope
) -> Mapping[str, tuple[tuple[policy.Expr, policy.Level], ...]]:
    """Returns the changes of each rule in the order of the text; those with an error are reported and left out."""
    good: dict[str, list[Change]] = {}
    compared: dict[tuple[int, int], bool] = {}
    for change in changes:
        scope.source = change.source
        name = change.node.name
        if not _is_rule(change.node, hard, scope) or change.branch.only is None or change.level is None:
            continue
        earlier = good.setdefault(name.text, [])
        if not change.overrides and (clash := _clash(earlier, change, compared)) is not None:
            place = scope.line(clash.node.span, clash.source)
            scope.report(rules.overlapping_branches(name.span, change.node.kind, name.text, place))
        earlier.append(change)
    return {
        name: tuple((c.branch.only, c.level) for c in of_rule if c.branch.only is not None and c.level is not None)
        for name, of_rule in good.items()
    }


def _is_rule(node: syntax.Reweight, hard: frozenset[str], scope: Scope) -> bool:
    """Whether the name is that of a rule outside `when` that has a weight; if not, it is reported."""
    name = node.name.text
    known = scope.defined.get(name)
    if known is None or known.inside or known.kind not in RULES:
        if not scope.may_be_unread(name):
            allowed = (n for n, d in scope.defined.items() if d.kind in RULES and not d.inside)
            scope.report(names.unknown_rule(node.name.span, node.kind, name, scope.near(name, allowed)))
        return False
    if known.kind != node.kind:
        scope.report(rules.other_kind(node.name.span, name, known.kind, node.kind))
        return False
    if name in hard:
        scope.report(rules.hard_has_no_weight(node.weight.span, name, scope.place(known)))
        return False
    return True


def _clash(earlier: list[Change], change: Change, compared: dict[tuple[int, int], bool]) -> Change | None:
    """An earlier change that may hold for the same user; `compared` remembers which branches exclude each other."""
    if len(earlier) >= _MOST_BRANCHES:
        return earlier[-1]
    for other in earlier:
        pair = id(other.branch), id(change.branch)
        if pair not in compared:
            compared[pair] = exclude(other.branch.disjuncts, change.branch.disjuncts)
        if not compared[pair]:
            return other
    return None
