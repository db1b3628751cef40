"""Checks what a `test` block gives and expects, and builds the typed test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from recpolicy.errors import cases as errors
from recpolicy.errors.near import near
from recpolicy.language import policy, syntax
from recpolicy.language.checker.header import MAX_SLATE
from recpolicy.language.checker.scope import Scope
from recpolicy.language.checker.statements import records
from recpolicy.language.checker.statements.records import Record
from recpolicy.schema import Role
from recpolicy.span import Span
from recpolicy.types import Type

NOW = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
"""The `now` of a case that states none, in seconds since 1970."""

_FORMS = {
    "user": "user {COLUMN: VALUE, ...}",
    "history": "history [ {...}, {...} ]",
    "next_items": "next_items [ {...}, {...} ]",
    "slate": "slate [ {...}, {...} ]",
}
_STATES = ("satisfied", "blocked")

_Rule: TypeAlias = policy.Rule | policy.Block | policy.Target


@dataclass(frozen=True)
class _Setting:
    """What a test or a case gives; None for what it does not state."""

    now: float | None = None
    user: Record | None = None
    history: tuple[Record, ...] | None = None
    next_items: tuple[Record, ...] | None = None
    slates: Mapping[str, tuple[Record | None, ...]] = field(default_factory=dict)


def test(
    node: syntax.Test, scope: Scope, rules: Sequence[_Rule], dormant: Sequence[policy.Dormant] = ()
) -> policy.Test | None:
    """Builds the typed test; returns None if there is a finding.

    `rules` are all rules, blocks and targets of the policy without error, `dormant` those that do not hold yet. What a
    case does not give, its test gives: a user, a history, next items and a slate of a name are each taken as a whole.
    """
    before = len(scope.findings)
    names = _Names(scope, {rule.name: rule for rule in rules}, frozenset(rule.name for rule in dormant))
    given = _setting(_Setting(), node.parts, scope)
    inner = [part for part in node.parts if isinstance(part, syntax.Case)]
    cases = [_case(node, "", given, names)] if _expects(node) or not inner else []
    cases += [_case(case, case.title.value, _setting(given, case.parts, scope), names) for case in inner]
    return policy.Test(node.span, node.title.value, tuple(cases)) if len(scope.findings) == before else None


def _expects(node: syntax.Test | syntax.Case) -> list[syntax.Expect]:
    return [part for part in node.parts if not isinstance(part, syntax.Given | syntax.Case)]


# ---- what is given --------------------------------------------------------------------------------------------------


def _setting(given: _Setting, parts: Iterable[syntax.Node], scope: Scope) -> _Setting:
    """What the parts give, and `given` for the rest."""
    lines: dict[str, int] = {}
    for part in parts:
        if not isinstance(part, syntax.Given):
            continue
        name = part.name
        if part.what.text not in (*_FORMS, "now"):
            close = near(part.what.text, _FORMS)
            scope.report(errors.unknown_part(part.what.span, part.what.text, close))
            if close is None:
                continue
            part = replace(part, what=replace(part.what, text=close))  # most likely meant, so it is not missing as well
        what = part.what.text
        title = what if name is None else f"{what} {name.text}"
        if name is not None and what != "slate":
            scope.report(errors.part_named(name.span, what))
        elif title in lines:
            scope.report(errors.given_twice(part.what.span, title, lines[title]))
        lines.setdefault(title, part.span.line)
        given = _with(given, part, scope)
    return given


def _with(given: _Setting, part: syntax.Given, scope: Scope) -> _Setting:
    what, value = part.what.text, part.value
    if isinstance(value, syntax.Record) and what in ("history", "next_items", "slate"):
        scope.report(errors.wrong_part(value.span, what, "one record", _FORMS[what]))
        value = syntax.Records(value.span, (value,))
    match what, value:
        case "user", syntax.Record():
            return replace(given, user=records.record(value, "user", scope))
        case "user", syntax.Records():
            scope.report(errors.wrong_part(value.span, what, "a list", _FORMS[what]))
        case "history", syntax.Records():
            return replace(given, history=_items(value, what, scope))
        case "next_items", syntax.Records():
            return replace(given, next_items=_items(value, what, scope))
        case "slate", syntax.Records():
            name = "" if part.name is None else part.name.text
            return replace(given, slates={**given.slates, name: _slate(part, value, scope)})
        case _:
            assert what == "now" and not isinstance(value, syntax.Record | syntax.Records), "the grammar has no more"
            now = records.literal(value, scope)
            return replace(given, now=now.value) if isinstance(now, policy.Number) else given
    return given


def _items(node: syntax.Records, part: str, scope: Scope) -> tuple[Record, ...]:
    items = []
    for item in node.items:
        if isinstance(item, syntax.Hole):
            scope.report(errors.hole_outside(item.span, part))
        else:
            items.append(records.record(item, "item", scope))
    return tuple(items)


def _slate(part: syntax.Given, node: syntax.Records, scope: Scope) -> tuple[Record | None, ...]:
    if not 1 <= len(node.items) <= MAX_SLATE:
        scope.report(errors.slate_length(part.what.span, len(node.items), MAX_SLATE))
    places = tuple(None if isinstance(i, syntax.Hole) else records.record(i, "item", scope) for i in node.items)
    seen = set()
    for cell in (_id(place, scope) for place in places if place is not None):
        if cell is not None and cell.value in seen:
            scope.report(errors.repeated_item(cell.span, str(cell.value)))
        seen.add(None if cell is None else cell.value)
    return places


def _id(item: Record, scope: Scope) -> records.Cell | None:
    """The id that the item states, or None: then it is an item of its own."""
    spec = None if scope.schema is None else scope.schema.with_role(Role.ID)
    return None if spec is None else item.get(spec.name)


# ---- one case -------------------------------------------------------------------------------------------------------


def _case(node: syntax.Test | syntax.Case, title: str, given: _Setting, names: _Names) -> policy.Case:
    scope, expected = names.scope, _expects(node)
    if not expected:
        scope.report(errors.nothing_expected(node.title.span, type(node).__name__.lower()))
    now = NOW if given.now is None else given.now
    _agree(given, now, scope)
    waiting = [e for e in expected if _subject(e) in names.dormant]
    expects = (_expect(e, given.slates, names) for e in expected if e not in waiting)
    return policy.Case(
        node.span,
        title,
        now,
        _typed(node.span, given.user or {}, now),
        tuple(_typed(node.span, item, now) for item in given.history or ()),
        tuple(_typed(node.span, item, now) for item in given.next_items or ()),
        tuple(
            (name, tuple(None if item is None else _typed(node.span, item, now) for item in places))
            for name, places in given.slates.items()
        ),
        tuple(expect for expect in expects if expect is not None),
        tuple(dict.fromkeys(_subject(e) for e in waiting)),
    )


def _subject(node: syntax.Expect) -> str:
    """The name of the rule that is expected to be something; empty for the order of two slates."""
    match node:
        case syntax.ExpectValue(_, rule):
            return rule.text
        case syntax.ExpectState(_, subject):
            return subject.text
        case syntax.ExpectOrder():
            return ""


def _typed(span: Span, record: Record, now: float) -> policy.Record:
    return policy.Record(span, tuple((name, cell.at(now)) for name, cell in record.items()))


def _agree(given: _Setting, now: float, scope: Scope) -> None:
    """Reports every column for which two mentions of one item state different values."""
    first: dict[tuple[object, str], records.Cell] = {}
    shown = (item for places in given.slates.values() for item in places if item)
    for item in (*(given.history or ()), *(given.next_items or ()), *shown):
        if (id := _id(item, scope)) is None:
            continue
        for column, cell in item.items():
            known = first.setdefault((id.value, column), cell)
            if known.at(now) != cell.at(now):
                finding = errors.two_values(cell.span, str(id.value), column, known.span.line)
                if finding not in scope.findings:  # the cases of a test share what it gives
                    scope.report(finding)


# ---- what is expected -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Names:
    """The rules, blocks and targets that an expectation may name."""

    scope: Scope
    rules: Mapping[str, _Rule]
    dormant: frozenset[str]

    def rule(self, name: syntax.Ident, *others: str) -> _Rule | None:
        """Returns the rule of a name, or reports that there is none; `others` are further suggestions.

        A name whose own statement has an error is not reported.
        """
        text, scope = name.text, self.scope
        if text in self.rules:
            return self.rules[text]
        if (defined := scope.defined.get(text)) is not None:
            if defined.kind in ("let", "param"):
                scope.report(errors.not_a_rule(name.span, text, defined.kind))
        elif not scope.may_be_unread(text):
            close = scope.near(text, (*self.rules, *others))
            scope.report(errors.unknown_rule(name.span, text, close, tuple(self.rules)))
        return None


_Slates: TypeAlias = Mapping[str, object]


def _expect(node: syntax.Expect, slates: _Slates, names: _Names) -> policy.Expect | None:
    match node:
        case syntax.ExpectValue(span, rule, of, value):
            known, share = names.rule(rule), _share(value, names.scope)
            slate = _slate_of(of, rule, slates, names.scope)
            if known is None or not _has_value(rule, known, names.scope) or share is None or slate is None:
                return None
            return policy.ExpectValue(span, rule.text, slate, share)
        case syntax.ExpectState(_, subject, of, state):
            if state.text not in _STATES:
                names.scope.report(errors.unknown_state(state.span, state.text, near(state.text, _STATES)))
                return None
            slate = _slate_of(of, subject, slates, names.scope)
            return _blocked(node, slate, slates, names) if state.text == "blocked" else _satisfied(node, slate, names)
        case syntax.ExpectOrder(span, better, worse):
            pair = [_slate_of(name, name, slates, names.scope) for name in (better, worse)]
            if better.text == worse.text and None not in pair:
                names.scope.report(errors.slate_above_itself(worse.span, worse.text))
            return policy.ExpectOrder(span, better.text, worse.text)


def _share(node: syntax.Expr, scope: Scope) -> float | None:
    match records.literal(node, scope):
        case None:
            return None
        case policy.Number(_, value, type) if (type.is_number or type is Type.RATIO) and 0 <= value <= 1:
            return value
        case _:
            scope.report(errors.not_a_share(node.span))
            return None


def _has_value(name: syntax.Ident, rule: _Rule, scope: Scope) -> bool:
    match rule:
        case policy.Block():
            help = f"write `expect {name.text} is blocked`: the slate holds an item that the block hits"
            scope.report(errors.no_value(name.span, name.text, "a block", help))
            return False
        case policy.Target(metric=policy.Population(measure=measure)):
            help = f"`{measure}` is of the slates of all users together: `recpolicy eval` reports it"
            scope.report(errors.no_value(name.span, name.text, "a target over all users", help))
            return False
    return True


def _satisfied(node: syntax.ExpectState, slate: str | None, names: _Names) -> policy.Expect | None:
    rule = names.rule(node.subject)
    if rule is not None and not isinstance(rule, policy.Quota):
        names.scope.report(errors.not_a_quota(node.subject.span, node.subject.text, _kind(rule)))
    elif rule is not None and slate is not None:
        return policy.ExpectSatisfied(node.span, node.subject.text, slate, node.negated)
    return None


def _blocked(node: syntax.ExpectState, slate: str | None, slates: _Slates, names: _Names) -> policy.Expect | None:
    subject, text = node.subject, node.subject.text
    if text == "slate":
        return None if slate is None else policy.ExpectBlocked(node.span, None, slate, node.negated)
    if text in slates and text not in names.rules:
        names.scope.report(errors.slate_as_block(subject.span, text))
        return None
    rule = names.rule(subject, "slate")
    if rule is not None and not isinstance(rule, policy.Block):
        names.scope.report(errors.not_a_block(subject.span, text, _kind(rule)))
    elif rule is not None and slate is not None:
        return policy.ExpectBlocked(node.span, text, slate, node.negated)
    return None


def _kind(rule: _Rule) -> str:
    if isinstance(rule, policy.Boost):
        return "bury" if rule.bury else "boost"
    return type(rule).__name__.lower()


def _slate_of(of: syntax.Ident | None, subject: syntax.Ident, slates: _Slates, scope: Scope) -> str | None:
    """The name of the slate that an expectation is about, "" for the one without a name; reports an unknown slate."""
    named = [name for name in slates if name]
    if of is not None and of.text in named:
        return of.text
    if of is not None:
        scope.report(errors.unknown_slate(of.span, of.text, scope.near(of.text, named), named, "" in slates))
    elif "" in slates:
        return ""
    elif named:
        scope.report(errors.which_slate(subject.span, subject.text, named))
    else:
        scope.report(errors.no_slate(subject.span))
    return None
