"""Scores tables of logged slates by a policy, in one process or on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from recpolicy import data
from recpolicy.compiler import CompiledPolicy, compile
from recpolicy.dataset.rows import Dataset
from recpolicy.errors import UsageError
from recpolicy.language import checker
from recpolicy.scoring.needs import needs
from recpolicy.scoring.scores import Scores, joined, judge
from recpolicy.scoring.slates import MOST_PROBLEMS, Problem, Reader


class Scorer:
    """Scores logged slates: a pure function of them, picklable, built once per process.

    A user's history is that of the row, else the user's interactions up to the row's `now`: as in training, an item of
    it leaves a hole, unless items are repeatable. A row with neither has all interactions of the user as its history,
    whose items keep their places, since they may have been taken from the list. docs/scoring.md lists the columns.
    """

    def __init__(self, compiled: CompiledPolicy, dataset: Dataset, *, ranks: bool = False) -> None:
        """`compiled` was compiled against `dataset`; with `ranks` the scores have the part of each place, too."""
        self.users = dataset.users.rows
        self._compiled, self._ranks = compiled, ranks
        self._reader = Reader(dataset, needs(compiled.policy), compiled.policy.slate)

    @staticmethod
    def open(policy: str, source: str, *, ranks: bool = False) -> Scorer:
        """Builds a scorer from a policy, by its path or the name of a sample, and data, as `--data` takes it.

        Raises PolicyError for the policy and UsageError for data that cannot be used.
        """
        dataset = data.open(source)
        return Scorer(compile(checker.load(policy, schema=dataset.schema), dataset), dataset, ranks=ranks)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of logged slates that the scores depend on."""
        needs = self._reader.needs
        return ("user_id", "items", "history", *(("next_items",) if needs.next_items else ()), "now")

    @property
    def schema(self) -> pa.Schema:
        """The columns of the scores."""
        return self(pa.schema({"user_id": pa.string(), "items": pa.list_(pa.string())}).empty_table()).schema

    def __call__(self, slates: pa.Table | Iterable[pa.RecordBatch]) -> Any:
        """Scores slates, a row each in their order: returns a table for a table, and an iterator for record batches.

        Raises UsageError for a column that is absent or of a wrong type, and for rows that cannot be scored.
        """
        if isinstance(slates, pa.Table):
            whole = slates.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], slates.schema)]
            return pa.Table.from_batches(self._batches(whole))
        return self._batches(slates)

    def score(self, batch: pa.RecordBatch) -> tuple[Scores | None, tuple[Problem, ...]]:
        """Scores a record batch: returns its scores, or None and the reasons why some rows cannot be scored."""
        read = self._reader.read(batch)
        if read.problems:
            return None, read.problems
        return joined([judge(self._compiled, part, ranks=self._ranks) for part in self._reader.parts(read)]), ()

    def _batches(self, slates: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in slates:
            scores, problems = self.score(batch)
            if scores is None:
                raise unusable([f"row {row + 1}: {reason}" for row, reason in problems], "the slates")
            yield scores.table(batch.column("user_id"))


def unusable(problems: Sequence[str], where: str) -> UsageError:
    """Returns the error for rows that cannot be scored, with the first of them."""
    help = "take these rows out, or add the users to the data"
    if len(problems) == 1:
        return UsageError(problems[0], where=where, help=help)
    first = "the first " if len(problems) >= MOST_PROBLEMS else ""
    count = min(len(problems), MOST_PROBLEMS)
    lines = "\n".join([f"{first}{count} reasons why rows cannot be scored:", *problems[:count]])
    return UsageError(lines, where=where, help=help)
