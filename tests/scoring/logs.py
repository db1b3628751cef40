"""A number and a seed in, logged slates of the simulated platform out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from recpolicy import data
from recpolicy.data import rows_at
from recpolicy.dataset.columns import Floats, NumberColumn, Ragged
from recpolicy.dataset.rows import Dataset, Rows, Slates

POLICY = """\
policy "scored" {
  language = 1
  data     = "simulator"
  slate    = 6
}

reward relevance weight 0.6 = ndcg(next_items)
reward variety   weight 0.3 = distance(item.genres)
boost  fresh     weight 0.2 = item.age < 60 days limit 2
bury   doubtful  weight 0.1 = item.report_rate > 2%
quota  one_voice weight 0.2 = at most 1 per item.creator
block  unsafe               = item.age_rating > 16

when user.age < 30 {
  reward surprise weight 0.2 = novelty(item.popularity)
}
"""
KINDS = {"user_id": pa.string(), "items": pa.list_(pa.string()), "next_items": pa.list_(pa.string())}


@cache
def simulator() -> Dataset:
    return data.open("simulator")


def numbers(column: str) -> Floats:
    held = simulator().items.columns[column]
    assert isinstance(held, NumberColumn)
    return held.values


def logged(count: int, seed: int = 0) -> pa.Table:
    """Slates as a platform would log them: of any length up to 8, some items repeated, some unknown."""
    rng = np.random.default_rng(seed)
    known = [*simulator().item_ids, "gone"]
    return pa.table(
        {
            "user_id": [simulator().user_ids[u] for u in rng.integers(0, simulator().users.rows, count)],
            "items": [[known[i] for i in rng.integers(0, len(known), n)] for n in rng.integers(0, 9, count)],
            "next_items": [[known[i] for i in rng.integers(0, len(known), n)] for n in rng.integers(0, 4, count)],
        },
        schema=pa.schema(KINDS),
    )


def by_hand(table: pa.Table, k: int) -> tuple[Rows, Slates]:
    """The same rows and slates, read with plain Python."""
    dataset = simulator()
    users = {name: row for row, name in enumerate(dataset.user_ids)}
    items = {name: row for row, name in enumerate(dataset.item_ids)}
    slates = []
    for record in table.to_pylist():
        slate: list[int] = []
        for name in record["items"][:k]:
            row = items.get(name, -1)
            slate.append(-1 if row in slate else row)
        slates.append(slate + [-1] * (k - len(slate)))
    user = np.array([users[r["user_id"]] for r in table.to_pylist()])
    end = dataset.start[user + 1]
    rows = rows_at(dataset, user, end, 0, end)
    after = Ragged.of([[items[n] for n in r["next_items"] if n in items] for r in table.to_pylist()])
    return Rows(rows.user, rows.now, rows.history, after), Slates(np.array(slates, np.int32))


def as_jsonl(table: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()), "utf-8")
