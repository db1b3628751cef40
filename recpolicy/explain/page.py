"""A policy in, the whole of it as one page of plain English out."""

from __future__ import annotations

from textwrap import fill

from recpolicy.explain import values
from recpolicy.explain.expressions import condition
from recpolicy.explain.rules import block, paragraph, rule, target
from recpolicy.explain.values import counted, listed, sentence
from recpolicy.explain.weights import Scale, segments, shares
from recpolicy.language.policy import Block, Boost, Expr, Policy, Quota, Rule, Target

WIDTH = 100

Entry = tuple[str, str]
"""A name, and what is said of it."""


def policy(node: Policy) -> str:
    """The policy as a page: what counts and how much, what lists hold, what is never shown, and for whom it differs.

    Paragraphs of at most 100 characters a line under headings, the last line ended.
    """
    scale = Scale(node)
    soft = [r for r in node.rules if not isinstance(r, Quota)]
    quotas = [r for r in node.rules if isinstance(r, Quota)]
    sections = (
        ("What counts, and how much", [(r.name, paragraph(r, node.slate, scale)) for r in soft]),
        ("What a list should hold", [(r.name, paragraph(r, node.slate, scale)) for r in quotas if not r.hard]),
        ("What a list must hold", [(r.name, paragraph(r, node.slate, scale)) for r in quotas if r.hard]),
        ("What is never shown", [(b.name, block(b)) for b in node.blocks]),
        ("What must come out in the end", [(t.name, target(t)) for t in node.targets]),
        ("For whom it differs", [("", said) for said in _differences(node)]),
        ("Not yet in force", [(d.name, f"From {values.day(d.since)} on.") for d in node.dormant]),
        ("Values that can be set", [(p.name, p.written + (" (given)" if p.given else "")) for p in node.params]),
    )
    pages = (f"{title}\n\n{_entries(entries)}" for title, entries in sections if entries)
    return "\n".join([_opening(node), *pages])


def entry(node: Rule | Block | Target, whole: Policy) -> str:
    """One rule, block or target with its name, in lines of at most 100 characters."""
    return _entry(node.name, said(node, whole), len(node.name))


def said(node: Rule | Block | Target, whole: Policy) -> str:
    """One rule, block or target as a paragraph."""
    match node:
        case Block():
            return block(node)
        case Target():
            return target(node)
        case _:
            return rule(node, whole)


def _opening(node: Policy) -> str:
    title = f"{node.name}, version {node.version}"
    lines = [title if node.owner is None else f"{title}. Ask: {node.owner}", ""]
    told = [f"A list has {counted(node.slate, 'place')}. An empty place earns nothing; all there is to earn is 100%."]
    if node.blocks:
        lost = (
            ", and loses all that can be taken away" if any(isinstance(r, Boost) and r.bury for r in node.rules) else ""
        )
        told.append(f"A list that holds something that is never shown earns nothing{lost}.")
    if node.as_of is not None:
        told.append(f"This is the policy as of {values.day(node.as_of)}.")
    return "\n".join([*lines, fill(" ".join(told), WIDTH), ""])


def _differences(node: Policy) -> list[str]:
    return [said for segment in segments(node) if (said := _difference(node, segment))]


def _difference(node: Policy, segment: Expr) -> str:
    """What holds for a segment, and how the shares of the weights differ from everybody's."""
    usual, here = shares(node), shares(node, segment)
    named = []
    for r in node.rules:
        if segment == r.weight.only:
            must = isinstance(r, Quota) and r.hard
            named.append(f"`{r.name}` {'is a must' if must else f'counts {values.share(here[r.name])}'}")
        elif segment in [branch for branch, _ in r.weight.changes] and r.weight.only is None:
            named.append(f"`{r.name}` counts {values.share(here[r.name])} instead of {values.share(usual[r.name])}")
    named += [f"`{b.name}` holds" for b in node.blocks if b.only == segment]
    others = "; all else shares the rest in the same proportions" if usual != here else ""
    return sentence(f"Where {condition(segment)}, {listed(named, 'and')}{others}") if named else ""


def _entries(entries: list[Entry]) -> str:
    width = min(20, max(len(name) for name, _ in entries))
    return "".join(_entry(name, text, width) for name, text in entries)


def _entry(name: str, text: str, width: int) -> str:
    indent = " " * (width + 4 if width else 2)
    head = f"  {name:<{width}}  " if width else "  "
    if len(name) > width:
        return f"  {name}\n{fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)}\n"
    return f"{fill(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)}\n"
