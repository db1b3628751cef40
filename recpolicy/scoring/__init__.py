"""Scores logged slates (Parquet or JSONL) by a policy, batch by batch: the value of every rule for each slate.

columns.py  the columns of a table of slates
needs.py    the facts about a user that a policy reads
ids.py      ids as rows of the data
slates.py   record batches as the compiler reads them
scores.py   the scores of slates
scorer.py   the scorer of whole tables, here or on a cluster
jsonl.py    JSON Lines as record batches
files.py    files of slates and of scores
tally.py    means over scores
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from recpolicy import outputs
from recpolicy.scoring.files import ROWS, read_file, write_file
from recpolicy.scoring.scorer import Scorer, unusable
from recpolicy.scoring.scores import Scores
from recpolicy.scoring.slates import MOST_PROBLEMS
from recpolicy.scoring.tally import Mean, Tally

__all__ = ["Mean", "Scorer", "Scores", "Tally", "score_file", "score_files"]


def score_file(scorer: Scorer, path: Path, *, rows: int = ROWS) -> Iterator[tuple[Scores, pa.Array, float]]:
    """Yields scores of the slates in a file with their user ids and the share of the file read, `rows` at most at once.

    Raises UsageError, at the end of the file, with every row that cannot be scored, or `MOST_PROBLEMS` of them. After
    the first such row nothing more is scored.
    """
    problems: list[str] = []
    for chunk in read_file(path, scorer.columns, rows):
        scores, unscored = scorer.score(chunk.batch)
        problems += [f"{chunk.name(row)}: {reason}" for row, reason in unscored]
        if len(problems) >= MOST_PROBLEMS:
            break
        if scores is not None and not problems:
            yield scores, chunk.batch.column("user_id"), chunk.share
    if problems:
        raise unusable(problems, str(path))


def score_files(
    scorer: Scorer, slates: Path, out: Path | None, *, progress: Callable[[int, float], None] | None = None
) -> Tally:
    """Scores the slates of a file, writes the scores to `out` where it is given, and counts them.

    `out` (.parquet or .jsonl) appears complete or not at all. `progress` is called after each batch with the number of
    slates scored and the share of the file read. Raises UsageError as `score_file` does, and OSError.
    """
    tally = Tally(scorer.users)

    def counted() -> Iterator[tuple[Scores, pa.Array]]:
        for scores, user_id, share in score_file(scorer, slates):
            tally.add(scores)
            if progress is not None:
                progress(tally.slates, share)
            yield scores, user_id

    if out is None:
        deque(counted(), maxlen=0)
        return tally
    with outputs.whole(out) as part:
        write_file(part, out.suffix, scorer.schema, (scores.table(user_id) for scores, user_id in counted()))
    return tally
