"""Logged slates in (Parquet or JSONL), the value of every rule of a policy for each of them out, batch by batch.

columns.py  what a table of slates has to hold
needs.py    what a policy reads of a slate's user
ids.py      ids as rows of the data
slates.py   record batches as the compiler reads them
scores.py   what the policy says of them
scorer.py   the two together: tables in, tables out, here or on a cluster
jsonl.py    JSON Lines as record batches
files.py    files of slates and of scores
tally.py    means over what was scored
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from recpolicy.scoring.files import ROWS, read_file, write_file
from recpolicy.scoring.scorer import Scorer, unusable
from recpolicy.scoring.scores import Scores
from recpolicy.scoring.slates import MOST_PROBLEMS
from recpolicy.scoring.tally import Mean, Tally

__all__ = ["Mean", "Scorer", "Scores", "Tally", "score_file", "score_files"]


def score_file(scorer: Scorer, path: Path, *, rows: int = ROWS) -> Iterator[tuple[Scores, pa.Array, float]]:
    """The scores of the slates in a file, their user ids, and the share of the file read; at most `rows` at a time.

    Raises UsageError, at the end of the file, with every row that cannot be scored, or `MOST_PROBLEMS` of them; from
    the first of them on nothing more is scored.
    """
    problems: list[str] = []
    for chunk in read_file(path, scorer.columns, rows):
        scores, found = scorer.score(chunk.batch)
        problems += [f"{chunk.name(row)}: {what}" for row, what in found]
        if len(problems) >= MOST_PROBLEMS:
            break
        if scores is not None and not problems:
            yield scores, chunk.batch.column("user_id"), chunk.share
    if problems:
        raise unusable(problems, str(path))


def score_files(
    scorer: Scorer, slates: Path, out: Path | None, *, progress: Callable[[int, float], None] | None = None
) -> Tally:
    """Score the slates of a file, into the file `out` where one is named, and count them.

    `out` (.parquet or .jsonl) appears whole or not at all. `progress` is told, again and again, how many slates are
    scored and what share of the file that is. Raises what `score_file` raises, and OSError.
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
    part = out.with_name(out.name + ".part")
    try:
        write_file(part, out.suffix, scorer.schema, (scores.table(user_id) for scores, user_id in counted()))
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return tally
