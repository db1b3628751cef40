"""Learns to compute embeddings of new items from their attributes, for a trained model.

A new item is one that nobody has taken yet, so its arrival is simulated: items that the model knows are hidden from
users' histories, and embeddings from attributes should predict which of them the users took. DropoutNet (Volkovs, Yu
and Poutanen, NeurIPS 2017) hides known items in the same way to train a model; here the model does not change.
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
from recpolicy.evaluation.linear import Scores
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

FOLDS = 5
"""Parts of the items; each example hides one."""
EXAMPLES = 1000
"""Most examples: pairs of a user and a part of the items."""
ITEMS = 4096
"""Most items that examples hide, drawn at random."""
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Penalties on half the squared slopes, for states whose mean square is 1."""
ITERATIONS = 60
"""Most iterations of L-BFGS, and steps of bisection."""
RIDGE = 0.1
"""Penalty on a vector's squares, for states whose mean square is 1."""
REACH = 50.0
"""Largest shift of all new items' logits."""


@dataclass(frozen=True)
class ColdStartExamples:
    """What a model computes for N examples, users from whom a part of I items is hidden, and what they took of it."""

    items: Ints
    """Rows of the catalog, [I]."""
    fold: Tensor
    """The part of each item, [I]."""
    hidden: Tensor
    """The part that each example hides, [N]."""
    states: Tensor
    """Their products with embeddings are logits of the next place, [N, H] float32."""
    logits: Tensor
    """The model's own logits there, [N, I]."""
    taken: Tensor
    """The items that each user took, hidden or not, [N, I] bool."""
    excluded: Tensor
    """The items in the visible history or in the slate so far, [N, I] bool."""
    prior: Tensor
    """The prior's logits of each item, of a hidden one as if it were new, [N, I]; 0 without a prior."""

    @property
    def is_hidden(self) -> Tensor:
        """The items that each example hides, [N, I] bool."""
        return self.fold == self.hidden[:, None]

    def part(self, examples: Tensor, items: Tensor) -> ColdStartExamples:
        """Returns some examples [N] over some items [I], both masks."""
        own = self.items[items.numpy()], self.fold[items], self.hidden[examples], self.states[examples]
        return ColdStartExamples(
            *own, *(x[examples][:, items] for x in (self.logits, self.taken, self.excluded, self.prior))
        )

    def negative_log_likelihood(self, vectors: Tensor) -> Tensor:
        """Computes the mean -log p of the hidden items taken, under embeddings `vectors` [I, H].

        p is the softmax of states @ vectors^T + prior over the items that are not closed.
        """
        right = self.taken & self.is_hidden
        logp = (self.states @ vectors.T + self.prior).masked_fill(self.excluded, LEAST).log_softmax(1)
        return -logp[right].sum() / right.sum().clamp(min=1)

    def embeddings(self, facts: Attributes) -> Regression:
        """Fits the linear function from attributes to embeddings that explains the users' choices.

        Its slopes minimize `negative_log_likelihood` + penalty / 2 * mean(states^2) * sum(slopes^2); the penalty is the
        one of PENALTIES that predicts best for a part of the items that the slopes were not fitted to. Its mean shifts
        all hidden items' logits by the same amount, so that beside the model's own logits of the others they get the
        share of the next place that they have among all items that these users took.
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
        others, tested = self.fold != last, self.hidden == last
        training, test = self.part(~tested, others), self.part(tested, torch.ones_like(others))
        slopes: Tensor | None = None
        losses: dict[float, float] = {}
        for penalty in PENALTIES:  # the strongest first: each fit starts where the one before it ended
            slopes = training._slopes(x[others], penalty, slopes)
            losses[penalty] = float(test.negative_log_likelihood(x @ slopes))
        return min(losses, key=losses.__getitem__)

    def _slopes(self, x: Tensor, penalty: float, start: Tensor | None = None) -> Tensor:
        """The slopes for centered attributes `x` [I, width], [width, H]."""
        slopes = torch.zeros(x.shape[1], self.states.shape[1]) if start is None else start.clone()
        if not slopes.numel():  # no item has an attribute
            return slopes
        slopes.requires_grad_()
        optimizer = torch.optim.LBFGS([slopes], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")
        strength = penalty * float(self.states.square().mean()) / 2

        def loss() -> Tensor:
            optimizer.zero_grad()
            total = self.negative_log_likelihood(x @ slopes) + strength * slopes.square().sum()
            total.backward()
            return total

        with torch.enable_grad():
            optimizer.step(loss)
        return slopes.detach()

    def _ones(self) -> Tensor:
        """The vector whose products with the states are close to 1, [H]: it acts as a bias of the items.

        Ridge regression keeps it about as short as embeddings are, since models may read them as input, too.
        """
        gram = self.states.T @ self.states
        ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
        ones: Tensor = torch.linalg.solve(gram + ridge, self.states.sum(0))
        return ones

    def _shift(self, vectors: Tensor, ones: Tensor) -> float:
        """The multiple of `ones` [H] to add to the embeddings `vectors` [I, H] of hidden items, by bisection."""
        is_hidden = self.is_hidden
        share = (self.taken & is_hidden).sum() / self.taken.sum()
        others = self.logits.masked_fill(self.excluded | is_hidden, LEAST).logsumexp(1)
        hidden = (self.states @ vectors.T + self.prior).masked_fill(~is_hidden, LEAST).logsumexp(1)
        moved = self.states @ ones
        low, high = -REACH, REACH
        for _ in range(ITERATIONS):
            middle = (low + high) / 2
            too_low = (hidden + middle * moved - others).sigmoid().mean() < share
            low, high = (middle, high) if too_low else (low, middle)
        return low


@dataclass(frozen=True, eq=False)
class ArrivalPrior:
    """The prior of a run's user model, which gives new items the probabilities of similar known ones."""

    users: UserModel
    facts: Attributes
    learned: Ints

    def logits(self, rows: Rows, hidden: Ints, fold: Ints, items: Ints) -> tuple[Tensor, Tensor]:
        """Computes the logits of every known item, [N, known], and those of `items` if the hidden were new, [N, I].

        `hidden` [N] is the part that each row hides, `fold` [known] the part of each item.
        """
        shares = self.users.next_item_log_probs(rows)
        free = unseen(rows, shares.shape[1])
        k = self.users.prompter.k
        known = user_model.prior(shares, k)
        new = known[:, items]
        for part in np.unique(hidden):
            own, row = np.flatnonzero(fold[items] == part), np.flatnonzero(hidden == part)
            rest = self.learned[fold[self.learned] != part]
            near = item_attributes.similar_items(self.facts, rest, items[own], ALIKE)
            new[np.ix_(row, own)] = user_model.prior(shares[row], k, shared(shares[row], free[row], near))
        return torch.from_numpy(known), torch.from_numpy(new)


def cold_start_examples(
    recommender: Recommender,
    prompter: Prompter,
    catalog: Aligned,
    known: Ints,
    now: float,
    retriever: Baseline | None,
    seed: int,
    tell: Callable[[str], None] = lambda _: None,
    arrival_prior: ArrivalPrior | None = None,
) -> ColdStartExamples:
    """Hides known items from users and computes what the model, which has no tokens for arrivals yet, predicts next.

    `known`: the items with trained embeddings. `now`: the time of the prompts, in seconds since 1970. `retriever` fills
    candidate pools, if the model chooses from pools. `tell` gets messages on the progress. Raises UsageError where
    nobody took any of the known items.
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
    examples = np.sort(rng.choice(len(users) * FOLDS, min(EXAMPLES, len(users) * FOLDS), replace=False))
    user, hidden = users[examples // FOLDS], examples % FOLDS
    whole = data.rows_at_end(dataset, user)
    past = whole.history.values
    visible = (past < form.items) & (fold[past] != np.repeat(hidden, whole.history.lengths))
    rows = replace(with_history(whole, visible), now=np.full(len(user), now))
    count = dataset.items.rows
    available = catalog.present & (np.arange(count) < form.items)
    if retriever is not None:
        rows = candidate_pools.draw(
            rows, retriever, lambda some: offered(some, count) & available, prompter.settings, seed
        )
    place = torch.from_numpy(rng.integers(form.slate, size=len(rows)))
    slates, outputs = list[list[int]](), list[tuple[Tensor, Tensor]]()
    added, prior = torch.zeros(len(rows), form.items), torch.zeros(len(rows), len(items))
    if arrival_prior is not None:
        added, prior = arrival_prior.logits(rows, hidden, fold[: form.items], items)
    device = recommender.model.device
    with evaluating(recommender.model):
        for at in range(0, len(rows), BATCH):
            tell(f"rehearsing new items: {at:,} of {len(rows):,} lists asked for, known items hidden")
            part = np.arange(at, min(at + BATCH, len(rows)))
            some = rows.take(part)
            legal = offered(some, count) & available & (fold != hidden[part, None])
            partial, states, logits = slates_until(
                recommender.model,
                form,
                recommender.encode(prompter.prompts(some)),
                torch.from_numpy(legal[:, : form.items]).to(device),
                place[part],
                added[part].to(device),
            )
            slates += partial
            outputs.append((states.cpu(), logits.cpu()[:, items]))
    states, logits = map(torch.cat, zip(*outputs, strict=True))
    head = tables(recommender.model)[-1].weight.detach()[form.item_base + torch.from_numpy(items)].float().cpu()
    excluded = Ragged.of([[*rows.history.row(i).tolist(), *slate] for i, slate in enumerate(slates)])
    return ColdStartExamples(
        items,
        torch.from_numpy(fold[items]),
        torch.from_numpy(hidden),
        states * _scale(states @ head.T, logits),
        logits + added[:, items],
        _among(items, whole, count),
        _among(items, replace(rows, history=excluded), count),
        prior,
    )


def with_history(rows: Rows, mask: Bools) -> Rows:
    """Returns the rows with a part of their histories: the values for which `mask` [history.values] is true."""
    history = rows.history
    offsets = np.append(0, np.cumsum(mask))[history.offsets]
    return replace(rows, history=Ragged(offsets, history.values[mask]))


def shared(next_item_log_probs: Scores, free: Bools, similar: Sequence[Ints]) -> Scores:
    """Computes log-probabilities of new items, [B, new]: the mean probability of each one's `similar` known items.

    `next_item_log_probs` and `free` are [B, known]. Only free items, which the user has not taken, count; where no
    similar item is free, the mean over all free items is used.
    """
    probabilities = np.where(free, np.exp(next_item_log_probs), np.float32(0.0))
    rest = probabilities.sum(1) / np.maximum(free.sum(1), 1)
    out = np.empty((len(probabilities), len(similar)), np.float32)
    for i, near in enumerate(similar):
        count = free[:, near].sum(1)
        out[:, i] = np.where(count > 0, probabilities[:, near].sum(1) / np.maximum(count, 1), rest)
    return np.asarray(np.log(np.maximum(out, np.exp(user_model.LEAST))), np.float32)


def _takers(dataset: Dataset, items: Ints) -> Ints:
    """Users who took one of these items."""
    own = np.isin(dataset.item, items)
    return np.unique(np.repeat(np.arange(dataset.users.rows), np.diff(dataset.start))[own])


def _among(items: Ints, rows: Rows, count: int) -> Tensor:
    """Which of these items, out of `count`, are in each history, [rows, I] bool."""
    return torch.from_numpy(~unseen(rows, count)[:, items])


def _scale(product: Tensor, logits: Tensor) -> Tensor:
    """The factor from a product of states and embeddings to the logits; 1 where these are that product."""
    product, logits = (x - x.mean(1, keepdim=True) for x in (product, logits))
    return (product * logits).sum() / product.square().sum().clamp(min=torch.finfo(torch.float32).tiny)
