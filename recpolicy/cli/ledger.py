"""Renders the ledger of one list for a user of the data (`recpolicy explain POLICY --user ID --slate ITEMS`)."""

from __future__ import annotations

import numpy as np

from recpolicy.compiler import compile
from recpolicy.data import open as open_data
from recpolicy.data import split
from recpolicy.data.split import rows_between, training_view
from recpolicy.dataset.columns import Codes
from recpolicy.dataset.rows import Dataset
from recpolicy.dataset.titles import titles
from recpolicy.errors import UsageError
from recpolicy.errors.near import near
from recpolicy.language.checker import Loaded
from recpolicy.render.ledger import page


def ledger(loaded: Loaded, source: str, user: str, slate: str) -> str:
    """Renders what every place of the slate adds to every rule, for the user with their whole history.

    `slate`: ids or exact titles from the top, separated by commas; `hole` or nothing is an empty place. The statistics
    of the catalog are those of the training part, as in training. Raises UsageError for an unknown user or item.
    """
    dataset = open_data(source, loaded.schema)
    row = _user(dataset, user)
    end = dataset.start[row + 1 : row + 2]
    rows = rows_between(dataset, np.array([row]), end, end)
    items = _items(dataset, slate, loaded.policy.slate)
    compiled = compile(loaded.policy, training_view(dataset, split(dataset)))
    return page(dataset, compiled, rows, items)


# ---- the user and the items -----------------------------------------------------------------------------------------


def _user(dataset: Dataset, user: str) -> int:
    if user in dataset.user_ids:
        return dataset.user_ids.index(user)
    close = near(user, dataset.user_ids)
    help = f"did you mean `{close}`?" if close else f"ids of {dataset.name} look like `{dataset.user_ids[0]}`"
    raise UsageError(f"no user `{user}` in {dataset.name}", where="--user", help=help)


def _items(dataset: Dataset, slate: str, k: int) -> Codes:
    """Item rows of the places, [K]; a title may hold commas itself."""
    ids = {id: row for row, id in enumerate(dataset.item_ids)}
    titled: dict[str, list[int]] = {}
    for row, title in enumerate(titles(dataset)):
        titled.setdefault(title, []).append(row)
    pieces, items, at = slate.split(","), [], 0
    while at < len(pieces):
        for stop in range(min(len(pieces), at + 8), at, -1):  # the longest run of pieces that names an item
            text = ",".join(pieces[at:stop]).strip()
            if text in ids or text in titled or stop == at + 1:
                break
        items.append(_item(dataset, text, ids, titled))
        at = stop
    if len(items) > k:
        raise UsageError(f"{len(items)} items, but a list has {k} places", where="--slate", help=f"give at most {k}")
    twice = next((i for at, i in enumerate(items) if i >= 0 and i in items[:at]), None)
    if twice is not None:
        help = "give each item once: the second one would be an empty place"
        raise UsageError(f"`{dataset.item_ids[twice]}` stands twice in the list", where="--slate", help=help)
    return np.array(items + [-1] * (k - len(items)), np.int32)


def _item(dataset: Dataset, text: str, ids: dict[str, int], titled: dict[str, list[int]]) -> int:
    if text in ("", "hole"):
        return -1
    if text in ids:
        return ids[text]
    if len(rows := titled.get(text, [])) > 1:
        those = ", ".join(dataset.item_ids[row] for row in rows[:5])
        raise UsageError(f"{len(rows)} items have the title `{text}`", where="--slate", help=f"give the id: {those}")
    if rows:
        return rows[0]
    close = near(text, titled) or near(text, ids)
    help = f"did you mean `{close}`?" if close else f"give ids, such as `{dataset.item_ids[0]}`, or exact titles"
    raise UsageError(f"no item `{text}` in {dataset.name}", where="--slate", help=help)
