"""Lays a whole policy out as one page of plain English."""

from __future__ import annotations

from textwrap import fill

from recpolicy.errors.words import WIDTH
from recpolicy.explain import values
from recpolicy.explain.expressions import condition
from recpolicy.explain.rules import block, rule, sentence, target
from recpolicy.explain.weights import Scale, segments, shares
from recpolicy.language.policy import Block, Boost, Expr, Policy, Quota, Rule, Target


def policy(node: Policy) -> str:
    """Returns the policy as a page: what counts and how much, what lists hold, what is never shown, who differs.

    Paragraphs of at most 100 characters a line stand under headings. The last line ends with a line feed.
    """
    scale = Scale(node)
    soft, quotas, hard = list[tuple[str, str]](), list[tuple[str, str]](), list[tuple[str, str]]()
    for r in node.rules:
        section = soft if not isinstance(r, Quota) else hard if r.hard else quotas
        section.append((r.name, rule(r, node, scale)))
    sections = (
        ("What counts, and how much", soft),
        ("What a list should hold", quotas),
        ("What a list must hold", hard),
        ("What is never shown", [(b.name, block(b)) for b in node.blocks]),
        ("What must come out in the end", [(t.name, target(t)) for t in node.targets]),
        ("For whom it differs", [("", text) for segment in segments(node) if (text := _difference(node, segment))]),
        ("Not yet in force", [(d.name, f"From {values.day(d.since)} on.") for d in node.dormant]),
        ("Values that can be set", [(p.name, p.written + (" (given)" if p.given else "")) for p in node.params]),
    )
    pages = [_opening(node)]
    for title, entries in sections:
        if entries:
            width = min(20, max(len(name) for name, _ in entries))
            pages.append(f"{title}\n\n{''.join(_entry(name, text, width) for name, text in entries)}")
    return "\n".join(pages)


def entry(node: Rule | Block | Target, whole: Policy) -> str:
    """Returns one rule, block or target with its name, in lines of at most 100 characters."""
    return _entry(node.name, sentence(node, whole), len(node.name))


def _opening(node: Policy) -> str:
    title = f"{node.name}, version {node.version}" + ("" if node.owner is None else f". Ask: {node.owner}")
    places = values.counted(node.slate, "place")
    text = f"A list has {places}. An empty place earns nothing; all there is to earn is 100%."
    if node.blocks:
        buries = any(isinstance(r, Boost) and r.bury for r in node.rules)
        lost = ", and loses all that can be taken away" if buries else ""
        text += f" A list that holds something that is never shown earns nothing{lost}."
    if node.as_of is not None:
        text += f" This is the policy as of {values.day(node.as_of)}."
    return f"{title}\n\n{fill(text, WIDTH)}\n"


def _difference(node: Policy, segment: Expr) -> str:
    """What holds for a segment, and how the shares of the weights differ from everybody's."""
    usual, own = shares(node), shares(node, segment)
    parts = []
    for r in node.rules:
        if segment == r.weight.only:
            must = isinstance(r, Quota) and r.hard
            parts.append(f"`{r.name}` {'is a must' if must else f'counts {values.share(own[r.name])}'}")
        elif segment in [branch for branch, _ in r.weight.changes] and r.weight.only is None:
            parts.append(f"`{r.name}` counts {values.share(own[r.name])} instead of {values.share(usual[r.name])}")
    parts += [f"`{b.name}` holds" for b in node.blocks if b.only == segment]
    if not parts:
        return ""
    others = "; all else shares the rest in the same proportions" if usual != own else ""
    return values.sentence(f"Where {condition(segment)}, {values.listed(parts, 'and')}{others}")


def _entry(name: str, text: str, width: int) -> str:
    indent = " " * (width + 4 if width else 2)
    head = f"  {name:<{width}}  " if width else "  "
    if len(name) > width:
        return f"  {name}\n{fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)}\n"
    return f"{fill(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)}\n"
