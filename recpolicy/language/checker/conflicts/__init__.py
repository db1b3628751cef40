"""A typed policy in, the quotas and blocks that contradict each other out, whatever the catalog.

kinds.py    conditions -> the kinds of item they tell apart
model.py    quotas and blocks -> numbers of places -> linear inequalities
linear.py   inequalities -> the few that cannot hold together
search.py   the smallest sets in conflict and the nearest way out of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recpolicy.errors import Diagnostic, Note
from recpolicy.errors import conflicts as errors
from recpolicy.language import policy
from recpolicy.language.checker.conflicts.model import Demand, demands
from recpolicy.language.checker.conflicts.search import Change, Contradiction, contradictions
from recpolicy.language.checker.quotas import places
from recpolicy.span import Source, Span

__all__ = ["conflicts"]

_MOST_WAYS = 2
"""Ways out that are named."""


def conflicts(rules: policy.Policy, sources: Mapping[str, Source]) -> list[Diagnostic]:
    """The smallest sets of quotas and blocks that no slate of K places, full or partial, can meet together.

    Never a false alarm; quotas that weigh nothing for anybody, and those whose users exclude each other, do not count.
    `sources` are the files of rules that do not stand in the main one, by name of the rule.
    """
    found = contradictions(demands(rules), rules.slate)
    hiding = [{id(d.rule) for d in one.demands} for one in found if any(d.rule is None for d in one.demands)]
    writer = _Writer(rules, sources)
    out = []
    for one in found:
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

    def finding(self, found: Contradiction) -> Diagnostic:
        """The finding stands at the quota that comes last; the others are notes."""
        stated = sorted((d for d in found.demands if d.rule is not None), key=lambda d: self.order[_name(d)])
        last = stated[-1]
        source = self.sources.get(_name(last))
        notes = tuple(Note(_place(d), _asks(d), self._beside(d, source)) for d in stated[:-1])
        names = [_name(demand) for demand in stated]
        if len(stated) < len(found.demands):
            return errors.nothing_left(_place(last), names, notes, source)
        if len(stated) == 1:
            assert isinstance(last.rule, policy.Quota)
            return errors.impossible(last.rule.counted.span, names[0], source)
        if all(isinstance(demand.rule, policy.Block) for demand in stated[:-1]):
            return errors.blocked(_place(last), names[-1], names[:-1], notes, source)
        change = next((way for way in found.ways_out if way.demand is last), None)
        span = _place(last) if change is None else _bound(change).span
        ways = [_way(way) for way in found.ways_out[:_MOST_WAYS]]
        segments = len({demand.when for demand in stated} - {None})
        fix = None if change is None else _amount(change)
        return errors.contradiction(span, names, _asks(last), ways, segments, notes, fix, source)

    def _beside(self, demand: Demand, source: Source | None) -> Source | None:
        """The file of a note, None where it is that of the finding."""
        own = self.sources.get(_name(demand))
        return None if own is source else own if own is not None else self.main


def _name(demand: Demand) -> str:
    assert demand.rule is not None
    return demand.rule.name


def _place(demand: Demand) -> Span:
    match demand.rule:
        case policy.Block(_, _, where):
            return where.span
        case policy.Quota(_, _, _, low, high):
            bound = low if low is not None else high
            assert bound is not None
            return bound.span
        case None:
            raise AssertionError("a demand that nobody wrote has no place")


def _asks(demand: Demand) -> str:
    """What a demand asks, in words for the label under its line."""
    low, high = demand.low, demand.high
    if isinstance(demand.rule, policy.Block):
        return "hides every item that matches"
    if isinstance(demand.counted, policy.Column):
        what = f"{'places a value' if demand.per else 'different values'}"
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
    """The new bound as it is written: a percentage, where a whole one says it, in the place of a percentage."""
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
