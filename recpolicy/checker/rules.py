"""The statements of a file in, typed rules and blocks out, with the weights that branches give them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from recpolicy import policy, syntax
from recpolicy.checker.branches import exclude
from recpolicy.checker.expressions import bounded, children, condition, expression
from recpolicy.checker.measures import measure
from recpolicy.checker.quotas import quota
from recpolicy.checker.scope import Scope
from recpolicy.errors import names, rules
from recpolicy.errors.near import near
from recpolicy.span import Span

MAX_WEIGHT = 100


@dataclass(frozen=True)
class _Change:
    """A branch gives the rule `name` another weight; `only` or `weight` is None after an error."""

    node: syntax.Reweight
    only: policy.Expr | None
    weight: float | None


class Statements:
    """What the statements of a file come to."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.rules: list[policy.Rule] = []
        self.blocks: list[policy.Block] = []
        self._changes: list[_Change] = []
        self._kinds: dict[str, str] = {}  # of the rules outside `when`, also those with an error

    def check(self) -> tuple[tuple[policy.Rule, ...], tuple[policy.Block, ...]]:
        """All rules and blocks that have no error, in the order of the text."""
        for statement in self.scope.file.statements:
            self._statement(statement)
        changes = self._checked_changes()
        return tuple(_with_changes(rule, changes.get(rule.name, ())) for rule in self.rules), tuple(self.blocks)

    def _statement(self, node: syntax.Statement) -> None:
        match node:
            case syntax.Let():
                self._let(node)
            case syntax.When(_, predicate, statements):
                only, ok = self._branch(predicate)
                for inner in statements:
                    self._inside(inner, only, ok)
            case syntax.Reweight(span, kind, name):
                text = self.scope.text(span)
                self.scope.report(
                    rules.reweight_outside(name.span, kind, name.text, f"ends after `{text.split()[-1]}`")
                )
                self.scope.define(name)
                self._kinds.setdefault(name.text, kind)
            case syntax.Reward() | syntax.Boost() | syntax.Bury() | syntax.Quota():
                self._kinds.setdefault(node.name.text, type(node).__name__.lower())
                self._rule(node, None, True)
            case syntax.Block():
                self._block(node, None, True)
            case _:
                raise NotImplementedError(type(node).__name__)

    def _let(self, node: syntax.Let) -> None:
        value = bounded(node.value, expression(node.value, self.scope), self.scope)
        if self.scope.define(node.name):
            self.scope.lets[node.name.text] = value

    def _branch(self, predicate: syntax.Expr) -> tuple[policy.Expr | None, bool]:
        """The condition of a `when`, and False after an error."""
        only = bounded(predicate, condition(predicate, self.scope), self.scope)
        if only is not None and _sees_items(only):
            self.scope.report(rules.item_in_when(_item_span(predicate)))
            only = None
        return only, only is not None

    def _inside(self, node: syntax.Statement, only: policy.Expr | None, ok: bool) -> None:
        match node:
            case syntax.Let(_, name):
                help = "move the `let` in front of the `when`"
                self.scope.report(rules.inside_when(name.span, "a `let` stands", help))
                self._let(node)
            case syntax.When(span, predicate, statements):
                head = Span(span.start, span.start + len("when"), span.line, span.column)
                help = "write two `when` blocks and join their conditions with `and`"
                self.scope.report(rules.inside_when(head, "another `when` stands", help))
                self._branch(predicate)
                for inner in statements:
                    self._inside(inner, None, False)
            case syntax.Reweight(_, _, _, weight):
                self._changes.append(_Change(node, only, self._weight(weight)))
            case syntax.Reward() | syntax.Boost() | syntax.Bury() | syntax.Quota():
                self._rule(node, only, ok)
            case syntax.Block():
                self._block(node, only, ok)
            case _:
                raise NotImplementedError(type(node).__name__)

    # ---- rules

    def _rule(
        self, node: syntax.Reward | syntax.Boost | syntax.Bury | syntax.Quota, only: policy.Expr | None, ok: bool
    ) -> None:
        scope, name = self.scope, node.name.text
        ok = scope.define(node.name) and ok
        base = self._weight(node.weight)
        weight = None if base is None else policy.Weight(node.weight.span, base, only)
        rule: policy.Rule | None = None
        match node:
            case syntax.Reward(span, _, _, argument, on_missing):
                missing = self._missing(on_missing)
                measured = measure(argument, missing, scope)
                if on_missing is not None and isinstance(measured, (policy.Relevance, policy.Novelty, policy.Portion)):
                    assert isinstance(argument, syntax.Call)
                    scope.report(rules.no_missing_here(on_missing.span, argument.function))
                if measured is not None and weight is not None:
                    rule = policy.Reward(span, name, weight, measured)
            case syntax.Boost(span, _, _, predicate, limit) | syntax.Bury(span, _, _, predicate, limit):
                where = bounded(predicate, condition(predicate, scope), scope)
                first = self._limit(limit)
                if where is not None and weight is not None:
                    rule = policy.Boost(span, name, weight, where, first, bury=isinstance(node, syntax.Bury))
            case syntax.Quota():
                rule = quota(node, weight, scope)
        if rule is not None and ok:
            self.rules.append(rule)

    def _block(self, node: syntax.Block, only: policy.Expr | None, ok: bool) -> None:
        ok = self.scope.define(node.name) and ok
        where = bounded(node.where, condition(node.where, self.scope), self.scope)
        if where is not None and ok:
            self.blocks.append(policy.Block(node.span, node.name.text, where, only))

    def _weight(self, node: syntax.Weight) -> float | None:
        value, text = node.value, self.scope.text(node.value.span)
        match value:
            case syntax.Number(_, number) if number <= MAX_WEIGHT:
                return number
            case syntax.Number():
                help = "weights are shares of each other: scale them all down, as in `0.7`, `0.2` and `0.1`"
            case syntax.Percent(_, percent):
                help = f"write `weight {percent / 100:g}`"
            case syntax.Negative(_, syntax.Number()):
                help = "to count against a slate, use `bury` with a weight above 0"
            case syntax.Unreadable():
                return None
            case _:
                help = "write a plain number, as in `weight 0.5`"
        self.scope.report(rules.bad_weight(value.span, f"`{text}`", help))
        return None

    def _limit(self, node: syntax.Limit | None) -> int | None:
        if node is None or isinstance(node.value, syntax.Unreadable):
            return None
        slate = self.scope.slate
        match node.value:
            case syntax.Number(_, value) if value.is_integer() and 1 <= value <= (slate or value):
                return int(value)
        self.scope.report(rules.bad_limit(node.value.span, slate))
        return None

    def _missing(self, node: syntax.OnMissing | None) -> policy.Missing:
        if node is None:
            return policy.Missing.MEAN
        known = [choice.value for choice in policy.Missing]
        if node.choice.text not in known:
            self.scope.report(names.unknown_choice(node.choice.span, node.choice.text, near(node.choice.text, known)))
            return policy.Missing.MEAN
        return policy.Missing(node.choice.text)

    # ---- branches

    def _checked_changes(self) -> dict[str, tuple[tuple[policy.Expr, float], ...]]:
        """The weight changes by rule, those with an error left out."""
        good: dict[str, list[_Change]] = {}
        for change in self._changes:
            node = change.node
            name = node.name.text
            kind = self._kinds.get(name)
            if kind is None:
                if not self.scope.may_be_unread(name):
                    close = near(name, self._kinds)
                    self.scope.report(names.unknown_rule(node.name.span, node.kind, name, close))
            elif kind != node.kind:
                self.scope.report(rules.other_kind(node.name.span, name, kind, node.kind))
            elif change.only is not None and change.weight is not None:
                earlier = good.setdefault(name, [])
                only = change.only
                clash = next((c for c in earlier if c.only is not None and not exclude(c.only, only)), None)
                if clash is not None:
                    self.scope.report(rules.overlapping_branches(node.name.span, name, clash.node.span.line))
                earlier.append(change)
        return {
            name: tuple((c.only, c.weight) for c in changes if c.only is not None and c.weight is not None)
            for name, changes in good.items()
        }


def _with_changes(rule: policy.Rule, changes: tuple[tuple[policy.Expr, float], ...]) -> policy.Rule:
    return replace(rule, weight=replace(rule.weight, changes=changes)) if changes else rule


def _sees_items(expr: policy.Expr) -> bool:
    if isinstance(expr, policy.Column):
        return expr.table == "item"
    return any(_sees_items(child) for child in children(expr))


def _item_span(node: syntax.Expr) -> Span:
    """The place of the first item column in `node`, or `node`'s where it stands in a `let`."""
    todo: list[syntax.Node] = [node]
    while todo:
        here = todo.pop()
        if isinstance(here, syntax.Column) and here.table == "item":
            return here.span
        todo += reversed(syntax.nodes(here))
    return node.span
