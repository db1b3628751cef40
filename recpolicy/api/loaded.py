"""Scores, reranks, evaluates and explains lists by one policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from recpolicy.api import strengths
from recpolicy.api.results import Evaluated, Reranked, RowProblem, Scored
from recpolicy.api.rows import Histories, Id, Lists, Reader, Time, Times, ids
from recpolicy.api.strengths import FittedStrength
from recpolicy.api.users import inline, with_nobody
from recpolicy.compiler import CompiledPolicy
from recpolicy.compiler.catalog import with_users
from recpolicy.dataset.columns import Bools, Codes, Floats
from recpolicy.dataset.rows import Dataset, Rows, Slates
from recpolicy.dataset.slates import unseen_at
from recpolicy.errors import UsageError
from recpolicy.evaluation import metrics, targets
from recpolicy.evaluation.baselines import top
from recpolicy.evaluation.decision import decide
from recpolicy.evaluation.guardrail import guarded
from recpolicy.render.ledger import page
from recpolicy.rewards import RewardComputer
from recpolicy.search.rerank import rerank, weighted

ACCURACY: tuple[metrics.Accuracy, ...] = ("ndcg", "hit", "recall", "precision", "mrr")


class LoadedPolicy:
    """A policy over its data. Picklable; its methods change nothing, so threads may share it.

    Lists are lists of item ids, the best place first. `user` is one id for all lists or one for each; None is a user
    about whom nothing is known. `users` are the columns of users that the data do not have, a row for each list: a
    mapping, or a table of any library. `history` holds the ids of what each user had taken before, oldest first;
    without it the history is what the data hold of the user up to `now`, or all of it without `now`. As in training, an
    item of the history leaves a hole; where neither `history` nor `now` is given it keeps its place, since the user may
    have taken it from this very list. An unknown user or item is a problem of its row, never an exception.
    """

    def __init__(self, compile: Callable[[Dataset], CompiledPolicy], dataset: Dataset) -> None:
        """`compile` compiles the policy against a data set; `dataset` holds what the policy may read."""
        self.dataset = with_nobody(dataset)
        self.compiled = compile(self.dataset)
        self._reader = Reader(self.dataset)

    @property
    def name(self) -> str:
        """The name in the policy's header."""
        return self.compiled.policy.name

    @property
    def slate(self) -> int:
        """K, the number of places of a list."""
        return self.compiled.policy.slate

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules, in the policy's order."""
        return tuple(rule.name for rule in self.compiled.rules)

    def score(
        self,
        lists: Lists,
        *,
        user: Id | Sequence[Id | None] | None = None,
        history: Histories | None = None,
        next_items: Lists | None = None,
        now: Times = None,
        users: Any = None,
    ) -> Scored:
        """Scores B lists by every rule; `next_items` are what each user took next, for `ndcg(next_items)` and the like.

        The numbers are those of training, `recpolicy score` and the adapters for the same rows.
        """
        problems: list[RowProblem] = []
        compiled, rows, unknown = self._rows(len(lists), user, history, next_items, now, users, problems)
        slates = self._reader.slates(lists, self.slate, problems)
        fresh = unseen_at(slates, rows, len(self.dataset.item_ids))
        keeps = self._without_time(now, len(lists))
        if history is not None:
            keeps &= np.array([past is None for past in history], np.bool_)
        valid = np.where(fresh | keeps[:, None] | rows.repeatable, slates, np.int32(-1))
        rewards = RewardComputer(compiled, replace(rows, repeatable=True), len(self.dataset.item_ids))
        computed = rewards.of_slates(valid, range(len(lists)))
        total = computed.weights.sum(1)
        applies = ~unknown & (total > 0)
        values = np.where(unknown[:, None], np.nan, computed.values)
        return Scored(
            reward=np.where(applies, np.nansum(computed.parts, 1), np.nan),
            rules=dict(zip(self.rules, values.T, strict=True)),
            parts=dict(zip(self.rules, np.where(unknown[:, None], np.nan, computed.parts).T, strict=True)),
            weights=dict(zip(self.rules, computed.weights.T, strict=True)),
            ranks={name: np.where(unknown[:, None], np.nan, ranks) for name, ranks in computed.marginals.items()},
            satisfied=compiled.satisfied(rows, computed.valid),
            blocked=compiled.blocked(rows, computed.valid),
            seen=np.asarray(~fresh.all(1)),
            problems=_ordered(problems),
        )

    def rerank(
        self,
        candidates: Lists,
        scores: Sequence[Any],
        *,
        user: Id | Sequence[Id | None] | None = None,
        history: Histories | None = None,
        now: Times = None,
        users: Any = None,
        strength: float | None = None,
    ) -> Reranked:
        """Builds a list of K from the candidates of each row, whose `scores` are a model's own, of any scale.

        Each place takes the candidate with the largest score + `strength` x its gain for the policy; scores are scaled
        to 0..1 in each row. Without `strength` the policy's own weights say how much the scores count. Blocked items,
        those of the history and those that would break a hard quota are never chosen.
        """
        problems: list[RowProblem] = []
        compiled, rows, _ = self._rows(len(candidates), user, history, None, now, users, problems)
        items, values = self._candidates(candidates, scores, rows, problems)
        if strength is None:
            slates = weighted(items, values, rows, compiled)
        else:
            slates = rerank(items, values, rows, compiled, strength)
        return Reranked([ids(slate, self.dataset.item_ids) for slate in slates.items], _ordered(problems))

    def fit_strength(
        self,
        candidates: Lists,
        scores: Sequence[Any],
        *,
        next_items: Lists,
        user: Id | Sequence[Id | None] | None = None,
        history: Histories | None = None,
        now: Times = None,
        users: Any = None,
    ) -> FittedStrength:
        """Finds the strength of `rerank` whose lists have the largest reward R on users whose next items are known.

        `candidates` and `scores` are of a recommender that has not seen these next items. R weighs relevance by what
        users took against the policy's other rules, so what a strength costs in relevance counts.
        """
        compiled, rows, _ = self._rows(len(candidates), user, history, next_items, now, users, [])
        items, values = self._candidates(candidates, scores, rows, [])

        def measured(strength: float) -> tuple[Floats, Floats]:
            slates = rerank(items, values, rows, compiled, strength)
            return compiled.total(rows, slates), metrics.accuracy("ndcg", rows, slates)

        return strengths.fit(measured)

    def evaluate(
        self,
        lists: Lists,
        *,
        next_items: Lists,
        user: Id | Sequence[Id | None] | None = None,
        history: Histories | None = None,
        now: Times = None,
        users: Any = None,
        baseline: Lists | None = None,
        seed: int = 0,
    ) -> Evaluated:
        """Evaluates the lists of any recommender on what users took next; with `baseline`, paired with its lists.

        As in training, a policy without a target on relevance then has a guardrail: relevance must not fall.
        """
        problems: list[RowProblem] = []
        compiled, rows, _ = self._rows(len(lists), user, history, next_items, now, users, problems)
        slates = self._reader.slates(lists, self.slate, problems)
        before = slates if baseline is None else self._reader.slates(baseline, self.slate, problems)
        if baseline is not None:
            compiled = guarded(compiled)
        ours, theirs = (self._measured(compiled, rows, items) for items in (slates, before))
        outcomes, earlier = (
            targets.outcomes(compiled, rows, Slates(items), Slates(before), seed=seed) for items in (slates, before)
        )
        difference, decision = {}, None
        if baseline is not None:
            difference = {name: metrics.paired(ours[name], theirs[name], seed=seed) for name in ours}
            counts = np.bincount(self.dataset.item, minlength=len(self.dataset.item_ids)).astype(np.float32)
            popular = top(np.broadcast_to(counts, (len(rows), len(counts))), rows, self.slate)
            worth = metrics.paired(theirs["ndcg"], metrics.accuracy("ndcg", rows, popular), seed=seed)
            decision = decide(outcomes, earlier, difference["reward"], worth)
        intervals = {name: metrics.interval(values, seed=seed) for name, values in ours.items()}
        return Evaluated(
            users=len(lists),
            accuracy={name: intervals[name] for name in ACCURACY},
            reward=intervals["reward"],
            rules={name: intervals[name] for name in self.rules},
            targets=outcomes,
            blocked=float(compiled.blocked(rows, Slates(slates)).mean()),
            less_baseline=difference,
            decision=decision,
            problems=_ordered(problems),
        )

    def explain(
        self,
        items: Sequence[Id],
        *,
        user: Id | None = None,
        history: Sequence[Id] | None = None,
        now: Time | None = None,
        users: Any = None,
    ) -> str:
        """Explains one list in plain words: what each of its places adds to each rule."""
        problems: list[RowProblem] = []
        past = None if history is None else [history]
        compiled, rows, _ = self._rows(1, user, past, None, now, users, problems)
        slates = self._reader.slates([items], self.slate, problems)
        notes = "".join(f"note: {problem.reason}\n" for problem in problems)
        return notes + page(self.dataset, compiled, rows, slates[0])

    # ---- rows -------------------------------------------------------------------------------------------------------

    def _candidates(
        self, candidates: Lists, scores: Sequence[Any], rows: Rows, problems: list[RowProblem]
    ) -> tuple[Codes, Floats]:
        """Candidates [B, C] that are not in the history, -1 for none, and their scores, -inf for none."""
        items, values = self._reader.candidates(candidates, scores, problems)
        items = np.where(unseen_at(items, rows, len(self.dataset.item_ids)), items, np.int32(-1))
        return items, np.where(items >= 0, values, -np.inf)

    def _rows(
        self,
        count: int,
        user: Id | Sequence[Id | None] | None,
        history: Histories | None,
        next_items: Lists | None,
        now: Times,
        users: Any,
        problems: list[RowProblem],
    ) -> tuple[CompiledPolicy, Rows, Bools]:
        """The rows, the policy compiled for their users, and which users are unknown."""
        rows, unknown = self._reader.rows(count, user, history, next_items, now, problems)
        if users is None:
            return self.compiled, rows, unknown
        if self.compiled.catalog.user_percentiles:
            raise UsageError(
                "the policy ranks users by a column, so they must be in the data", help="leave out `users`"
            )
        table = inline(users, self.dataset.schema, count)
        problems[:] = [problem for problem in problems if not problem.reason.startswith("unknown user")]
        compiled = replace(self.compiled, catalog=with_users(self.compiled.catalog, table))
        return compiled, replace(rows, user=np.arange(count)), np.zeros(count, np.bool_)

    @staticmethod
    def _without_time(now: Times, count: int) -> Bools:
        if now is None or isinstance(now, str | int | float | date):
            return np.full(count, now is None)
        return np.array([moment is None for moment in now], np.bool_)

    def _measured(self, compiled: CompiledPolicy, rows: Rows, items: Codes) -> dict[str, Floats]:
        """Accuracy, rules and the whole reward of each list, [B] each."""
        slates = Slates(items)
        values = compiled.values(rows, slates)
        out: dict[str, Floats] = {name: metrics.accuracy(name, rows, slates) for name in ACCURACY}
        return {**out, "reward": compiled.total(rows, slates), **values}


def _ordered(problems: list[RowProblem]) -> tuple[RowProblem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.row))
