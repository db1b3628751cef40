"""Finds the allowed words that a misspelt word was probably meant to be, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterable


def near(word: str, allowed: Iterable[str]) -> str | None:
    """Returns the allowed word closest to `word`, or None where none is close."""
    return next(iter(nearest(word, allowed)), None)


def nearest(word: str, allowed: Iterable[str]) -> list[str]:
    """Returns the allowed words within a third of `word`'s length in edits (at least one edit), the closest first.

    Case, underscores and a plural `s` cost nothing, so `Genre` finds `genres`. A swap of neighbours, or all the right
    letters in another order, is one edit. A word of one letter finds only words of two letters: `i` finds `id`.
    """
    ranked: list[tuple[float, int, str]] = []
    plain = _plain(word)
    for candidate in allowed:
        target = _plain(candidate)
        most = max(1, max(len(plain), len(target)) // 3)
        distance = min(_distance(plain, target, most), _distance(_singular(plain), _singular(target), most))
        if distance <= most and candidate != word:
            # A tie goes to the candidate that shares the first letter, then to the closest with underscores and all.
            ranked.append((distance + (0 if target[:1] == plain[:1] else 0.5), _edits(word, candidate), candidate))
    return [candidate for *_, candidate in sorted(ranked, key=lambda rank: rank[:2])]


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace(" ", "")


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _distance(a: str, b: str, most: int) -> int:
    """Edits from `a` to `b`, or more than `most` where the words are too short or too different."""
    if a == b:
        return 0
    if len(a) == 1 and len(b) == 2 and a in b:
        return 1
    if min(len(a), len(b)) <= most or abs(len(a) - len(b)) > most:
        return most + 1
    return 1 if sorted(a) == sorted(b) else _edits(a, b)


def _edits(a: str, b: str) -> int:
    """Optimal string alignment distance: insert, delete, replace, or swap of two neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
