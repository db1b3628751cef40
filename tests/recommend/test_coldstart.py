"""What embeddings of new items are made of: items hidden from users, and what these took of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recpolicy.data import Aligned
from recpolicy.dataset import Rows
from recpolicy.errors import UsageError
from recpolicy.trainer import coldstart, models
from recpolicy.trainer.attributes import Attributes
from recpolicy.trainer.coldstart import FOLDS, PENALTIES, Rehearsal
from recpolicy.trainer.config import Llm, Prompt
from recpolicy.trainer.pretrained import tables
from recpolicy.trainer.prompts import Prompter
from tests.recommend.beginners import begun, language_model
from tests.recommend.platform import sparse

LESSONS, ITEMS, STATE, WIDTH = 40, 20, 3, 5


def rehearsed(seed: int) -> tuple[Rehearsal, Attributes]:
    """Users who take items by attributes, and a model that knows of them what they take."""
    rng = np.random.default_rng(seed)
    x = (rng.random((ITEMS + 5, WIDTH)) < 0.4).astype(np.float64)
    items = np.sort(rng.permutation(ITEMS + 5)[:ITEMS])
    states = torch.from_numpy(rng.normal([4.0, 0.0, 0.0], [0.5, 1.0, 1.0], (LESSONS, STATE))).float()
    vectors = torch.from_numpy(x[items] @ rng.normal(size=(WIDTH, STATE))).float()
    logits = states @ vectors.T
    taken = torch.from_numpy(rng.random((LESSONS, ITEMS))) < (logits - logits.mean()).sigmoid()
    fold = torch.from_numpy(rng.permutation(ITEMS) % FOLDS)
    hidden = torch.arange(LESSONS) % FOLDS
    in_slate = torch.from_numpy(rng.random((LESSONS, ITEMS)) < 0.1)
    closed = (taken | in_slate) & (fold != hidden[:, None])
    return Rehearsal(items, fold, hidden, states, logits, taken, closed), sparse(x)


def surprise(it: Rehearsal, vectors: Tensor, lessons: Iterable[int], items: list[int]) -> Tensor:
    """One lesson and one item after the other."""
    told = []
    for row in lessons:
        open_ = [i for i in items if not it.closed[row, i]]
        p = (vectors[open_] @ it.states[row].to(vectors)).softmax(0)
        told += [-p[at].log() for at, i in enumerate(open_) if it.fold[i] == it.hidden[row] and it.taken[row, i]]
    return torch.stack(told).mean()


def slopes(it: Rehearsal, x: Tensor, penalty: float, lessons: list[int], items: list[int]) -> Tensor:
    """From nothing, in double precision, to the end."""
    found = torch.zeros(WIDTH, STATE, dtype=torch.float64, requires_grad=True)
    strength = penalty * it.states[lessons].double().square().mean() / 2
    optimizer = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = surprise(it, x @ found, lessons, items) + strength * found.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return found.detach()


def shares(it: Rehearsal, vectors: Tensor) -> float:
    """What hidden items with embeddings `vectors` [ITEMS, STATE] have of the next place."""
    found = []
    for row in range(LESSONS):
        open_ = [i for i in range(ITEMS) if not it.closed[row, i]]
        away = torch.tensor([bool(it.fold[i] == it.hidden[row]) for i in open_])
        own = it.logits[row, open_].double()
        said = torch.where(away, vectors[open_] @ it.states[row].double(), own).softmax(0)
        found.append(float(said[away].sum()))
    return float(np.mean(found))


def taken_share(it: Rehearsal) -> float:
    """What hidden items have of all that was taken."""
    right = sum(int((it.taken[row] & (it.fold == it.hidden[row])).sum()) for row in range(LESSONS))
    return right / int(it.taken.sum())


@pytest.mark.parametrize("seed", [0, 1])
def test_embeddings_make_what_users_took_likeliest_and_new_items_as_likely_as_known_ones(seed: int) -> None:
    it, facts = rehearsed(seed)
    known = torch.from_numpy(facts.of(it.items))
    x, every, lessons = known - known.mean(0), list(range(ITEMS)), list(range(LESSONS))
    last = FOLDS - 1
    some = [row for row in lessons if it.hidden[row] != last]
    asked = [row for row in lessons if it.hidden[row] == last]
    others = [i for i in every if it.fold[i] != last]
    told = {p: surprise(it, x @ slopes(it, x, p, some, others), asked, every) for p in PENALTIES}
    best = min(told, key=lambda penalty: float(told[penalty]))
    made = it.embeddings(facts)
    np.testing.assert_allclose(made.slopes, slopes(it, x, best, lessons, every), atol=1e-3)

    vectors = torch.from_numpy(made.of(known.numpy()))
    assert shares(it, vectors) == pytest.approx(taken_share(it), abs=1e-4)


def test_items_of_which_nothing_is_said_get_one_embedding_and_their_share() -> None:
    it, _ = rehearsed(0)
    nothing = sparse(np.zeros((ITEMS + 5, 0)))
    [made] = it.embeddings(nothing).of(nothing.of(np.array([ITEMS])))
    assert shares(it, torch.from_numpy(made).expand(ITEMS, -1)) == pytest.approx(taken_share(it), abs=1e-4)


@dataclass(frozen=True)
class Listener(Prompter):
    """Remembers whom it was asked about."""

    heard: list[Rows] = field(default_factory=list)

    def prompts(self, rows: Rows) -> list[str]:
        self.heard.append(rows)
        return super().prompts(rows)


@pytest.mark.parametrize("kind", ["tiny", "plain", "scaled"])
def test_users_are_shown_without_what_is_hidden_and_states_make_the_logits(
    home: Path, catalog: Aligned, kind: str, tmp_path: Path
) -> None:
    name = models.TINY if kind == "tiny" else str(language_model(tmp_path / "lm", scaled=kind == "scaled"))
    recommender = begun(home, name, Llm(rank=0, precision="float32"))
    dataset, learned = catalog.dataset, np.arange(40)
    prompter = Listener(dataset, Prompt(think=2), 3, models.speech(name))
    it = coldstart.rehearse(recommender, prompter, catalog, learned, 1_707_000_000, None, 0)
    assert sorted(it.items) == learned.tolist() and np.bincount(it.fold).tolist() == [8] * FOLDS
    user = np.concatenate([rows.user for rows in prompter.heard])
    histories = [rows.history.row(i).tolist() for rows in prompter.heard for i in range(len(rows))]
    events = [dataset.item[begin:end].tolist() for begin, end in itertools.pairwise(dataset.start)]
    everybody = [row for row, own in enumerate(events) if not {*learned.tolist()}.isdisjoint(own)]
    assert np.unique(user).tolist() == everybody, "there are few enough for all to be asked"
    assert len(user) == FOLDS * len(everybody) == len(np.unique(np.stack([user, it.hidden]), axis=1).T)
    fold = dict(zip(it.items.tolist(), it.fold.tolist(), strict=True))
    arrived = set(catalog.arrived.tolist())
    assert arrived & set(dataset.item.tolist()), "somebody took what the model has no token for"
    for i, (whole, hidden) in enumerate(zip((events[u] for u in user), it.hidden.tolist(), strict=True)):
        assert histories[i] == [x for x in whole if fold.get(x) != hidden and x not in arrived]
        assert it.items[it.taken[i].numpy()].tolist() == sorted({*whole} & {*learned.tolist()})
        in_slate = {*it.items[it.closed[i].numpy()].tolist()} - {*histories[i]}
        assert len(in_slate) < 3 and all(fold[x] != hidden for x in in_slate)
        assert {*histories[i]} & {*learned.tolist()} <= {*it.items[it.closed[i].numpy()].tolist()}
    assert (it.closed.sum(1) > 0).all()
    head = tables(recommender.model)[-1].weight.detach()[recommender.form.item_base :][it.items]
    made, own = it.states @ head.T, it.logits
    torch.testing.assert_close(made - made.mean(1, keepdim=True), own - own.mean(1, keepdim=True), rtol=1e-3, atol=1e-5)


def test_where_nobody_took_what_the_model_knows_there_is_nothing_to_rehearse(home: Path, catalog: Aligned) -> None:
    recommender = begun(home, models.TINY, Llm())
    prompter = Prompter(catalog.dataset, Prompt(think=2), 3, models.speech(models.TINY))
    untouched = np.setdiff1d(np.arange(catalog.dataset.items.rows), catalog.dataset.item)
    assert len(untouched)
    with pytest.raises(UsageError, match="nobody took an item that the model knows"):
        coldstart.rehearse(recommender, prompter, catalog, untouched, 1_707_000_000, None, 0)
