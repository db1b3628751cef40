"""A small platform of chess and jazz at two times, as folders of data: what a team's exports look like.

Half of the users take chess posts alone, the others jazz. Later there are new posts of both kinds, two of them for
adults; one post has left the catalog, and one user has come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recpolicy import data
from recpolicy.data import Aligned
from recpolicy.dataset.columns import Floats
from recpolicy.trainer.models.item_attributes import Attributes

Row = dict[str, Any]

KINDS = ("chess", "jazz")
POSTS, USERS, TAKEN, NEW = 30, 60, 18, 4
"""Posts and users of each kind, posts each of them took, new posts of each kind."""

SCHEMA = """
name = "platform"
[item]
id        = { column = "item_id", type = "text", role = "id" }
title     = { type = "text", role = "title" }
genres    = { column = "topics", type = "list of category" }
creator   = { column = "creator_id", type = "category", role = "creator" }
published = { type = "date", role = "published" }
rating    = "int"
free      = "bool"
[user]
id  = { column = "user_id", type = "text", role = "id" }
age = "int"
"""

POLICY = """
policy "kept" { language = 1  data = "platform"  slate = 6 }
reward relevance weight 1 = ndcg(next_items)
quota  voices hard   = at most 3 per item.creator
block  grown_up      = item.rating >= 18 and user.age < 18
"""

SETTINGS = """
holdout = 2
test_users = 20
[prompt]
history = 20
think = 3
[tiny]
width = 32
layers = 1
dropout = 0.0
[sft]
steps = 400
batch = 16
learning_rate = 0.01
warmup = 10
ema_decay = 0.9
evaluate_every = 100
[grpo]
steps = 1
prompts_per_step = 2
generations = 2
"""


def post(id: str, kind: str, number: int, *, rating: int = 0) -> Row:
    """A post of one kind; those of a kind have four creators."""
    return {
        "item_id": id,
        "title": f"{kind.capitalize()}, part {number}",
        "topics": [kind],
        "creator_id": f"{kind} club {number % 4}",
        "published": f"2024-01-{1 + number % 28:02}",
        "rating": rating,
        "free": number % 2 == 0,
    }


def user(kind: str, number: int) -> Row:
    """Every third user is a child."""
    return {"user_id": f"{kind}-{number}", "age": 12 if number % 3 == 0 else 40}


def before() -> dict[str, list[Row]]:
    """The tables as the model is trained on them."""
    rng = np.random.default_rng(0)
    log = [
        {"user_id": f"{kind}-{u}", "item_id": f"{kind[0]}{i}", "timestamp": 1_706_745_600 + 3600 * at}
        for kind in KINDS
        for u in range(USERS)
        for at, i in enumerate(rng.permutation(POSTS)[:TAKEN].tolist())
    ]
    return {
        "items": [post(f"{kind[0]}{i}", kind, i) for kind in KINDS for i in range(POSTS)] + [post("gone", "jazz", 5)],
        "users": [user(kind, u) for kind in KINDS for u in range(USERS)],
        "interactions": log,
    }


def later() -> dict[str, list[Row]]:
    """The same some days on, the items in another order."""
    tables = before()
    new = [post(f"new-{kind}-{i}", kind, i, rating=18 if i == 0 else 0) for kind in KINDS for i in range(NEW)]
    taken = {"user_id": "jazz-0", "item_id": "new-jazz-1", "timestamp": 1_707_000_000}
    return {
        "items": new + [row for row in reversed(tables["items"]) if row["item_id"] != "gone"],
        "users": [user("nobody", 1), *tables["users"]],
        "interactions": [*tables["interactions"], taken],
    }


def write(folder: Path, tables: Mapping[str, Sequence[Row]]) -> Path:
    """A data folder with these tables."""
    folder.mkdir(parents=True)
    for name, table in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (folder / "schema.toml").write_text(SCHEMA)
    return folder


def aligned(folder: Path) -> Aligned:
    """The later state, its items in the order of the earlier one; both stand in `folder`, as `before` and `later`."""
    write(folder / "before", before())
    write(folder / "later", later())
    return data.aligned(data.open(folder / "later"), data.open(folder / "before").item_ids)


def sparse(x: Floats) -> Attributes:
    """Attributes that are the rows of `x`."""
    item, feature = np.nonzero(x)
    return Attributes(item, feature, x[item, feature], *x.shape)
