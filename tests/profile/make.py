"""Short forms for tests: policies as text over a small catalog, users, and what a model does for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.columns import Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.language import checker, parser
from recpolicy.profile.report import Rollouts
from recpolicy.span import Source
from tests.rewards.world import ITEM, USER, Record, dataset


def data(items: Sequence[Record], users: Sequence[Record] = ({},)) -> Dataset:
    """These items and users; what a record leaves out is missing."""
    full = [dict.fromkeys(ITEM) | {"popularity": 0} | record for record in items]
    return dataset(full, [dict.fromkeys(USER) | record for record in users], [[] for _ in users])


def policy(rules: str, held: Dataset, k: int) -> CompiledPolicy:
    """A policy of these lines, for lists of `k` places."""
    text = f'policy "made" {{ language = 1  data = "here"  slate = {k} }}\n{rules}\n'
    return compile(checker.check(parser.parse(Source("made.policy", text)), held.schema), held)


def rows(
    following: Sequence[Sequence[int]], *, user: Sequence[int] = (), history: Sequence[Sequence[int]] = ()
) -> Rows:
    """What each row's user took next, and has taken before; all are the first user unless given."""
    b = len(following)
    who = np.array(user, np.int64) if user else np.zeros(b, np.int64)
    return Rows(who, np.zeros(b), Ragged.of(history or [[]] * b), Ragged.of(following))


def rollouts(of: Rows, sampled: Sequence[Sequence[int]], popular: Sequence[int] | None = None) -> Rollouts:
    """Lists sampled for the rows, as many for each; every item up to their last is a candidate, the first the best."""
    slates = np.array(sampled, np.int32)
    shown = np.arange(slates.max() + 1, dtype=np.int32)
    candidates = np.tile(shown, (len(of), 1))
    usual = np.array(popular or slates[0], np.int32)
    return Rollouts(
        of,
        Slates(slates),
        len(slates) // len(of),
        1.0,
        candidates,
        -candidates.astype(np.float64),
        Slates(np.tile(usual, (len(of), 1))),
    )
