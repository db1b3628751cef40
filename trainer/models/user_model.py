"""Models what a run's users take next: a fine-tuned language model and classic recommenders, blended and calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from recpolicy.dataset.columns import Bools, Floats, Ints
from recpolicy.dataset.rows import Chances, Rows
from recpolicy.dataset.slates import unseen
from recpolicy.evaluation import metrics
from recpolicy.evaluation.baselines import top
from recpolicy.trainer.decoding.prefix_sharing import evaluating
from recpolicy.trainer.decoding.rollout import next_items
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.prompting.prompts import Prompter
from recpolicy.user_model import blend, chances, sources
from recpolicy.user_model.blend import Examples
from recpolicy.user_model.sources import Memories, Scores

BATCH = 256
FILE = "user_model.safetensors"
LANGUAGE_MODEL = "language_model"
"""Name of the language model's source, beside those of the memories."""
DRAWS = 16
"""Lists of next items drawn for a row, where their order matters."""
RESIDUAL = 0.15
"""What a recommender's own logits count beside the user model's, which are log-probabilities."""
LEAST = -20.0
"""In the place of the log-probability of an item seen, or all but impossible."""


@dataclass(frozen=True, eq=False)
class UserModel:
    """The chance of every item to be taken next by a user with a history.

    Multinomial logits, linear in the log-probabilities of the language model behind the last item of the history and in
    the features of the classic recommenders (`Memories.features`), with weights of the largest likelihood.
    """

    recommender: Recommender | None
    """The fine-tuned model, which is not trained further; None where only the classics count."""
    prompter: Prompter
    memories: Memories
    weights: Floats
    """Of the sources, in the order of `names`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The sources: the language model, if it is one of them, and the memories'."""
        return (*([LANGUAGE_MODEL] if self.recommender else []), *self.memories.names)

    def log_shares(self, rows: Rows) -> Scores:
        """Log-probability of every item to be the very next one taken, [B, items]; LEAST for items seen."""
        out = np.empty((len(rows), self.memories.items), np.float32)
        for first in range(0, len(rows), BATCH):
            part = np.arange(first, min(first + BATCH, len(rows)))
            features, free = self.features(rows.take(part))
            out[part] = np.maximum(blend.log_softmax(blend.logits(features, self.weights), free), LEAST)
        return out

    def with_chances(self, rows: Rows, count: Ints, *, order: bool) -> Rows:
        """The rows with expected labels, as the function of the same name has it."""
        return with_chances(rows, self.log_shares(rows), count, order=order)

    def features(self, rows: Rows) -> tuple[Scores, Bools]:
        """Features of every item for each row, [F, B, items], and what may be taken next, [B, items]."""
        free = unseen(rows, self.memories.items)
        found = self.memories.features(rows)
        if self.recommender is None:
            return found, free
        own = np.where(free, blend.log_softmax(self._language(rows), free), np.float32(0.0))
        return np.concatenate([own[None], found]), free

    def examples(self, rows: Rows) -> Examples:
        """Rows with next items as a fit reads them."""
        return Examples.of(*self.features(rows), rows)

    def _language(self, rows: Rows) -> Scores:
        """The language model's logits behind the last item of each history, [B, items]."""
        assert self.recommender is not None
        model, form = self.recommender.model, self.recommender.form
        prompts = self.recommender.encode(self.prompter.prompts(rows))
        with evaluating(model):
            return next_items(model, form, prompts, rows.history).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write the memories and weights into `folder`; the language model is kept by itself."""
        save_file({**sources.save(self.memories), "weights": self.weights}, str(folder / FILE))


def prior(log_shares: Scores, k: int, of: Scores | None = None) -> Scores:
    """What is added to a recommender's logits of items, [B, items], so that its own are a RESIDUAL part of the whole.

    log(p + p_k) / RESIDUAL, where p are the shares [B, items] whose logarithm is given and p_k is a row's K-th largest:
    behind the items that are likely enough for a slate of K places it hardly matters how unlikely one is, since their
    chances differ by far less than what a policy may say of them. `of` [B, M]: log-probabilities of other items of the
    same users, whose part is then returned, [B, M].
    """
    most = min(k, log_shares.shape[1])
    least = -np.partition(-log_shares, most - 1, 1)[:, most - 1 : most]  # [B, 1]
    return np.asarray(np.logaddexp(log_shares if of is None else of, least) / np.float32(RESIDUAL), np.float32)


def load(folder: Path, recommender: Recommender, prompter: Prompter) -> UserModel:
    """The user model that `UserModel.save` wrote."""
    arrays = load_file(str(folder / FILE))
    return UserModel(recommender, prompter, sources.load(arrays), arrays["weights"])


def fit(recommender: Recommender | None, prompter: Prompter, memories: Memories, rows: Rows) -> UserModel:
    """Returns the blend under which the rows' next items are likeliest."""
    fitted = UserModel(recommender, prompter, memories, np.zeros(0))
    return replace(fitted, weights=blend.fit(_examples(fitted, rows)))


def assess(fitted: UserModel, validation: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """Measures a user model fitted on the validation rows, as `eval.json` has it.

    `weights` by source; `log_likelihood`: mean log-probability of a next item, of the blend on validation rows
    (cross-validated over users) and on test rows, and of each source alone on test rows, fitted in the same way;
    `ndcg` of each one's own ranking of the test rows; `reliability` over all pairs of a test row and an item not seen,
    and `reliability_at_the_top` over those of each row's likeliest items, one a place of a slate.
    """
    tuned, judged = _examples(fitted, validation), fitted.examples(test)
    k = fitted.prompter.k
    alone: dict[str, Any] = {}
    for i, name in enumerate(fitted.names):
        one, other = (Examples(e.features[i : i + 1], e.free, e.taken) for e in (tuned, judged))
        weights = blend.fit(one)
        alone[name] = {"log_likelihood": _mean(other, weights), "ndcg": _ndcg(other, weights, test, k)}
    shares = blend.log_softmax(blend.logits(judged.features, fitted.weights), judged.free)
    predicted = chances.inclusion(np.exp(shares), judged.taken.sum(1))
    best = np.zeros_like(judged.free)
    np.put_along_axis(best, np.argsort(-shares, 1)[:, :k], True, 1)
    return {
        "weights": dict(zip(fitted.names, fitted.weights.tolist(), strict=True)),
        "log_likelihood": {
            "validation": float(blend.cross_validated(tuned, seed).sum() / max(int(tuned.taken.sum()), 1)),
            "test": _mean(judged, fitted.weights),
        },
        "ndcg": _ndcg(judged, fitted.weights, test, k),
        "alone": alone,
        "reliability": blend.reliability(predicted, judged.taken, judged.free),
        "reliability_at_the_top": blend.reliability(predicted, judged.taken, judged.free & best),
    }


def with_chances(rows: Rows, log_shares: Scores, count: Ints, *, order: bool) -> Rows:
    """The rows with expected labels: their users will take `count` [B] further items.

    `log_shares` [B, items]: log-probabilities of the very next item. With `order` lists of next items are drawn, too.
    """
    free = unseen(rows, log_shares.shape[1])
    shares = np.where(free, np.exp(log_shares), np.float32(0.0))
    draws = None
    if order:
        draws = chances.drawn(shares, int(count.max(initial=1)), DRAWS, np.random.default_rng(0))
        draws[:, np.arange(draws.shape[2]) >= count[:, None]] = -2
    return replace(rows, chances=Chances(chances.inclusion(shares, count), np.arange(len(rows)), count, draws))


def _examples(fitted: UserModel, rows: Rows) -> Examples:
    """The rows as a fit reads them, as many as its memory allows."""
    most = max(blend.PAIRS // max(fitted.memories.items, 1), 1)
    return fitted.examples(rows.sample(most, seed=0))


def _mean(examples: Examples, weights: Floats) -> float:
    return float(examples.log_likelihood(weights).sum() / max(int(examples.taken.sum()), 1))


def _ndcg(examples: Examples, weights: Floats, rows: Rows, k: int) -> float:
    slates = top(blend.logits(examples.features, weights), rows, k)
    return metrics.mean(metrics.accuracy("ndcg", rows, slates))
