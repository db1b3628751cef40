"""A trained model, users' histories and items' attributes in, what makes an embedding of a new item's attributes out.

A new item is one that nobody has taken yet, so its arrival is rehearsed: items that the model knows are hidden from
users' histories, and what a user took of them is what embeddings made of attributes should have told. DropoutNet
(Volkovs, Yu and Poutanen, NeurIPS 2017) hides what it knows in the same way, to train a model for it; here the model
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recpolicy import data
from recpolicy.data import Aligned
from recpolicy.dataset.columns import Bools, Ints, Ragged
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.dataset.slates import offered, unseen
from recpolicy.errors import UsageError
from recpolicy.evaluation.baselines import Baseline
from recpolicy.recommendation import ALIKE
from recpolicy.trainer.coldstart.regression import Regression
from recpolicy.trainer.decoding.log_probs import LEAST
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import slates_until
from recpolicy.trainer.evaluation.evaluator import BATCH
from recpolicy.trainer.models import item_attributes, user_model
from recpolicy.trainer.models.item_attributes import Attributes
from recpolicy.trainer.models.pretrained import tables
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.models.user_model import UserModel
from recpolicy.trainer.prompting import candidate_pools
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model.sources import Scores

FOLDS = 5
"""Parts of the items, one of which is hidden in each lesson."""
LESSONS = 1000
"""At most so many lessons: pairs of a user and a part of the items."""
ITEMS = 4096
"""At most so many items are rehearsed, drawn at random."""
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""On half the squared slopes, for states whose mean square is 1."""
ITERATIONS = 60
RIDGE = 0.1
"""On a vector's squares, for states whose mean square is 1."""
REACH = 50.0
"""The most that all new items' logits are moved by."""


@dataclass(frozen=True)
class Rehearsal:
    """What a model makes of N users from whom a part of I items was hidden, and what they took of that part."""

    items: Ints
    """Rows of the catalog, [I]."""
    fold: Tensor
    """The part that each item is in, [I]."""
    hidden: Tensor
    """The part that was hidden in each lesson, [N]."""
    states: Tensor
    """Their products with embeddings are logits of the next place, [N, H] float32."""
    logits: Tensor
    """The model's own there, [N, I]."""
    taken: Tensor
    """The items that each user took, hidden or not, [N, I] bool."""
    closed: Tensor
    """The items in the history shown or in the slate so far, [N, I] bool."""
    prior: Tensor
    """What the prior adds to the logits of each item, of a hidden one as if it were new, [N, I]; 0 without a prior."""

    @property
    def away(self) -> Tensor:
        """What was hidden from each, [N, I] bool."""
        return self.fold == self.hidden[:, None]

    def part(self, lessons: Tensor, items: Tensor) -> Rehearsal:
        """Some lessons [N] over some items [I], both bool."""
        return Rehearsal(
            self.items[items.numpy()],
            self.fold[items],
            self.hidden[lessons],
            self.states[lessons],
            self.logits[lessons][:, items],
            self.taken[lessons][:, items],
            self.closed[lessons][:, items],
            self.prior[lessons][:, items],
        )

    def surprise(self, vectors: Tensor) -> Tensor:
        """Mean -log p of each hidden item taken, among all that are not closed, under embeddings `vectors` [I, H]."""
        right = self.taken & self.away
        told = (self.states @ vectors.T + self.prior).masked_fill(self.closed, LEAST).log_softmax(1)
        return -told[right].sum() / right.sum().clamp(min=1)

    def embeddings(self, facts: Attributes) -> Regression:
        """What makes embeddings of attributes, as the users' choices have it.

        Its slopes are those under which the hidden items that users took are the likeliest, less a penalty on their
        squares: the one of PENALTIES that tells best of a part of the items that no slope was made from. Its mean
        moves all their logits alike, till hidden items have, beside the model's own logits of the others, the share of
        the next place that they have among all that these users took.
        """
        known = facts.of(self.items)
        centre = known.mean(0)
        x = torch.from_numpy(known - centre).float()
        slopes = self._slopes(x, self._penalty(x))
        ones = self._ones()
        mean = self._shift(x @ slopes, ones) * ones
        return Regression(centre, mean.double().numpy(), slopes.double().numpy())

    def _penalty(self, x: Tensor) -> float:
        last = FOLDS - 1
        others, asked = self.fold != last, self.hidden == last
        some, rest = self.part(~asked, others), self.part(asked, torch.ones_like(others))
        slopes = torch.zeros(x.shape[1], self.states.shape[1])
        found = {}
        for penalty in PENALTIES:  # from the strongest on: each begins where the one before it ended
            slopes = some._slopes(x[others], penalty, slopes)
            found[penalty] = float(rest.surprise(x @ slopes))
        return min(found, key=found.__getitem__)

    def _slopes(self, x: Tensor, penalty: float, start: Tensor | None = None) -> Tensor:
        """For attributes `x` [I, width], less their mean: [width, H]."""
        slopes = torch.zeros(x.shape[1], self.states.shape[1]) if start is None else start.clone()
        if not slopes.numel():  # nothing is said of any item
            return slopes
        slopes.requires_grad_()
        optimizer = torch.optim.LBFGS([slopes], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")
        strength = penalty * float(self.states.square().mean()) / 2

        def loss() -> Tensor:
            optimizer.zero_grad()
            found = self.surprise(x @ slopes) + strength * slopes.square().sum()
            found.backward()
            return found

        with torch.enable_grad():
            optimizer.step(loss)
        return slopes.detach()

    def _ones(self) -> Tensor:
        """The vector whose products with the states are near to 1, [H]: what stands in for a bias of the items.

        Ridge regression keeps it about as short as embeddings are, since models may read them as input, too.
        """
        gram = self.states.T @ self.states
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
        ones: Tensor = torch.linalg.solve(gram + ridge, self.states.sum(0))
        return ones

    def _shift(self, vectors: Tensor, ones: Tensor) -> float:
        """How much of `ones` [H] the embeddings `vectors` [I, H] of hidden items lack, by bisection."""
        away = self.away
        share = (self.taken & away).sum() / self.taken.sum()
        others = self.logits.masked_fill(self.closed | away, LEAST).logsumexp(1)
        hidden = (self.states @ vectors.T + self.prior).masked_fill(~away, LEAST).logsumexp(1)
        moved = self.states @ ones
        low, high = -REACH, REACH
        for _ in range(60):
            middle = (low + high) / 2
            more = (hidden + middle * moved - others).sigmoid().mean() < share
            low, high = (middle, high) if more else (low, middle)
        return low


@dataclass(frozen=True, eq=False)
class Likely:
    """What a run's user model says of items, and of such as it does not know by those most like them."""

    users: UserModel
    facts: Attributes
    learned: Ints

    def priors(self, rows: Rows, hidden: Ints, fold: Ints, items: Ints) -> tuple[Tensor, Tensor]:
        """The prior's logits of every known item, [N, known], and of `items` with those hidden as if new, [N, I].

        `hidden` [N] is each row's part, `fold` [known] each item's.
        """
        shares = self.users.log_shares(rows)
        free = unseen(rows, shares.shape[1])
        k = self.users.prompter.k
        known = user_model.prior(shares, k)
        new = known[:, items]
        for part in np.unique(hidden):
            own, row = np.flatnonzero(fold[items] == part), np.flatnonzero(hidden == part)
            rest = self.learned[fold[self.learned] != part]
            near = item_attributes.alike(self.facts, rest, items[own], ALIKE)
            new[np.ix_(row, own)] = user_model.prior(shares[row], k, shared(shares[row], free[row], near))
        return torch.from_numpy(known), torch.from_numpy(new)


def rehearse(
    recommender: Recommender,
    prompter: Prompter,
    catalog: Aligned,
    known: Ints,
    now: float,
    retriever: Baseline | None,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
    likely: Likely | None = None,
) -> Rehearsal:
    """Hide items from users and ask the model, which has no tokens yet for items that arrived, what comes next.

    `known`: the items whose embeddings training made. `now`: when the users are asked, in seconds since 1970;
    `retriever`: what candidate pools are drawn by, if the model chooses from pools; `tell` hears how far it is;
    `likely` is what the model's prior is made by. Raises UsageError where nobody took any of these items.
    """
    dataset, form = catalog.dataset, recommender.form
    rng = np.random.default_rng(seed)
    items = np.sort(rng.permutation(known)[:ITEMS])
    fold = np.full(dataset.items.rows, -1)
    fold[items] = rng.permutation(len(items)) % FOLDS
    users = _takers(dataset, items)
    if not len(users):
        raise UsageError(
            "nobody took an item that the model knows, so nothing tells whom new items are for",
            where=dataset.name,
            help="give data with the users' events",
        )
    drawn = np.sort(rng.choice(len(users) * FOLDS, min(LESSONS, len(users) * FOLDS), replace=False))
    user, hidden = users[drawn // FOLDS], drawn % FOLDS
    whole = data.rows_at_end(dataset, user)
    rows = replace(whole, history=_shown(whole.history, form.items, hidden, fold), now=np.full(len(user), now))
    there = catalog.present & (np.arange(dataset.items.rows) < form.items)
    if retriever is not None:
        rows = candidate_pools.drawn(
            rows, retriever, lambda some: offered(some, len(there)) & there, prompter.settings, seed
        )

    def legal(part: Ints) -> Bools:
        open_: Bools = offered(rows.take(part), len(there)) & there & (fold != hidden[part, None])
        return open_[:, : form.items]

    place = torch.from_numpy(rng.integers(form.slate, size=len(rows)))
    slates, asked = list[list[int]](), list[tuple[Tensor, Tensor]]()
    added, prior = None, torch.zeros(len(rows), len(items))
    if likely is not None:
        added, prior = likely.priors(rows, hidden, fold[: form.items], items)
    with evaluating(recommender.model):
        for at in range(0, len(rows), BATCH):
            tell(f"rehearsing new items: {at:,} of {len(rows):,} lists asked for, known items hidden")
            part = np.arange(at, min(at + BATCH, len(rows)))
            prompts = recommender.encode(prompter.prompts(rows.take(part)))
            open_ = torch.from_numpy(legal(part)).to(recommender.model.device)
            own = None if added is None else added[part].to(recommender.model.device)
            told, states, logits = slates_until(recommender.model, form, prompts, open_, place[part], own)
            slates += told
            asked.append((states.cpu(), logits.cpu()[:, items]))
    states, logits = map(torch.cat, zip(*asked, strict=True))
    head = tables(recommender.model)[-1].weight.detach()[form.item_base + torch.from_numpy(items)].float().cpu()
    past = Ragged.of([[*rows.history.row(i).tolist(), *slate] for i, slate in enumerate(slates)])
    return Rehearsal(
        items,
        torch.from_numpy(fold[items]),
        torch.from_numpy(hidden),
        states * _scale(states @ head.T, logits),
        logits if added is None else logits + added[:, items],
        _among(items, whole, len(there)),
        _among(items, replace(rows, history=past), len(there)),
        prior,
    )


def without(rows: Rows, earlier: int) -> Rows:
    """The rows without the items in their histories that came after the `earlier` ones."""
    kept = (rows.history.row(i) for i in range(len(rows)))
    return replace(rows, history=Ragged.of([row[row < earlier].tolist() for row in kept]))


def shared(log_shares: Scores, free: Bools, alike: Sequence[Ints]) -> Scores:
    """Log-probabilities of new items from those of known ones, [B, new]: each has the mean chance of those `alike`.

    `log_shares` and `free` are [B, known]. An item that was taken is not `free` and has no chance to share; where no
    item alike is free, the mean chance of all that are.
    """
    chance = np.where(free, np.exp(log_shares), np.float32(0.0))
    rest = chance.sum(1) / np.maximum(free.sum(1), 1)
    out = np.empty((len(chance), len(alike)), np.float32)
    for i, near in enumerate(alike):
        count = free[:, near].sum(1)
        out[:, i] = np.where(count > 0, chance[:, near].sum(1) / np.maximum(count, 1), rest)
    return np.asarray(np.log(np.maximum(out, np.exp(user_model.LEAST))), np.float32)


def _takers(dataset: Dataset, items: Ints) -> Ints:
    """Users who took one of these items."""
    own = np.isin(dataset.item, items)
    return np.unique(np.repeat(np.arange(dataset.users.rows), np.diff(dataset.start))[own])


def _shown(histories: Ragged, earlier: int, hidden: Ints, fold: Ints) -> Ragged:
    """Histories, less what is hidden and what the model has no token for."""
    whole = (histories.row(i) for i in range(len(histories)))
    return Ragged.of([row[(row < earlier) & (fold[row] != own)] for row, own in zip(whole, hidden, strict=True)])


def _among(items: Ints, rows: Rows, count: int) -> Tensor:
    """Which of these items, of the `count` there are, each history holds, [rows, I] bool."""
    return torch.from_numpy(~unseen(rows, count)[:, items])


def _scale(product: Tensor, logits: Tensor) -> Tensor:
    """What brings a product of states and embeddings to the size of the logits; 1 where they are that product."""
    product, logits = (x - x.mean(1, keepdim=True) for x in (product, logits))
    return (product * logits).sum() / product.square().sum().clamp(min=torch.finfo(torch.float32).tiny)
