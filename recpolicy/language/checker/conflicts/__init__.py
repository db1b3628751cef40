"""Finds quotas and blocks of a policy that contradict each other with any catalog.

kinds.py    conditions -> the kinds of item they distinguish
model.py    quotas and blocks -> numbers of places -> linear inequalities
linear.py   inequalities -> a few that cannot hold together
search.py   the smallest sets in conflict and the nearest ways out of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors import conflicts as errors
from recpolicy.language import policy
from recpolicy.language.checker.conflicts.model import QuotaBounds, demands
from recpolicy.language.checker.conflicts.search import Change, Contradiction, contradictions
from recpolicy.language.checker.statements.quotas import places
from recpolicy.span import Source, Span

__all__ = ["conflicts"]

_MOST_WAYS = 2
"""The number of ways out that a finding names."""


def conflicts(rules: policy.Policy, sources: Mapping[str, Source]) -> list[Diagnostic]:
    """Finds the smallest sets of quotas and blocks that no slate of K places, full or partial, can meet together.

    Every finding is a real contradiction. Quotas without weight for any user, and those whose users exclude each other,
    do not count. `sources` has the file of every rule that is not in the main file, by the rule's name.
    """
    sets = contradictions(demands(rules), rules.slate)
    hiding = [{id(d.rule) for d in one.demands} for one in sets if any(d.rule is None for d in one.demands)]
    writer = _Writer(rules, sources)
    out = []
    for one in sets:
        ids = {id(demand.rule) for demand in one.demands}
        if not any(hidden - {id(None)} < ids and hidden != ids for hidden in hiding):
            out.append(writer.finding(one))
    return sorted(out, key=lambda finding: (finding.source is not None, finding.span.start))


class _Writer:
    """Findings about the rules of one policy."""

    def __init__(self, rules: policy.Policy, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self.main = rules.sources[0] if rules.sources else None
        self.order = {rule.name: i for i, rule in enumerate((*rules.blocks, *rules.rules))}

    def finding(self, contradiction: Contradiction) -> Diagnostic:
        """Builds a finding at the quota that comes last, with the others as notes."""
        demands, ways_out = contradiction.demands, contradiction.ways_out
        stated = sorted((d for d in demands if d.rule is not None), key=lambda d: self.order[_name(d)])
        last = stated[-1]
        source = self.sources.get(_name(last))
        notes = tuple(Note(_place(d), _asks(d), self._beside(d, source)) for d in stated[:-1])
        names = [_name(demand) for demand in stated]
        if len(stated) < len(demands):
            return errors.nothing_left(_place(last), names, notes, source)
        if len(stated) == 1:
            assert isinstance(last.rule, policy.Quota)
            return errors.impossible(last.rule.counted.span, names[0], source)
        if all(isinstance(demand.rule, policy.Block) for demand in stated[:-1]):
            return errors.blocked(_place(last), names[-1], names[:-1], notes, source)
        change = next((way for way in ways_out if way.demand is last), None)
        span = _place(last) if change is None else _bound(change).span
        ways = [_way(way) for way in ways_out[:_MOST_WAYS]]
        segments = len({demand.when for demand in stated} - {None})
        fix = None if change is None else _amount(change)
        return errors.contradiction(span, names, _asks(last), ways, segments, notes, fix, source)

    def _beside(self, demand: QuotaBounds, source: Source | None) -> Source | None:
        """The file of a note, None if it is that of the finding."""
        own = self.sources.get(_name(demand))
        return None if own is source else own if own is not None else self.main


def _name(demand: QuotaBounds) -> str:
    assert demand.rule is not None
    return demand.rule.name


def _place(demand: QuotaBounds) -> Span:
    match demand.rule:
        case policy.Block(_, _, where):
            return where.span
        case policy.Quota(_, _, _, low, high):
            bound = low if low is not None else high
            assert bound is not None
            return bound.span
        case None:
            raise AssertionError("a demand that nobody wrote has no place")


def _asks(demand: QuotaBounds) -> str:
    """What a demand requires, as the label under its line."""
    low, high = demand.low, demand.high
    if isinstance(demand.rule, policy.Block):
        return "hides every item that matches"
    if isinstance(demand.counted, policy.Column):
        what = "places a value" if demand.per else "different values"
    else:
        what = "places"
    if low is not None and high is not None:
        text = f"asks for {low} to {high} {what}"
    elif low is not None:
        text = f"asks for at least {low} {_singular(what, low)}"
    else:
        text = f"allows at most {high} {_singular(what, high)}"
    window = demand.rule.window if demand.rule is not None else None
    if window is not None:
        text += f" of any {window.length} in a row" if window.sliding else f" of the first {window.length}"
    return text


def _singular(what: str, count: int | None) -> str:
    return what.replace("places", "place").replace("values", "value") if count == 1 else what


def _bound(change: Change) -> policy.Bound:
    assert isinstance(change.demand.rule, policy.Quota)
    bound = change.demand.rule.at_least if change.bound == "at least" else change.demand.rule.at_most
    assert bound is not None
    return bound


def _way(change: Change) -> str:
    bound = _bound(change)
    written = f"{bound.amount * 100:g}%" if bound.percent else f"{bound.amount:g}"
    verb = "lower" if change.bound == "at least" else "raise"
    return f"{verb} `{change.bound} {written}` of `{_name(change.demand)}` to {_amount(change)}"


def _amount(change: Change) -> str:
    """The new bound as it is written: a whole percentage for a percentage if there is one, else a number of places."""
    bound = _bound(change)
    length, least = change.demand.length, change.bound == "at least"
    if bound.percent:
        for percent in _percentages(change.places, length, least):
            if places(policy.Bound(bound.span, percent / 100, True), length, at_least=least) == change.places:
                return f"{percent}%"
    return str(change.places)


def _percentages(count: int, length: int, least: bool) -> Sequence[int]:
    below = 100 * count // length
    return (below, below + 1) if least else (below + 1, below) if 100 * count % length else (below,)
