"""Checks `from`, `until` and `because` of a rule, and finds out whether the rule holds on the day of the check."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from recpolicy.errors import composition
from recpolicy.language import syntax
from recpolicy.language.checker.expressions.literals import day
from recpolicy.language.checker.scope import Scope


@dataclass(frozen=True)
class Clauses:
    """The reason of a rule, and its first day if that is still to come."""

    because: str | None = None
    since: datetime.date | None = None


def clauses(name: syntax.Ident, written: tuple[syntax.Clause, ...], scope: Scope) -> Clauses:
    """Checks the clauses behind the rule `name` and reports each finding, also that a rule has expired."""
    first: dict[str, syntax.Clause] = {}
    for clause in written:
        word = type(clause).__name__.lower()
        earlier = first.setdefault(word, clause)
        if earlier is not clause:
            scope.report(composition.clause_twice(clause.span, word, earlier.span.line))
    since, until, because = (first.get(word) for word in ("from", "until", "because"))
    start = day(since.date, "from", scope) if isinstance(since, syntax.From) else None
    end = day(until.date, "until", scope) if isinstance(until, syntax.Until) else None
    if start is not None and end is not None and end < start:
        assert until is not None
        scope.report(composition.never_holds(until.span, name.text, start.isoformat(), end.isoformat()))
    elif until is not None and end is not None and end < scope.today():
        scope.report(composition.expired(until.span, name.text, end.isoformat()))
    dormant = start is not None and scope.today() < start
    return Clauses(because.reason.value if isinstance(because, syntax.Because) else None, start if dormant else None)
