"""A policy and its data in, a function from tables of logged slates to tables of scores out."""

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
    """Scores logged slates: a pure function of them, picklable, made once a process.

    A user's history is all that the data hold of them; items a slate repeats from it are counted and keep their places:
    logged slates may show what the user took later. The columns in and out stand in docs/scoring.md.
    """

    def __init__(self, compiled: CompiledPolicy, dataset: Dataset, *, ranks: bool = False) -> None:
        """`dataset` is what `compiled` was compiled against; `ranks` asks for every place's part of a value, too."""
        self.users = dataset.users.rows
        self._compiled, self._ranks = compiled, ranks
        self._reader = Reader(dataset, needs(compiled.policy), compiled.policy.slate)

    @staticmethod
    def open(policy: str, source: str, *, ranks: bool = False) -> Scorer:
        """A policy, by its path or the name of a sample, made ready for the data of `source`, as `--data` takes it.

        Raises PolicyError for the policy and UsageError for data of no use.
        """
        dataset = data.open(source)
        return Scorer(compile(checker.load(policy, schema=dataset.schema), dataset), dataset, ranks=ranks)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of logged slates that the scores depend on."""
        reads = self._reader.needs
        return ("user_id", "items", *(("next_items",) if reads.next_items else ()), *(("now",) if reads.now else ()))

    @property
    def schema(self) -> pa.Schema:
        """The columns of the scores."""
        return self(
            pa.table({"user_id": pa.array([], pa.string()), "items": pa.array([], pa.list_(pa.string()))})
        ).schema

    def __call__(self, slates: pa.Table | Iterable[pa.RecordBatch]) -> Any:
        """The scores of slates, a row each in their order: of a table a table, of record batches an iterator of them.

        Raises UsageError for a column that is absent or of another type, and for rows that cannot be scored.
        """
        if isinstance(slates, pa.Table):
            whole = slates.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], slates.schema)]
            return pa.Table.from_batches(self._batches(whole))
        return self._batches(slates)

    def score(self, batch: pa.RecordBatch) -> tuple[Scores | None, tuple[Problem, ...]]:
        """The scores of a record batch, or None and why some of its rows cannot be scored."""
        read = self._reader.read(batch)
        if read.problems:
            return None, read.problems
        return joined([judge(self._compiled, part, ranks=self._ranks) for part in self._reader.parts(read)]), ()

    def _batches(self, slates: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in slates:
            scores, problems = self.score(batch)
            if scores is None:
                raise unusable([f"row {row + 1}: {what}" for row, what in problems], "the slates")
            yield scores.table(batch.column("user_id"))


def unusable(problems: Sequence[str], where: str) -> UsageError:
    """Rows that cannot be scored: the first of them, named."""
    help = "take these rows out, or add the users to the data"
    if len(problems) == 1:
        return UsageError(problems[0], where=where, help=help)
    first = "the first " if len(problems) >= MOST_PROBLEMS else ""
    listed = "".join(f"\n{what}" for what in problems[:MOST_PROBLEMS])
    count = min(len(problems), MOST_PROBLEMS)
    return UsageError(f"{first}{count} reasons why rows cannot be scored:{listed}", where=where, help=help)
