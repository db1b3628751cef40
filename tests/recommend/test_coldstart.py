"""Checks embeddings of new items, learned from items hidden from users."""

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
from recpolicy.dataset.rows import Rows
from recpolicy.dataset.slates import unseen
from recpolicy.errors import UsageError
from recpolicy.evaluation.linear import Scores
from recpolicy.recommendation import ALIKE
from recpolicy.trainer.coldstart import attribute_embeddings
from recpolicy.trainer.coldstart.attribute_embeddings import FOLDS, PENALTIES, ArrivalPrior, ColdStartExamples
from recpolicy.trainer.config import Llm, Prompt
from recpolicy.trainer.models import item_attributes, recommenders
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.pretrained import tables
from recpolicy.trainer.models.user_model import LEAST, RESIDUAL, UserModel
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model.linear_recommenders import LinearRecommenders
from tests.recommend.beginners import begun, language_model
from tests.recommend.platform import sparse

EXAMPLES, ITEMS, STATE, WIDTH = 40, 20, 3, 5


def made_examples(seed: int, prior: float = 0.0) -> tuple[ColdStartExamples, Attributes]:
    """Users who take items by attributes, and a model that knows of them what they take.

    `prior`: the standard deviation of what a prior adds to all logits.
    """
    rng = np.random.default_rng(seed)
    x = (rng.random((ITEMS + 5, WIDTH)) < 0.4).astype(np.float64)
    items = np.sort(rng.permutation(ITEMS + 5)[:ITEMS])
    states = torch.from_numpy(rng.normal([4.0, 0.0, 0.0], [0.5, 1.0, 1.0], (EXAMPLES, STATE))).float()
    vectors = torch.from_numpy(x[items] @ rng.normal(size=(WIDTH, STATE))).float()
    logits = states @ vectors.T
    taken = torch.from_numpy(rng.random((EXAMPLES, ITEMS))) < (logits - logits.mean()).sigmoid()
    fold = torch.from_numpy(rng.permutation(ITEMS) % FOLDS)
    hidden = torch.arange(EXAMPLES) % FOLDS
    in_slate = torch.from_numpy(rng.random((EXAMPLES, ITEMS)) < 0.1)
    closed = (taken | in_slate) & (fold != hidden[:, None])
    added = torch.from_numpy(rng.normal(0.0, prior, logits.shape)).float()
    return ColdStartExamples(items, fold, hidden, states, logits + added, taken, closed, added), sparse(x)


def surprise(it: ColdStartExamples, vectors: Tensor, examples: Iterable[int], items: list[int]) -> Tensor:
    """One example and one item after the other."""
    told = []
    for row in examples:
        open_ = [i for i in items if not it.excluded[row, i]]
        p = (vectors[open_] @ it.states[row].to(vectors) + it.prior[row, open_]).softmax(0)
        told += [-p[at].log() for at, i in enumerate(open_) if it.fold[i] == it.hidden[row] and it.taken[row, i]]
    return torch.stack(told).mean()


def slopes(it: ColdStartExamples, x: Tensor, penalty: float, examples: list[int], items: list[int]) -> Tensor:
    """From nothing, in double precision, to the end."""
    found = torch.zeros(WIDTH, STATE, dtype=torch.float64, requires_grad=True)
    strength = penalty * it.states[examples].double().square().mean() / 2
    optimizer = torch.optim.LBFGS([found], max_iter=200, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = surprise(it, x @ found, examples, items) + strength * found.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return found.detach()


def shares(it: ColdStartExamples, vectors: Tensor) -> float:
    """What hidden items with embeddings `vectors` [ITEMS, STATE] have of the next place."""
    found = []
    for row in range(EXAMPLES):
        open_ = [i for i in range(ITEMS) if not it.excluded[row, i]]
        away = torch.tensor([bool(it.fold[i] == it.hidden[row]) for i in open_])
        own = it.logits[row, open_].double()
        made = vectors[open_] @ it.states[row].double() + it.prior[row, open_].double()
        said = torch.where(away, made, own).softmax(0)
        found.append(float(said[away].sum()))
    return float(np.mean(found))


def taken_share(it: ColdStartExamples) -> float:
    """What hidden items have of all that was taken."""
    right = sum(int((it.taken[row] & (it.fold == it.hidden[row])).sum()) for row in range(EXAMPLES))
    return right / int(it.taken.sum())


@pytest.mark.parametrize(("seed", "prior"), [(0, 0.0), (1, 0.0), (2, 2.0)])
def test_embeddings_fit_held_out_choices_and_item_shares(seed: int, prior: float) -> None:
    it, facts = made_examples(seed, prior)
    known = torch.from_numpy(facts.of(it.items))
    x, every, examples = known - known.mean(0), list(range(ITEMS)), list(range(EXAMPLES))
    last = FOLDS - 1
    some = [row for row in examples if it.hidden[row] != last]
    asked = [row for row in examples if it.hidden[row] == last]
    others = [i for i in every if it.fold[i] != last]
    told = {p: surprise(it, x @ slopes(it, x, p, some, others), asked, every) for p in PENALTIES}
    best = min(told, key=lambda penalty: float(told[penalty]))
    made = it.embeddings(facts)
    np.testing.assert_allclose(made.slopes, slopes(it, x, best, examples, every), atol=1e-3)

    vectors = torch.from_numpy(made.of(known.numpy()))
    assert shares(it, vectors) == pytest.approx(taken_share(it), abs=1e-4)


def test_items_without_attributes_share_one_embedding() -> None:
    it, _ = made_examples(0)
    nothing = sparse(np.zeros((ITEMS + 5, 0)))
    [made] = it.embeddings(nothing).of(nothing.of(np.array([ITEMS])))
    assert shares(it, torch.from_numpy(made).expand(ITEMS, -1)) == pytest.approx(taken_share(it), abs=1e-4)


@dataclass(frozen=True)
class Listener(Prompter):
    """Records the rows whose prompts it makes."""

    heard: list[Rows] = field(default_factory=list)

    def prompts(self, rows: Rows) -> list[str]:
        self.heard.append(rows)
        return super().prompts(rows)


@pytest.mark.parametrize("kind", ["tiny", "plain", "scaled"])
def test_rehearsal_hides_folds_from_histories(home: Path, catalog: Aligned, kind: str, tmp_path: Path) -> None:
    name = recommenders.TINY if kind == "tiny" else str(language_model(tmp_path / "lm", scaled=kind == "scaled"))
    recommender = begun(home, name, Llm(lora_rank=0, precision="float32"))
    dataset, learned = catalog.dataset, np.arange(40)
    prompter = Listener(dataset, Prompt(think=2, history=6), 3, recommenders.prompt_style(name))
    it = attribute_embeddings.cold_start_examples(recommender, prompter, catalog, learned, 1_707_000_000, None, 0)
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
        in_slate = {*it.items[it.excluded[i].numpy()].tolist()} - {*histories[i]}
        assert len(in_slate) < 3 and all(fold[x] != hidden for x in in_slate)
        assert {*histories[i]} & {*learned.tolist()} <= {*it.items[it.excluded[i].numpy()].tolist()}
    assert (it.excluded.sum(1) > 0).all()
    head = tables(recommender.model)[-1].weight.detach()[recommender.form.item_base :][it.items]
    made, own = it.states @ head.T, it.logits
    torch.testing.assert_close(made - made.mean(1, keepdim=True), own - own.mean(1, keepdim=True), rtol=1e-3, atol=1e-5)


# ---- the prior ------------------------------------------------------------------------------------------------------


def test_new_item_chance_is_mean_over_similar_free_items() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 0.9, 0.1]], np.float32)
    free = probabilities > 0
    with np.errstate(divide="ignore"):
        next_item_log_probs = np.maximum(np.log(probabilities), np.float32(LEAST))
    found = attribute_embeddings.shared(
        next_item_log_probs, free, [np.array([0, 1]), np.array([1, 2, 3]), np.array([], np.int64)]
    )
    wanted = [[0.4, 0.25, 1 / 3], [0.5, 0.5, 0.5]]  # nothing alike is free for the second user's first item
    np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-6)
    assert attribute_embeddings.shared(next_item_log_probs, free, []).shape == (2, 0)


@dataclass(frozen=True, eq=False)
class Invented(UserModel):
    """Chances that depend on the row of the item, and on whether it was taken."""

    def next_item_log_probs(self, rows: Rows) -> Scores:
        shares = np.tile(-0.01 * np.arange(61, dtype=np.float32) - 4, (len(rows), 1))
        return np.where(unseen(rows, 61), shares, np.float32(LEAST))


def test_hidden_item_prior_uses_only_known_items(home: Path, catalog: Aligned) -> None:
    recommender = begun(home, recommenders.TINY, Llm())
    dataset, learned = catalog.dataset, np.arange(40)
    facts = item_attributes.attributes(dataset, learned)
    prompter = Prompter(dataset, Prompt(think=2), 3, recommenders.prompt_style(recommenders.TINY))
    users = Invented(None, prompter, LinearRecommenders((), np.zeros(61, np.float32)), np.zeros(0))
    arrival_prior = ArrivalPrior(users, facts, learned)
    arguments = (recommender, prompter, catalog, learned, 1_707_000_000, None, 0, lambda _: None)
    it, plain = (
        attribute_embeddings.cold_start_examples(*arguments, arrival_prior),
        attribute_embeddings.cold_start_examples(*arguments),
    )
    assert not plain.prior.any() and torch.equal(it.hidden, plain.hidden) and torch.equal(it.fold, plain.fold)
    fold = np.full(61, -1)
    fold[it.items] = it.fold.numpy()
    for row in range(0, len(it.hidden), 50):
        hidden = int(it.hidden[row])
        shown = {*it.items[(it.taken[row] & (it.fold != hidden)).numpy()].tolist()}
        third = [-4 - 0.01 * item for item in learned.tolist() if item not in shown][2]  # K is 3
        for at, item in enumerate(it.items.tolist()):
            if fold[item] != hidden:
                wanted = LEAST if item in shown else -4 - 0.01 * item
            else:
                [near] = item_attributes.similar_items(facts, learned[fold[learned] != hidden], np.array([item]), ALIKE)
                free = np.array([other for other in near.tolist() if other not in shown])
                wanted = float(np.log(np.exp(-4 - 0.01 * free).mean()))
            wanted = float(np.logaddexp(wanted, third)) / RESIDUAL
            assert float(it.prior[row, at]) == pytest.approx(wanted, rel=1e-4), (row, item)
    first = (plain.excluded == it.excluded) & (
        it.excluded == it.taken & ~it.is_hidden
    )  # no slate yet that the prior may change
    own = first.all(1)[:, None] & ~it.is_hidden
    assert own.any()
    torch.testing.assert_close((it.logits - it.prior)[own], plain.logits[own], rtol=1e-3, atol=1e-3)


def test_rehearsal_without_known_items_is_refused(home: Path, catalog: Aligned) -> None:
    recommender = begun(home, recommenders.TINY, Llm())
    prompter = Prompter(catalog.dataset, Prompt(think=2), 3, recommenders.prompt_style(recommenders.TINY))
    untouched = np.setdiff1d(np.arange(catalog.dataset.items.rows), catalog.dataset.item)
    assert len(untouched)
    with pytest.raises(UsageError, match="nobody took an item that the model knows"):
        attribute_embeddings.cold_start_examples(recommender, prompter, catalog, untouched, 1_707_000_000, None, 0)
