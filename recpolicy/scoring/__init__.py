"""Logged slates in (Parquet or JSONL), the value of every rule of a policy for each of them out, batch by batch.

The history of a user is all that the data hold of them. Items a slate repeats from it are counted and keep their
places: logged slates may show what the user took later.

columns.py  what a table of slates has to hold
slates.py   its rows as the compiler reads them
files.py    Parquet and JSONL
tally.py    means over what was scored
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from recpolicy.compiler import CompiledPolicy
from recpolicy.dataset import Dataset
from recpolicy.errors import UsageError
from recpolicy.scoring.files import read_file, write_file
from recpolicy.scoring.slates import Logged, read_batch
from recpolicy.scoring.tally import Mean, Tally
from recpolicy.table import Ints

__all__ = ["Mean", "Tally", "score_batch", "score_file", "score_files"]

BATCH = 4096
"""Slates read and scored at once: what is held in memory does not grow with the file."""
MOST_PROBLEMS = 20
"""Rows that cannot be scored, after which reading stops."""


def score_batch(compiled: CompiledPolicy, dataset: Dataset, table: pa.Table, *, ranks: bool = False) -> pa.Table:
    """The scores of the logged slates of `table`, a row each, in its order.

    `table` has `user_id`, `items` (a list of item ids, best first) and maybe `next_items` (a list) and `now` (a time
    stamp, or Unix seconds; else that of the user's last event). Out: `user_id`; `reward`, R in [-1, 1]; `blocked`;
    `holes`, of K places, and of them `unknown` and `repeated` items; `seen` and `beyond` (of `Logged`); and for every
    rule `RULE.value` in [0, 1] (null where it is not applicable), `RULE.abstained` (places), of a quota
    `RULE.satisfied`, and with `ranks` `RULE.ranks`, K marginals. Raises UsageError for a column that is absent or of
    another type, and for rows that cannot be scored.
    """
    logged = read_batch(dataset, table, compiled.policy.slate)
    if logged.problems:
        raise UsageError(_listed(f"row {row + 1}: {what}" for row, what in logged.problems), where="the slates")
    return _score(compiled, table.column("user_id"), logged, ranks=ranks)


def _score(compiled: CompiledPolicy, user_id: pa.ChunkedArray, logged: Logged, *, ranks: bool) -> pa.Table:
    """The output of `score_batch` for slates that were read."""
    rows, slates = logged.rows, logged.slates
    marginals = compiled.marginals(rows, slates)
    abstained = compiled.abstained(rows, slates)
    satisfied = compiled.satisfied(rows, slates)
    out: dict[str, pa.Array | pa.ChunkedArray] = {
        "user_id": user_id.cast(pa.string()),
        "reward": pa.array(compiled.total(rows, slates)),
        "blocked": pa.array(compiled.blocked(rows, slates)),
        "holes": pa.array((slates.items < 0).sum(1)),
        **{name: pa.array(getattr(logged, name)) for name in ("unknown", "repeated", "seen", "beyond")},
    }
    for rule in compiled.rules:
        found = marginals[rule.name]  # [B, K]
        value = found.sum(1)
        out[f"{rule.name}.value"] = pa.array(value, from_pandas=True)  # NaN becomes null
        out[f"{rule.name}.abstained"] = pa.array(abstained[rule.name])
        if rule.name in satisfied:
            out[f"{rule.name}.satisfied"] = pa.array(satisfied[rule.name], mask=np.isnan(value))
        if ranks:
            flat = pa.array(found.ravel(), from_pandas=True)
            out[f"{rule.name}.ranks"] = pa.FixedSizeListArray.from_arrays(flat, found.shape[1]).cast(
                pa.list_(pa.float64())
            )
    return pa.table(out)


def score_file(
    compiled: CompiledPolicy, dataset: Dataset, path: Path, *, ranks: bool = False, size: int = BATCH
) -> Iterator[tuple[pa.Table, Ints]]:
    """The scores of the slates in a file and their users (rows of the users table, [B]), `size` slates at a time.

    Raises UsageError, at the end of the file, with every row that cannot be scored, or `MOST_PROBLEMS` of them; from
    the first of them on nothing more is scored.
    """
    problems: list[str] = []
    for table, names in read_file(path, size):
        logged = read_batch(dataset, table, compiled.policy.slate)
        problems += [f"{names[row]}: {what}" for row, what in logged.problems]
        if len(problems) >= MOST_PROBLEMS:
            break
        if not problems:
            yield _score(compiled, table.column("user_id"), logged, ranks=ranks), logged.rows.user
    if problems:
        raise UsageError(_listed(problems), where=str(path), help="take these rows out, or add the users to the data")


def _listed(problems: Iterable[str]) -> str:
    found = list(problems)
    if len(found) == 1:
        return found[0]
    first = "the first " if len(found) > MOST_PROBLEMS - 1 else ""
    return f"{first}{len(found)} reasons why rows cannot be scored:" + "".join(f"\n{what}" for what in found)


def score_files(
    compiled: CompiledPolicy, dataset: Dataset, slates: Path, out: Path | None, *, ranks: bool = False
) -> Tally:
    """Score the slates of a file, into the file `out` where one is named, and count them.

    `out` (.parquet or .jsonl) appears whole or not at all. Raises what `score_file` raises, and OSError.
    """
    tally = Tally(dataset)

    def counted() -> Iterator[pa.Table]:
        for scores, user in score_file(compiled, dataset, slates, ranks=ranks):
            tally.add(scores, user)
            yield scores

    if out is None:
        deque(counted(), maxlen=0)
        return tally
    part = out.with_name(out.name + ".part")
    try:
        write_file(part, out.suffix, counted())
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
    return tally
