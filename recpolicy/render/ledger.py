"""Renders what each place of one list adds to each rule: a table of rules and places, and a line for each rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recpolicy import explain
from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset.columns import Bools, Codes, Floats, Ints, ListColumn, WordColumn
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.titles import titles
from recpolicy.explain import values
from recpolicy.language.policy import Per, Quota, Rule
from recpolicy.render.terminal import columns, paragraph
from recpolicy.render.text import width
from recpolicy.types import DAY

COLUMNS = 10
"""Places beside each other in the table."""


def page(dataset: Dataset, compiled: CompiledPolicy, rows: Rows, items: Codes) -> str:
    """Renders the list `items` [K] of item rows (-1 empty) for the one row of `rows`."""
    return _text(dataset, _sheet(compiled, rows, items), rows)


@dataclass(frozen=True)
class _Sheet:
    """The numbers of one slate: K places, the rules in the policy's order."""

    compiled: CompiledPolicy
    items: Codes  # [K], -1 empty
    added: dict[str, Floats]  # rule -> [K]
    whole: Floats  # [K]
    weights: Floats  # [rules]
    parts: Floats  # [rules], of the whole reward
    satisfied: dict[str, bool]
    blocked: Bools  # [K]
    unknown: dict[str, Ints]  # rule -> [K], 1 where the rule has no value for the item


def _sheet(compiled: CompiledPolicy, rows: Rows, items: Codes) -> _Sheet:
    slates = Slates(items[None])
    k = len(items)
    alone = np.full((k, k), -1, np.int32)  # slate r holds the item of place r and nothing else
    np.fill_diagonal(alone, items)
    repeated, single = rows.take(np.zeros(k, np.int64)), Slates(alone)
    added = {name: marginals[0] for name, marginals in compiled.marginals(rows, slates).items()}
    weights = compiled.weights(rows)[0]
    sign = np.array([rule.sign for rule in compiled.rules])
    value = np.array([np.nan_to_num(added[rule.name]).sum() for rule in compiled.rules])
    return _Sheet(
        compiled,
        items,
        added,
        compiled.total_marginals(rows, slates)[0],
        weights,
        sign * weights * value / (weights.sum() or 1.0),
        {name: bool(met[0]) for name, met in compiled.satisfied(rows, slates).items()},
        compiled.blocked(repeated, single),
        compiled.abstained(repeated, single),
    )


# ---- the page -------------------------------------------------------------------------------------------------------


def _text(dataset: Dataset, sheet: _Sheet, rows: Rows) -> str:
    policy, k = sheet.compiled.policy, len(sheet.items)
    user = dataset.user_ids[int(rows.user[0])]
    taken = values.counted(int(rows.history.lengths[0]), "item")
    day = values.date(float(rows.now[0]) // DAY * DAY)
    head = f"A list for user {user} on {day}, after {taken}, by {policy.name}, version {policy.version}"
    parts = [f"{head}\n", _places(dataset, sheet, rows)]
    if sheet.blocked.any():
        where = values.listed([str(r + 1) for r in np.flatnonzero(sheet.blocked)], "and")
        where = f"{'places' if sheet.blocked.sum() > 1 else 'place'} {where}"
        loss = f"What is never shown stands in {where}: the list earns nothing and loses all that can be lost."
        parts.append(f"{paragraph(loss)}\n")
    parts += [_table(sheet, range(first, min(first + COLUMNS, k))) for first in range(0, k, COLUMNS)]
    parts.append(_legend(sheet))
    parts.append("".join(_line(dataset, sheet, rule) for rule in policy.rules))
    return "\n".join(parts)


def _places(dataset: Dataset, sheet: _Sheet, rows: Rows) -> str:
    named = titles(dataset)
    seen = set(rows.history.row(0).tolist())
    lines = []
    for r, item in enumerate(sheet.items.tolist()):
        id = dataset.item_ids[item] if item >= 0 else ""
        name = "(empty)" if item < 0 else id if named[item] == id else f"{named[item]} ({id})"
        notes = ["never to be shown"] if sheet.blocked[r] else []
        notes += ["taken before"] if item in seen else []
        lines.append(f"  {r + 1:>3}  {name}{': ' if notes else ''}{', '.join(notes)}\n")
    return "".join(lines)


def _table(sheet: _Sheet, places: range) -> str:
    """The rows of the table for some places; the sums stand beside the last."""
    last = places.stop == len(sheet.items)
    head = [f"{r + 1}{'x' if sheet.blocked[r] else ''}" for r in places]
    lines = [["place", *head, *(["value", "weight", "part", "met"] if last else [])]]
    for at, rule in enumerate(sheet.compiled.rules):
        added, unknown = sheet.added[rule.name], sheet.unknown[rule.name]
        cells = [rule.name, *(_number(added[r]) + ("?" if unknown[r] else "") for r in places)]
        if last:
            met = {True: "yes", False: "no", None: ""}[sheet.satisfied.get(rule.name)]
            silent = bool(np.isnan(added).any())
            part = "-" if silent else f"{sheet.parts[at]:+.3f}"
            cells += [_number(added.sum()), f"{sheet.weights[at]:g}", part, "-" if silent and met else met]
        lines.append(cells)
    sums = ["", "", f"{sheet.whole.sum():+.3f}", ""] if last else []
    lines.append(["whole", *(_number(sheet.whole[r]) for r in places), *sums])
    widths = [max(width(line[0]) for line in lines), *[7] * (len(lines[0]) - 1)]
    return "".join(f"  {line}".rstrip() + "\n" for line in columns(lines, widths, right=True, gap=""))


def _number(value: float) -> str:
    return "-" if np.isnan(value) else "." if abs(value) < 5e-5 else f"{value:.3f}"


def _legend(sheet: _Sheet) -> str:
    notes = ["A number is what that place adds to the rule's value. Part: value x weight over the sum of weights."]
    if any(unknown.any() for unknown in sheet.unknown.values()):
        notes.append("?: the rule has no value for that item.")
    if sheet.blocked.any():
        notes.append("x: the item is never to be shown.")
    if any(np.isnan(added).any() for added in sheet.added.values()):
        notes.append("-: the rule says nothing of this user.")
    return paragraph(" ".join(notes)) + "\n"


def _line(dataset: Dataset, sheet: _Sheet, rule: Rule) -> str:
    added, held = sheet.added[rule.name], (sheet.items >= 0).tolist()
    text = explain.places(rule, added.tolist(), held, sheet.satisfied.get(rule.name))
    if isinstance(rule, Quota) and isinstance(rule.counted, Per) and not np.isnan(added).any():
        text = " ".join([text, *_shared(dataset, rule.counted.column.name, sheet.items, added)])
    return f"{paragraph(f'`{rule.name}`: {text}', further='  ', hyphens=False)}\n"


def _shared(dataset: Dataset, column: str, items: Codes, added: Floats) -> list[str]:
    """A sentence for each place in excess, about what it has in common with those above."""
    sentences = []
    for r in np.flatnonzero((items >= 0) & (added <= 0)):
        own = _values(dataset, column, int(items[r]))
        above = [_values(dataset, column, int(i)) for i in items[:r] if i >= 0]
        counts = {value: 1 + sum(value in other for other in above) for value in own}
        most = max(counts, key=lambda value: counts[value], default=None)
        if most is not None and counts[most] > 1:
            name = f"of unknown {values.name(column)}" if most == "" else f"of {values.quoted(most)}"
            sentences.append(f"Place {r + 1} is the {values.ordinal(counts[most])} {name}.")
    return sentences


def _values(dataset: Dataset, column: str, item: int) -> tuple[str, ...]:
    """The words of an item's column; one empty word where it is missing."""
    match dataset.items.columns[column]:
        case WordColumn(values=codes, words=known):
            return (known[codes[item]] if codes[item] >= 0 else "",)
        case ListColumn(values=lists, words=known, missing=missing):
            return ("",) if missing[item] else tuple(known[c] for c in lists.row(item))
    return ()
