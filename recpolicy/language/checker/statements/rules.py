"""Checks the statements of a policy: typed rules, blocks and targets, with the weights that branches give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import TypeVar

from recpolicy.errors import names, rules
from recpolicy.language import policy, syntax
from recpolicy.language.checker.composition import Entry, kind_of
from recpolicy.language.checker.expressions.branches import disjuncts
from recpolicy.language.checker.expressions.build import bounded, expression, whole_condition
from recpolicy.language.checker.expressions.literals import literal, places, weight
from recpolicy.language.checker.scope import Scope
from recpolicy.language.checker.statements import params, reweights
from recpolicy.language.checker.statements.cases import test
from recpolicy.language.checker.statements.clauses import clauses
from recpolicy.language.checker.statements.measures import measure
from recpolicy.language.checker.statements.quotas import quota
from recpolicy.language.checker.statements.reweights import Branch, Change
from recpolicy.language.checker.statements.targets import contradictions, target
from recpolicy.span import Span

_ALL_USERS = Branch()


@dataclass(frozen=True)
class Checked:
    """The checked parts of a policy, each kind in the order of the policy."""

    rules: tuple[policy.Rule, ...]
    blocks: tuple[policy.Block, ...]
    targets: tuple[policy.Target, ...]
    params: tuple[policy.Param, ...]
    dormant: tuple[policy.Dormant, ...]
    tests: tuple[policy.Test, ...]


def statements(entries: tuple[Entry, ...], given: Mapping[str, syntax.Expr], scope: Scope) -> Checked:
    """Checks all statements and returns those without error; findings go to `scope`.

    `given` are the values of `param`s from the command line.
    """
    checked = _Statements(given, scope)
    for entry in entries:
        checked.add(entry)
    return checked.finish()


class _Statements:
    """The statements checked so far."""

    def __init__(self, given: Mapping[str, syntax.Expr], scope: Scope) -> None:
        self.scope, self.given = scope, given
        self.rules: list[tuple[int, policy.Rule]] = []  # with their place in the policy
        self.blocks: list[tuple[int, policy.Block]] = []
        self.targets: list[tuple[int, policy.Target]] = []
        self.params: list[policy.Param] = []
        self.tests: list[Entry] = []
        self.branches: dict[int, Branch] = {}  # by the identity of their `when`
        self.changes: list[Change] = []
        self.base: dict[str, policy.Level] = {}  # weights from `override` outside `when`
        self.hard: set[str] = set()

    def add(self, entry: Entry) -> None:
        """Checks one statement and keeps what it defines."""
        scope, node = self.scope, entry.node
        scope.source = entry.source
        # an override inside `when` stands in the place of what it overrides, maybe before that `when` is checked
        branch = _ALL_USERS if entry.when is None else self.branches.get(id(entry.when), _ALL_USERS)
        if entry.when is not None and (help := _INSTEAD_OF_INSIDE.get(type(node))) is not None:
            article = "another" if isinstance(node, syntax.When) else "a"
            scope.report(rules.inside_when(_head(node), f"{article} `{kind_of(node)}` stands", help))
        match node:
            case syntax.Use():
                pass
            case syntax.Let():
                self._let(node, entry)
            case syntax.Param():
                param = params.param(node, self.given.get(node.name.text), scope)
                if param is not None:
                    self.params.append(param)
            case syntax.When(_, predicate):
                self.branches[id(node)] = self._branch(predicate, entry.when is None)
            case syntax.Reweight():
                self._reweight(node, entry, branch)
            case syntax.Reward() | syntax.Boost() | syntax.Bury() | syntax.Quota():
                self._rule(node, entry, branch)
            case syntax.Block(span, name, predicate):
                because, ok = self._define(node, entry, branch)
                where = whole_condition(predicate, scope)
                if where is not None and ok:
                    self.blocks.append((entry.order, policy.Block(span, name.text, where, branch.only, because)))
            case syntax.Target():
                because, ok = self._define(node, entry, branch)
                typed = target(node, entry.when is not None, branch.only, because, scope)
                if typed is not None and ok:
                    self.targets.append((entry.order, typed))
            case syntax.Test():
                self.tests.append(entry)

    def finish(self) -> Checked:
        """Returns all checked parts, after the last statement."""
        scope = self.scope
        changes = reweights.by_rule(self.changes, frozenset(self.hard), scope)
        blocks, targets = _in_order(self.blocks), _in_order(self.targets)
        contradictions(targets, scope)
        weighted = tuple(self._weighted(rule, changes.get(rule.name, ())) for rule in _in_order(self.rules))
        dormant = tuple(policy.Dormant(scope.defined[name].name.span, name, day) for name, day in scope.dormant.items())
        named = (*weighted, *blocks, *targets)
        tests: list[policy.Test] = []
        for entry in self.tests:
            scope.source = entry.source
            assert isinstance(entry.node, syntax.Test)
            typed = test(entry.node, scope, named, dormant)
            if typed is not None:
                tests.append(typed)
        return Checked(weighted, blocks, targets, tuple(self.params), dormant, tuple(tests))

    # ---- definitions and branches

    def _let(self, node: syntax.Let, entry: Entry) -> None:
        scope = self.scope
        scope.defining, scope.instead = node.name.text, entry.instead
        value = bounded(node.value, expression(node.value, scope), scope)
        scope.defining = scope.instead = None
        if scope.define(node.name, "let"):
            scope.lets[node.name.text] = value

    def _branch(self, predicate: syntax.Expr, ok: bool) -> Branch:
        only = whole_condition(predicate, self.scope)
        if only is not None and _sees_items(only):
            self.scope.report(rules.item_in_when(_item_span(predicate)))
            only = None
        if only is None or not ok:
            return Branch(ok=False)
        return Branch(only, disjuncts=disjuncts(only))

    def _reweight(self, node: syntax.Reweight, entry: Entry, branch: Branch) -> None:
        scope, name = self.scope, node.name
        if entry.when is not None:
            self.changes.append(Change(entry.source, node, branch, weight(node.weight, scope), entry.overrides))
        elif entry.overrides:
            level = weight(node.weight, scope)
            if name.text in self.hard:
                place = scope.place(scope.defined[name.text])
                scope.report(rules.hard_has_no_weight(node.weight.span, name.text, place))
            elif level is not None:
                self.base[name.text] = level
        else:
            known = scope.defined.get(name.text)
            if known is not None and known.kind == node.kind:
                write = f"override {node.kind} {name.text} {scope.text(node.weight.span)}"
                scope.report(rules.weight_again(name.span, name.text, scope.place(known), write))
                return
            label = f"ends after `{scope.text(node.span).split()[-1]}`"
            scope.report(rules.reweight_outside(name.span, node.kind, name.text, label))
            scope.define(name, node.kind)

    # ---- rules

    def _define(self, node: syntax.Rule, entry: Entry, branch: Branch) -> tuple[str | None, bool]:
        """Defines a rule's name; returns its reason, and whether it holds today and has no error so far."""
        scope = self.scope
        ok = scope.define(node.name, kind_of(node), inside=entry.when is not None)
        terms = clauses(node.name, node.clauses, scope)
        if ok and terms.since is not None:
            scope.dormant[node.name.text] = terms.since
        return terms.because, ok and terms.since is None and branch.ok

    def _rule(
        self, node: syntax.Reward | syntax.Boost | syntax.Bury | syntax.Quota, entry: Entry, branch: Branch
    ) -> None:
        scope, name = self.scope, node.name.text
        because, ok = self._define(node, entry, branch)
        if isinstance(node, syntax.Quota) and isinstance(node.weight, syntax.Hard):
            self.hard.add(name)
            base: policy.Level | None = 0.0
        else:
            assert isinstance(node.weight, syntax.Weight)
            base = weight(node.weight, scope)
        weighed = None if base is None else policy.Weight(node.weight.span, base, branch.only)
        rule: policy.Rule | None = None
        match node:
            case syntax.Reward(span, _, _, argument, on_missing):
                missing = self._missing(on_missing)
                measured = measure(argument, missing, scope)
                if on_missing is not None and isinstance(measured, (policy.Relevance, policy.Novelty, policy.Portion)):
                    assert isinstance(argument, syntax.Call)
                    scope.report(rules.no_missing_here(on_missing.span, argument.function))
                if measured is not None and weighed is not None:
                    rule = policy.Reward(span, name, weighed, measured, because)
            case syntax.Boost(span, _, _, predicate, limit) | syntax.Bury(span, _, _, predicate, limit):
                where = whole_condition(predicate, scope)
                first = self._limit(limit)
                if where is not None and weighed is not None:
                    bury = isinstance(node, syntax.Bury)
                    rule = policy.Boost(span, name, weighed, where, first, bury=bury, because=because)
            case syntax.Quota():
                rule = quota(node, weighed, because, scope)
        if rule is not None and ok:
            self.rules.append((entry.order, rule))

    def _weighted(self, rule: policy.Rule, changes: tuple[tuple[policy.Expr, policy.Level], ...]) -> policy.Rule:
        base = self.base.get(rule.name, rule.weight.base)
        return replace(rule, weight=replace(rule.weight, base=base, changes=changes))

    def _limit(self, node: syntax.Limit | None) -> int | None:
        value = None if node is None else literal(node.value, self.scope)
        if node is None or value is None:
            return None
        most = places(value, self.scope)
        if most is None:
            self.scope.report(rules.bad_limit(node.value.span, self.scope.slate))
        return most

    def _missing(self, node: syntax.OnMissing | None) -> policy.Missing:
        if node is None:
            return policy.Missing.MEAN
        known = [choice.value for choice in policy.Missing]
        if node.choice.text not in known:
            close = self.scope.near(node.choice.text, known)
            self.scope.report(names.unknown_choice(node.choice.span, node.choice.text, close))
            return policy.Missing.MEAN
        return policy.Missing(node.choice.text)


_Placed = TypeVar("_Placed")


def _in_order(placed: list[tuple[int, _Placed]]) -> tuple[_Placed, ...]:
    return tuple(part for _, part in sorted(placed, key=itemgetter(0)))


_INSTEAD_OF_INSIDE: dict[type[syntax.Node], str] = {
    syntax.Let: "move the `let` in front of the `when`",
    syntax.Param: "move the `param` in front of the `when`",
    syntax.When: "write two `when` blocks and join their conditions with `and`",
    syntax.Use: "move the `use` in front of the `when`",
    syntax.Test: "move the `test` behind the `when`",
}
"""What to do with the statements that are not allowed inside `when`."""


def _head(node: syntax.Node) -> Span:
    """The place that a message about a whole statement points at."""
    if isinstance(node, (syntax.Let, syntax.Param)):
        return node.name.span
    span, word = node.span, type(node).__name__
    return Span(span.start, span.start + len(word), span.line, span.column)


def _sees_items(expr: policy.Expr) -> bool:
    """True if the value depends on an item of the slate; the history belongs to the user."""
    if isinstance(expr, (policy.Column, policy.Percentile)):
        return expr.table == "item"
    return not isinstance(expr, policy.OfHistory) and any(_sees_items(child) for child in policy.children(expr))


def _item_span(node: syntax.Expr) -> Span:
    """The place of the first item column in `node`, or `node`'s own place if the column is in a `let`."""
    todo: list[syntax.Node] = [node]
    while todo:
        inner = todo.pop()
        if isinstance(inner, syntax.Column) and inner.table == "item":
            return inner.span
        if not isinstance(inner, syntax.Aggregate):
            todo += reversed(syntax.nodes(inner))
    return node.span
